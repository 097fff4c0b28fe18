// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/rrset"
)

// client is a program that a person uses to look at a zone.
type client struct {
	name   string
	args   []string // its own, before those that all share
	key    func(peer.Key) string
	repair func(text string) string // makes what it prints readable by others; nil: it is
}

var clients = []client{
	{name: "dig", key: peer.Key.Dig},
	// kdig turns xn-- labels into the letters they stand for, which is no zone file.
	{name: "kdig", args: []string{"+noidn"}, key: peer.Key.Dig},
	{name: "drill", key: peer.Key.Drill, repair: escapeQuotes},
}

func (c client) axfr(port int, key peer.Key, zone string) []string {
	return append(append([]string{}, c.args...), "@127.0.0.1", "-p", strconv.Itoa(port), "-y", c.key(key), zone, "AXFR")
}

// escapeQuotes escapes the quotation marks that drill prints bare in names: owners
// and targets of NS records, the first and the fifth column of a line.
func escapeQuotes(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		columns := strings.SplitN(line, "\t", 5)
		if len(columns) < 5 {
			continue
		}
		columns[0] = strings.ReplaceAll(columns[0], `"`, `\"`)
		if columns[3] == "NS" {
			columns[4] = strings.ReplaceAll(columns[4], `"`, `\"`)
		}
		lines[i] = strings.Join(columns, "\t")
	}
	return strings.Join(lines, "\n")
}

// tsigLine is the TSIG record of the last message, which dig and kdig print among
// the others and which is not of the zone.
var tsigLine = regexp.MustCompile(`(?m)^\S+\s+0\s+ANY\s+TSIG\s.*$`)

// Every client gets every kind of zone, signed with its key, as the file has it.
func TestClientGetsZoneFile(t *testing.T) {
	t.Parallel()
	sources := []*source{
		bulk("bulk256.test.", sha256Key),
		bulk("bulk512.test.", sha512Key),
		awkward("awkward256.test.", sha256Key),
		awkward("awkward512.test.", sha512Key),
		signed(t, "signed.test.", sha512Key, true),
	}
	port := peer.Port(t)
	primary := startPrimary(t, port, nil, sources...)

	for _, c := range clients {
		for _, s := range sources {
			out := tsigLine.ReplaceAllString(runClient(t, c.name, c.axfr(port, s.Key, s.Origin)...), "")
			if c.repair != nil {
				out = c.repair(out)
			}
			rrs, err := rrset.ParseAll(strings.NewReader(out), ".", c.name)
			if err != nil {
				t.Errorf("%s %s: %v", c.name, s.Origin, err)
				continue
			}
			got, err := rrset.FromTransfer(rrs)
			if err != nil {
				t.Errorf("%s %s: %v", c.name, s.Origin, err)
				continue
			}
			compare(t, s.Origin+" as "+c.name+" prints it", primary.want[s.Origin], got)
		}
	}
	pairs := primary.pairs(t)
	if want := len(clients) * len(sources); len(pairs) != want {
		t.Errorf("%d allowed transfers on record, want %d", len(pairs), want)
	}
	for _, pair := range pairs {
		if !pair[1].Complete || pair[1].Reason != "complete" || pair[1].Served != "axfr" || pair[1].Rcode != "NOERROR" {
			t.Errorf("not a complete AXFR on record: %s", pair[1].Line)
		}
	}
}

// runClient returns what the program prints. Its exit status says nothing: dig has
// 0 for a refused transfer.
func runClient(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, peer.Binary(t, name), args...)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("%s did not end: %v\n%.2000s", name, err, out)
	}
	return string(out)
}
