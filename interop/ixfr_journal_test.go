// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/interop/rrset"
	"github.com/xfrguard/xfrguard/interop/zonegen"
)

// With a journal CoreDNS may end, politely or by kill -9, and be started again with the
// zone edited meanwhile: the secondaries get every step as a difference, and so does who
// comes with a serial from before.
func TestIXFRJournalRestarts(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"SIGTERM", "SIGKILL"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			restarts(t, how == "SIGKILL")
		})
	}
}

func restarts(t *testing.T, kill bool) {
	const rounds, edits = 2, 5
	journal := filepath.Join(t.TempDir(), "journal")
	zone := zonegen.NewChurn(ixfrZone, 1, ixfrSeed(t))
	p, all := startFollowers(t, fmt.Sprintf("\t\tjournal %s\n", journal), zone.String())
	zones := []rrset.Set{nil, p.write(t, zone.String())}
	all.hold(t, zones[1], 1)
	defer all.nudge()() // nobody tells them of a server that is back with another serial

	var steps []step
	edit := func(from uint32) {
		zone.Edit(from + 1)
		zones = append(zones, parseZone(t, zone.String()))
	}
	serial := uint32(1)
	for range rounds {
		for range edits { // each arrives
			edit(serial)
			p.write(t, zone.String())
			steps = append(steps, step{serial, serial + 1})
			serial++
			all.hold(t, zones[serial], serial)
		}
		p.ends(t)
		if kill {
			time.Sleep(3 * time.Second) // to whom versions were given is written every 2 s
			p.Kill()
		} else {
			p.Stop()
		}
		edit(serial) // nobody ever sees this one
		edit(serial + 1)
		p.write(t, zone.String())
		steps = append(steps, step{serial, serial + 2})
		serial += 2
		p.start(t)
		all.hold(t, zones[serial], serial)
	}
	onlyDeltas(t, p, steps)

	// Serials that were current before the last restart and before the first, and the one
	// that nobody was given.
	for from, want := range map[uint32]rrset.Answer{
		1: rrset.Difference, 3: rrset.Difference, serial - 4: rrset.Difference, serial - 2: rrset.Difference,
		serial - 1: rrset.Whole,
	} {
		q := question{client: "dig", key: ixfrKeys["knotd"], serial: from}
		got, kind := q.answer(t, p.port, zones[from])
		if kind != want {
			t.Errorf("from %d: %s, want %s", from, kind, want)
		}
		compare(t, fmt.Sprintf("the zone made from %d", from), zones[serial], got)
	}
}
