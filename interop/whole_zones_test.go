// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/zonegen"
)

const (
	wholeZone  = "whole.test."
	wholeEdits = 3
)

// Secondaries that ask by IXFR follow under a rule for AXFR alone: each new serial comes to
// them as a whole zone, and nobody is refused.
func TestSecondariesFollowByWholeZones(t *testing.T) {
	t.Parallel()
	for _, software := range peer.Secondaries() {
		t.Run(software.Name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "db")
			primary, secondary := peer.Port(t), peer.Port(t)
			p := &incremental{port: primary, path: path}
			zone := func(serial uint32) string { return zonegen.Bulk(wholeZone, serial, 200) }
			peer.WriteFile(t, path, zone(1))
			p.CoreDNS = startGuarded(t, primary, wholeZone, fmt.Sprintf(`%s:%d {
	bind 127.0.0.1
	errors
	tsig {
		secret %s %s
	}
	xfrguard {
		allow as whole type AXFR net 127.0.0.1 key %[3]s
		notify 127.0.0.1:%[5]d
	}
	file %[6]s {
		reload 20ms
	}
}
`, wholeZone, primary, sha256Key.Name, sha256Key.Secret, secondary, path))
			s := peer.StartSecondary(t, software, secondary, primary,
				[]peer.Zone{{Origin: wholeZone, Key: sha256Key, Incremental: true}})
			for serial := uint32(1); serial <= wholeEdits; serial++ {
				if serial > 1 {
					peer.WriteFile(t, path, zone(serial))
				}
				if err := s.Holds(t.Context(), wholeZone, serial, parseAs(t, zone(serial), wholeZone), ixfrPatience); err != nil {
					t.Fatal(err)
				}
			}
			wholeOnRecord(t, p)
		})
	}
}

// wholeOnRecord checks that every serial came as a whole zone, the later ones in answer to
// an IXFR.
func wholeOnRecord(t *testing.T, p *incremental) {
	t.Helper()
	asked := 0
	for rule, ends := range p.ends(t) {
		for _, e := range ends {
			switch {
			case rule != "whole" || e.Outcome != "success" || !e.Complete:
				t.Errorf("under rule %q: %s", rule, e.Line)
			case e.Served == "axfr-fallback":
				asked++
			case e.Served != "axfr" && e.Served != "up-to-date" && e.Served != "use-tcp":
				t.Errorf("not a whole zone: %s", e.Line)
			}
		}
	}
	if asked < wholeEdits-1 {
		t.Errorf("%d whole zones in answer to an IXFR, want one for each of %d edits", asked, wholeEdits-1)
	}
	for _, e := range p.events(t) {
		if e.Action == peer.ActionDecision && !e.Allowed() {
			t.Errorf("refused: %s", e.Line)
		}
	}
}
