// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
)

// newJournalSink writes to systemd-journald: the sealed line as MESSAGE, and its
// fields once more as journal fields, so that `journalctl XFR_CLIENT_IP=192.0.2.1`
// finds them. journald has no answer: durable means that its socket took the datagram.
func newJournalSink(name string, state func(error)) (Sink, error) {
	if !journal.Enabled() {
		return nil, errors.New("journald does not listen on this system: use another audit sink")
	}
	return newLineSink(name, func(line []byte) error {
		line = bytes.TrimSuffix(line, []byte{'\n'})
		level, fields, err := journalFields(line)
		if err != nil {
			return err
		}
		if err := journal.Send(string(line), level, fields); err != nil {
			return fmt.Errorf("send to journald: %w", err)
		}
		return nil
	}, nil, state)
}

// journalNames are the fields that get a name of their own in the journal; what
// systemd.journal-fields(7) knows keeps its name.
var journalNames = map[string]string{
	"event.code":                "XFR_CODE",
	"event.action":              "XFR_ACTION",
	"event.reason":              "XFR_REASON",
	"event.outcome":             "XFR_OUTCOME",
	"event.sequence":            "XFR_SEQUENCE",
	"coredns.xfr.id":            "XFR_ID",
	"coredns.xfr.transport":     "XFR_TRANSPORT",
	"coredns.xfr.rule.nearest":  "XFR_RULE_NEAREST",
	"coredns.xfr.tsig.key":      "XFR_TSIG_KEY",
	"coredns.xfr.tsig.status":   "XFR_TSIG_STATUS",
	"coredns.xfr.serial.served": "XFR_SERIAL",
	"coredns.xfr.served":        "XFR_SERVED",
	"coredns.zone":              "XFR_ZONE",
	"client.ip":                 "XFR_CLIENT_IP",
	"dns.question.name":         "XFR_QUERY_NAME",
	"dns.question.type":         "XFR_QUERY_TYPE",
	"rule.name":                 "XFR_RULE",
}

// journalFields takes the journal's fields out of a line. No value has a line break:
// journald's protocol would take what follows for a field.
func journalFields(line []byte) (journal.Priority, map[string]string, error) {
	var all map[string]any
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&all); err != nil {
		return 0, nil, fmt.Errorf("read the event again for journald: %w", err)
	}
	fields := map[string]string{"SYSLOG_IDENTIFIER": "xfrguard"}
	for key, name := range journalNames {
		if v, ok := all[key]; ok {
			fields[name] = strings.NewReplacer("\n", " ", "\x00", " ").Replace(fmt.Sprint(v))
		}
	}
	return severity(all["log.level"]), fields, nil
}

// severity is the level of RFC 5424 §6.2.1, which journald shares.
func severity(level any) journal.Priority {
	switch level {
	case "error":
		return journal.PriErr
	case "warn":
		return journal.PriWarning
	}
	return journal.PriInfo
}
