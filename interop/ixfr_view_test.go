// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/rrset"
	"github.com/xfrguard/xfrguard/interop/zonegen"
)

// side is one of two views of a zone, and who pulls from it.
type side struct {
	name   string
	source string // address of its clients
	path   string
	ports  []int
	zone   *zonegen.Churn
	past   []rrset.Set // content by step
	all    followers
}

// write puts the side's zone into its file; a record says whose it is.
func (s *side) write(t *testing.T) rrset.Set {
	t.Helper()
	text := s.zone.String() + fmt.Sprintf("only-%s 60 IN TXT \"%s\" \"%d\"\n", s.name, s.name, len(s.past))
	peer.WriteFile(t, s.path, text)
	set := parseZone(t, text)
	s.past = append(s.past, set)
	return set
}

func (s *side) block(port int) string {
	return ixfrBlock(port, s.path, s.source, s.ports, "", fmt.Sprintf("\tview %s {\n\t\texpr client_ip() == '%s'\n\t}\n", s.name, s.source))
}

// foreign fails t when something of the other side is in what this side was given.
func (s *side) foreign(t *testing.T, got rrset.Set) {
	t.Helper()
	for _, rr := range got {
		if name := rr.Header().Name; strings.HasPrefix(name, "only-") && !strings.HasPrefix(name, "only-"+s.name+".") {
			t.Errorf("%s got %s", s.name, rr)
		}
	}
}

// sides starts CoreDNS with two views of a zone, by the client's address.
func sides(t *testing.T) (*incremental, [2]*side) {
	t.Helper()
	seed, dir := ixfrSeed(t), t.TempDir()
	p := &incremental{port: peer.Port(t)}
	var both [2]*side
	for i, name := range []string{"inside", "outside"} {
		s := &side{
			name: name, source: fmt.Sprintf("127.0.0.%d", i+1), path: filepath.Join(dir, name),
			ports: followerPorts(t), zone: zonegen.NewChurn(ixfrZone, 1, seed+uint64(i)),
		}
		s.write(t)
		p.corefile += s.block(p.port)
		both[i] = s
	}
	p.start(t)
	for _, s := range both {
		s.all = follow(t, p.port, s.ports, s.source)
	}
	return p, both
}

