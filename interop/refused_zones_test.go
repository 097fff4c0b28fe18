// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// zoneHead is in front of the records of a small zone.
const zoneHead = "$TTL 300\n@ SOA ns1 host 7 3600 3600 360000 60\n@ NS ns1\nns1 A 192.0.2.1\n"

// zoneRefusals are what secondaries say of a zone that they have got and do not take; %s is
// the zone without its final dot.
var zoneRefusals = map[string]string{
	"named":       `transfer of '%s/IN' .*: Transfer status: [^s]`,
	"knotd":       `\[%s\.\] refresh, failed`,
	"nsd":         `zone %s (bad transfer|received error)`,
	"pdns_server": `(?i)(unable to .?xfr|exception|malformed|failed).*%s|'%s'.*(unable|exception|failed|error:)`,
}

// Which secondaries refuse a zone for a record in it, the tests of docs/COMPATIBILITY.md say:
// each that any of them refuses is a finding, with its owner and type, and is served.
func TestSecondariesRefuse(t *testing.T) {
	t.Parallel()
	rows := documentTables(t, "Zones that secondaries refuse")[0]
	dir, port := t.TempDir(), peer.Port(t)
	var origins []string
	var zones []peer.Zone
	for i := range rows {
		origin := fmt.Sprintf("r%d.test.", i)
		origins = append(origins, origin)
		zones = append(zones, peer.Zone{Origin: origin, Key: sha256Key})
		text := zoneHead + strings.Join(spans(rows[i][0]), "\n") + "\n"
		peer.WriteFile(t, filepath.Join(dir, fileOf(origin)), text)
	}
	core := startSmallZones(t, port, dir, origins)
	var all []*peer.Secondary
	for _, software := range peer.Secondaries() {
		all = append(all, peer.StartSecondary(t, software, peer.Port(t), port, zones))
	}
	for i, row := range rows {
		var refused []string
		for _, s := range all {
			if refuses(t, s, origins[i]) {
				refused = append(refused, s.Name)
			}
		}
		if got := strings.Join(refused, ", "); got != row[1] {
			t.Errorf("%s is refused by %q, the document has %q", row[0], got, row[1])
		}
	}
	events, err := peer.Events(core.Stdout.Lines())
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		if !slices.ContainsFunc(events, func(e peer.Event) bool {
			return e.Action == "policy-finding" && e.Reason == "peers-refuse" && strings.Contains(e.Line, "zone "+origins[i]+",")
		}) {
			t.Errorf("%s is no finding", row[0])
		}
	}
}

// refuses waits until s has the zone, or has said that it does not take it.
func refuses(t testing.TB, s *peer.Secondary, origin string) (refused bool) {
	t.Helper()
	said := regexp.MustCompile(strings.ReplaceAll(zoneRefusals[s.Name], "%s", regexp.QuoteMeta(strings.TrimSuffix(origin, "."))))
	s.Await(t, time.Minute, "take or refuse "+origin, func(ctx context.Context) error {
		_, err := peer.Serial(ctx, s.Addr(), origin)
		if err == nil {
			return nil
		}
		for _, line := range append(s.Stdout.Lines(), s.Stderr.Lines()...) {
			if said.MatchString(line) {
				refused = true
				return nil
			}
		}
		return err
	})
	return refused
}

// documentTables are the tables below that heading of docs/COMPATIBILITY.md, by rows that
// begin with code, and cells.
func documentTables(t testing.TB, heading string) (tables [][][]string) {
	t.Helper()
	b, err := os.ReadFile("../docs/COMPATIBILITY.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(b), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("docs/COMPATIBILITY.md has no chapter %q", heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "| --- "):
			tables = append(tables, nil)
		case strings.HasPrefix(line, "| `") && len(tables) > 0:
			cells := strings.Split(strings.Trim(line, "|"), " | ")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			tables[len(tables)-1] = append(tables[len(tables)-1], cells)
		}
	}
	return tables
}

// spans are the pieces of code in a cell.
func spans(cell string) (all []string) {
	for _, m := range regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(cell, -1) {
		all = append(all, m[1])
	}
	return all
}
