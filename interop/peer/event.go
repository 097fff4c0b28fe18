// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Event is one line of the audit log. Only what these tests look at is decoded;
// Line keeps the rest.
type Event struct {
	Dataset  string   `json:"event.dataset"`
	Action   string   `json:"event.action"`
	Type     []string `json:"event.type"`
	Outcome  string   `json:"event.outcome"`
	Reason   string   `json:"event.reason"`
	EventID  string   `json:"event.id"`
	ID       string   `json:"coredns.xfr.id"`
	Client   string   `json:"client.ip"`
	Port     int      `json:"client.port"`
	Zone     string   `json:"coredns.zone"`
	Question string   `json:"dns.question.name"`
	QType    string   `json:"dns.question.type"`
	Rcode    string   `json:"dns.response_code"`
	Rule     string   `json:"rule.name"`
	Key      string   `json:"coredns.xfr.tsig.key"`

	Secondary string `json:"coredns.xfr.secondary"`

	View     string `json:"coredns.view"`
	Served   string `json:"coredns.xfr.served"`
	Serial   uint32 `json:"coredns.xfr.serial.served"`
	Asked    uint32 `json:"coredns.xfr.serial.requested"`
	Future   bool   `json:"coredns.xfr.serial.future"`
	Digest   string `json:"coredns.xfr.zone.digest"`
	Records  int64  `json:"coredns.xfr.records"`
	Complete bool   `json:"coredns.xfr.complete"`

	Transport   string `json:"coredns.xfr.transport"`
	TLSVersion  string `json:"tls.version"`
	ALPN        string `json:"tls.next_protocol"`
	CertSubject string `json:"tls.client.subject"`
	CertPin     string `json:"coredns.xfr.tls.spki"` // hex of the SHA-256 of its public key
	Verified    bool   `json:"coredns.xfr.tls.verified"`

	Line string `json:"-"`
}

// Actions of events (ECS event.action).
const (
	ActionDecision = "zone-transfer-decision"
	ActionEnd      = "zone-transfer-end"
	ActionLineage  = "zone-lineage-change"
)

// Allowed tells whether e is a decision to allow.
func (e Event) Allowed() bool {
	return e.Action == ActionDecision && slices.Contains(e.Type, "allowed")
}

// Ended tells whether e says how a transfer ended: an end, or a decision that is the whole
// record of an answer without zone data.
func (e Event) Ended() bool {
	return e.Action == ActionEnd || e.Allowed() && e.Complete
}

// Events returns the audit events among the lines of a server's standard output,
// in order. A JSON line that cannot be decoded is an error; other lines, CoreDNS's
// own log, are passed over.
func Events(lines []string) ([]Event, error) {
	var events []Event
	for _, line := range lines {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		e := Event{Line: line}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return nil, fmt.Errorf("audit line %q: %w", line, err)
		}
		if e.Dataset == "coredns.xfr" {
			events = append(events, e)
		}
	}
	return events, nil
}

// Paired checks that each id has exactly one decision, before exactly one end
// where it allowed and before none where it denied, and that no two events are
// one; it returns the pairs of the allowed ones in the order of their decisions.
// A decision that is the whole record is its own end, but for one that says that the
// answer could not be sent.
func Paired(events []Event) ([][2]Event, error) {
	unique := map[string]bool{}
	decided := map[string]Event{}
	ended := map[string]Event{}
	var order []string
	for _, e := range events {
		if unique[e.EventID] || e.EventID == "" {
			return nil, fmt.Errorf("event.id %q is empty or another event's: %s", e.EventID, e.Line)
		}
		unique[e.EventID] = true
		switch e.Action {
		case ActionDecision:
			if _, twice := decided[e.ID]; twice || e.ID == "" {
				return nil, fmt.Errorf("id %q has no name or a second decision: %s", e.ID, e.Line)
			}
			decided[e.ID] = e
			if e.Allowed() {
				order = append(order, e.ID)
			}
		case ActionEnd:
			if _, twice := ended[e.ID]; twice {
				return nil, fmt.Errorf("id %q has a second end: %s", e.ID, e.Line)
			}
			if d, ok := decided[e.ID]; !ok || !d.Allowed() {
				return nil, fmt.Errorf("end without a decision to allow before it: %s", e.Line)
			}
			if decided[e.ID].Complete && e.Complete {
				return nil, fmt.Errorf("a second record of a complete answer: %s", e.Line)
			}
			ended[e.ID] = e
		}
	}
	pairs := make([][2]Event, 0, len(order))
	for _, id := range order {
		end, ok := ended[id]
		if !ok && decided[id].Complete {
			end, ok = decided[id], true
		}
		if !ok {
			return nil, fmt.Errorf("allowed, but without an end: %s", decided[id].Line)
		}
		pairs = append(pairs, [2]Event{decided[id], end})
	}
	return pairs, nil
}