// together edits both sides, gives each that serial, and waits for its secondaries.
func together(t *testing.T, both [2]*side, serials [2]uint32, after func()) {
	t.Helper()
	var want [2]rrset.Set
	for i, s := range both {
		s.zone.Edit(serials[i])
		want[i] = s.write(t)
	}
	after()
	var wg sync.WaitGroup
	for i, s := range both {
		wg.Go(func() { s.all.hold(t, want[i], serials[i]) })
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// Two views of one zone have equal serials and different content; their clients have the
// same keys, and are told apart by their addresses alone. Neither secondaries nor dig ever
// get anything of the other view, also when CoreDNS reloads, changes the order of the
// views, or exchanges their files.
func TestIXFRViews(t *testing.T) {
	t.Parallel()
	p, both := sides(t)
	for _, s := range both {
		s.all.hold(t, s.past[0], 1)
		defer s.all.nudge()() // both views are told of a reload before they answer
	}
	const edits = 24
	var steps []step
	for serial := uint32(2); serial <= edits; serial++ {
		steps = append(steps, step{serial - 1, serial})
		together(t, both, [2]uint32{serial, serial}, func() {
			if serial%4 == 0 {
				p.rewrite(t, both[serial/4%2], both[1-serial/4%2])
			}
		})
		p.reloaded(t)
		for _, s := range both {
			q := question{client: "dig", key: ixfrKeys["nsd"], from: s.source, serial: serial - 1}
			q.sees(t, p.port, s, int(serial)-2, rrset.Difference)
			q.whole = true
			q.sees(t, p.port, s, 0, rrset.Whole)
		}
	}
	eachView(t, p, steps)

	// A serial that only the other view has had.
	together(t, both, [2]uint32{edits + 1, edits + 9}, func() {})
	together(t, both, [2]uint32{edits + 10, edits + 10}, func() {})
	q := question{client: "dig", key: ixfrKeys["nsd"], from: both[1].source, serial: edits + 1}
	q.sees(t, p.port, both[1], 0, rrset.Whole)

	exchange(t, p, both)
}

// sees asks for the side's zone from the content of that step on.
func (q question) sees(t *testing.T, port int, s *side, step int, answer rrset.Answer) {
	t.Helper()
	got, kind := q.answer(t, port, s.past[step])
	if kind != answer {
		t.Errorf("%s: %+v: %s, want %s", s.name, q, kind, answer)
	}
	s.foreign(t, got)
	compare(t, s.name, s.past[len(s.past)-1], got)
}

// rewrite has CoreDNS read another order of views.
func (p *incremental) rewrite(t *testing.T, first, second *side) {
	t.Helper()
	peer.WriteFile(t, filepath.Join(p.Dir, "Corefile"), first.block(p.port)+second.block(p.port))
	p.reload(t)
}

// eachView checks the record of each view: whole zones once for each secondary and when
// dig asked for them, and each step as a difference for each rule.
func eachView(t *testing.T, p *incremental, steps []step) {
	t.Helper()
	whole, differences := map[string]int{}, map[string]map[string]bool{}
	for rule, ends := range p.ends(t) {
		for _, e := range ends {
			want := map[string]string{"127.0.0.1": "inside", "127.0.0.2": "outside"}[e.Client]
			switch {
			case e.View != want || e.Served == "axfr-fallback":
				t.Errorf("want view %s: %s", want, e.Line)
			case !e.Complete: // cut off by a reload, and asked again
			case e.Served == "axfr":
				whole[e.View]++
			case e.Served == "ixfr":
				if differences[e.View] == nil {
					differences[e.View] = map[string]bool{}
				}
				differences[e.View][fmt.Sprint(rule, e.Asked, e.Serial)] = true
			}
		}
	}
	for _, view := range []string{"inside", "outside"} {
		if got, want := whole[view], len(ixfrNames)+len(steps); got != want {
			t.Errorf("%s: %d whole zones on record, want %d", view, got, want)
		}
		if got, want := len(differences[view]), len(ixfrNames)*len(steps); got != want {
			t.Errorf("%s: %d differences on record, want %d", view, got, want)
		}
	}
}

// exchange gives each view the other's file, at the same serial. That is on record, and
// whoever comes with a serial from before gets the whole zone of the view as it is now.
func exchange(t *testing.T, p *incremental, both [2]*side) {
	t.Helper()
	for _, s := range both { // from here on each is allowed to see what was the other's
		s.name = map[string]string{"inside": "outside", "outside": "inside"}[s.name]
	}
	in, out := both[0], both[1]
	in.path, out.path = out.path, in.path
	in.zone, out.zone = out.zone, in.zone
	in.past, out.past = out.past, in.past
	renamed := strings.NewReplacer("view outside {", "view inside {", "view inside {", "view outside {")
	peer.WriteFile(t, filepath.Join(p.Dir, "Corefile"), renamed.Replace(in.block(p.port)+out.block(p.port)))
	p.reload(t)
	p.reloaded(t)
	serial := in.zone.Serial
	for _, s := range both {
		q := question{client: "raw", key: ixfrKeys["nsd"], from: s.source, serial: serial}
		q.sees(t, p.port, s, 0, rrset.Whole)
	}
	eventually(t, "a change of lineage in each view to be on record", func() error {
		changes := map[string]int{}
		for _, e := range p.events(t) {
			if e.Action == peer.ActionLineage {
				changes[e.View]++
			}
		}
		if len(changes) != 2 || changes["inside"] != 1 || changes["outside"] != 1 {
			return fmt.Errorf("%v", changes)
		}
		return nil
	})
	// The secondaries have the serial with the content of before; this client, of the same
	// rule as NSD, has the new one.
	together(t, both, [2]uint32{serial + 1, serial + 1}, func() {})
	for rule, ends := range p.ends(t) {
		for _, e := range ends {
			if e.Serial == serial+1 && e.Served == "ixfr" {
				t.Errorf("%s got a difference to what it may not have: %s", rule, e.Line)
			}
		}
	}
}
