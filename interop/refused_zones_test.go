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
	"github.com/xfrguard/xfrguard/interop/rrset"
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

// Small zones of docs/COMPATIBILITY.md at each secondary, which gets all of them from one
// CoreDNS.
func TestSmallZones(t *testing.T) {
	t.Parallel()
	refused := documentTables(t, "Zones that secondaries refuse")[0]
	corrected := documentFragments(t, 1, "corrected")
	dir, port := t.TempDir(), peer.Port(t)
	var origins []string
	var zones []peer.Zone
	add := func(origin, text string) {
		origins = append(origins, origin)
		zones = append(zones, peer.Zone{Origin: origin, Key: sha256Key})
		peer.WriteFile(t, filepath.Join(dir, fileOf(origin)), text)
	}
	for _, f := range corrected {
		add(f.origin, f.text(""))
	}
	for i, row := range refused {
		add(zoneOfRow(i), zoneHead+strings.Join(spans(row[0]), "\n")+"\n")
	}
	core := startSmallZones(t, port, dir, origins)
	var all []*peer.Secondary
	for _, software := range peer.Secondaries() {
		if software.Name == "pdns_server" { // for which each key of a zone is a run of a tool
			zones = slices.Clone(zones)
			for i := range zones {
				zones[i].Key = peer.Key{}
			}
		}
		all = append(all, peer.StartSecondary(t, software, peer.Port(t), port, zones))
	}
	t.Run("refused", func(t *testing.T) { refusedBy(t, core, all, refused) })
	t.Run("corrected", func(t *testing.T) { holdCorrected(t, port, all, corrected) })
}

func zoneOfRow(i int) string { return fmt.Sprintf("refused%d.test.", i) }

// refusedBy holds which secondaries refuse a zone for a record in it, and that each that any
// of them refuses is a finding.
func refusedBy(t *testing.T, core *peer.CoreDNS, all []*peer.Secondary, rows [][]string) {
	for i, row := range rows {
		var refused []string
		for _, s := range all {
			if refuses(t, s, zoneOfRow(i)) {
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
			return e.Action == "policy-finding" && e.Reason == "peers-refuse" && strings.Contains(e.Line, "zone "+zoneOfRow(i)+",")
		}) {
			t.Errorf("%s is no finding", row[0])
		}
	}
}

// holdCorrected holds that every secondary has what the guard corrects in a zone file as it
// was sent: each record once, one TTL in a set, nothing outside of the zone.
func holdCorrected(t *testing.T, port int, all []*peer.Secondary, fragments []fragment) {
	for _, f := range fragments {
		rrs, err := peer.Transfer(t.Context(), peer.Loopback(port), f.origin, &sha256Key)
		if err != nil {
			t.Fatal(err)
		}
		want, err := rrset.FromTransfer(rrs)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			if s.Name == "pdns_server" && (strings.Contains(f.lines, "RRSIG") || strings.Contains(f.lines, "NSEC")) {
				continue // PowerDNS makes its own
			}
			s.AwaitSerial(t, f.origin, 7, time.Minute)
			compare(t, fmt.Sprintf("%q of %s", f.lines, s.Name), want, s.Content(t, peer.Zone{Origin: f.origin}, 7))
		}
	}
}

// startSmallZones starts CoreDNS with the zone files of a directory, for whoever is on
// this host.
func startSmallZones(t testing.TB, port int, dir string, origins []string) *peer.CoreDNS {
	t.Helper()
	return startGuarded(t, port, origins[0], fmt.Sprintf(`.:%d {
	bind 127.0.0.1
	tsig {
		secret %s %s
	}
	xfrguard %s {
		allow as secondaries net 127.0.0.1 key %[2]s
		allow as pdns net 127.0.0.1 unsigned
%[5]s	}
	auto {
		directory %[6]s db\.(.*) {1}
	}
}
`, port, sha256Key.Name, sha256Key.Secret, strings.Join(origins, " "), unlimited, dir))
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
