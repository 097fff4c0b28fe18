// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/zonegen"
)

const (
	recipeZone     = "example.org."
	recipePatience = 40 * time.Second // a secondary's refresh, with what it adds to that
)

// recipe is a row of the table in docs/SECONDARIES.md.
type recipe struct {
	name, primary string // of the secondary's blocks and of its primary's
	software      string
	ixfr          bool
}

var recipes = []recipe{
	{"named", "signed", "named", true},
	{"nsd", "signed", "nsd", true},
	{"knotd", "signed", "knotd", true},
	{"pdns_server", "signed", "pdns_server", false},
	{"pdns_server-sqlite", "signed", "pdns_server", true},
	{"unbound", "unsigned", "unbound", true},
	{"coredns", "unsigned", "coredns", false},
	{"coredns-catalog", "catalog", "coredns", false},
}

// TestSecondaryRecipes runs every recipe of docs/SECONDARIES.md. The secondary gets the zone,
// follows a NOTIFY, follows by its refresh after a restart of the primary that tells it
// nothing, follows after a refusal, and follows by its refresh once more. After each it has
// the zone file, record by record, and both sides say so.
func TestSecondaryRecipes(t *testing.T) {
	t.Parallel()
	blocks := fencedBlocks(t, "../docs/SECONDARIES.md")
	shellIn(t, t.TempDir(), blocks.take(t, "sh key"))
	for _, used := range []string{"corefile signed", "corefile unsigned", "corefile catalog", "zone catalog", "sh primary"} {
		defer blocks.take(t, used) // several need them
	}
	var all recipeTrials
	for _, r := range recipes {
		all = append(all, newRecipe(t, r, blocks, fencedBlocksOf(blocks, r.name)))
	}
	all.follow(t)
	for _, r := range recipes {
		maps.DeleteFunc(blocks, func(name, _ string) bool {
			return name == r.name || strings.HasSuffix(name, " "+r.name) || name == "sh setup-"+r.name
		})
	}
	if left := slices.Sorted(maps.Keys(blocks)); len(left) != 5 {
		t.Errorf("no test runs some of %q", left)
	}
}

// fencedBlocksOf are the blocks of one secondary, by what stands before its name.
func fencedBlocksOf(all xotBlocks, name string) xotBlocks {
	return xotBlocks{"": all[name], "sh": all["sh "+name], "ini": all["ini "+name], "setup": all["sh setup-"+name]}
}

// recipeTrial is a primary and a secondary that are set up as the document says.
type recipeTrial struct {
	recipe
	dir           string
	port, own     int
	block, seen   string
	setup         peer.Recipe
	primary       *peer.Process
	secondary     *peer.Secondary
	serial        uint32
	secondarySays string
}

// newRecipe puts the document's blocks for a secondary and its primary into place, with
// serial 1 of the zone.
func newRecipe(t *testing.T, r recipe, blocks, mine xotBlocks) *recipeTrial {
	t.Helper()
	p := &recipeTrial{recipe: r, dir: t.TempDir(), port: peer.Port(t), own: peer.Port(t)}
	here := func(text string) string { return p.place(strings.ReplaceAll(text, "SECRET", sha256Key.Secret)) }
	p.block, p.seen, p.secondarySays = here(blocks["corefile "+r.primary]), here(blocks["sh primary"]), here(mine["sh"])
	peer.WriteFile(t, filepath.Join(p.dir, "xfr.keys"), fmt.Sprintf("key \"ns2.example.net\" {\n\talgorithm hmac-sha256;\n\tsecret %q;\n};\n", sha256Key.Secret))
	peer.WriteFile(t, filepath.Join(p.dir, "db.catalog"), blocks["zone catalog"])
	wantAllOfSchema(t, nil, filepath.Join(p.dir, "xfrguard-audit.log"))
	p.publish(t, 864000)
	p.setup = peer.Recipe{Name: r.software, Settings: mine["ini"], Zone: here(mine[""]), Commands: here(mine["setup"]), CoreDNS: coreDNS}
	return p
}

// start starts the secondary with nothing but its configuration.
func (p *recipeTrial) start(t *testing.T) {
	t.Helper()
	if p.secondary != nil {
		p.secondary.Stop()
	}
	p.secondary = peer.StartRecipe(t, p.setup, p.own, peer.Zone{Origin: recipeZone})
}

var (
	recipeBlock  = regexp.MustCompile(`(?m)^((?:[a-z.]+ )+)\{$`)
	recipeNotify = regexp.MustCompile(`(?m)^ *notify .*\n`)
	recipePort   = regexp.MustCompile(`(port |@|-p |:)53\b`)
)

// place puts the addresses and ports of the test into a block.
func (p *recipeTrial) place(text string) string {
	text = strings.ReplaceAll(text, "notify 192.0.2.53", "notify "+peer.Loopback(p.own))
	text = strings.ReplaceAll(text, "-p 53", fmt.Sprintf("-p %d", p.own))
	text = recipePort.ReplaceAllString(text, fmt.Sprintf("${1}%d", p.port))
	text = strings.NewReplacer("192.0.2.1", "127.0.0.1", "192.0.2.53", "127.0.0.1").Replace(text)
	if strings.Contains(text, "secondary") { // a server block of the secondary
		return recipeBlock.ReplaceAllStringFunc(text, func(head string) string {
			return strings.Replace(head, " {", fmt.Sprintf(":%d {", p.own), 1)
		})
	}
	return text
}

// run starts the primary with a server block of the document.
func (p *recipeTrial) run(t *testing.T, block string) {
	t.Helper()
	block = recipeBlock.ReplaceAllStringFunc(block, func(head string) string {
		zones := strings.Fields(strings.TrimSuffix(head, "{"))
		return strings.Join(zones, fmt.Sprintf(":%d ", p.port)) + fmt.Sprintf(":%d {\n    bind 127.0.0.1\n    errors", p.port)
	})
	block = regexp.MustCompile(`(?m)^    file .*$`).ReplaceAllString(block, "$0 {\n        reload 100ms\n    }")
	peer.WriteFile(t, filepath.Join(p.dir, "Corefile"), block)
	p.primary = peer.Run(t, "coredns", p.dir, coreDNS, "-conf", "Corefile")
}

// publish writes the next serial of the zone, with a refresh of so many seconds.
func (p *recipeTrial) publish(t *testing.T, refresh int) {
	t.Helper()
	p.serial++
	peer.WriteFile(t, filepath.Join(p.dir, "db.example.org"), p.text(refresh))
}

func (p *recipeTrial) text(refresh int) string {
	return strings.Replace(zonegen.Bulk(recipeZone, p.serial, 200), " 864000 864000 ", fmt.Sprintf(" %d 1 ", refresh), 1)
}

// recipeTrials go step by step together: most of the time each waits for its secondary.
type recipeTrials []*recipeTrial

func (all recipeTrials) each(step func(p *recipeTrial)) {
	for _, p := range all {
		step(p)
	}
}

// stop stops all primaries.
func (all recipeTrials) stop() {
	var wg sync.WaitGroup
	for _, p := range all {
		wg.Go(p.primary.Stop)
	}
	wg.Wait()
}

// holds waits until the secondary has what was published last.
func (p *recipeTrial) holds(t *testing.T, refresh int, what string) {
	t.Helper()
	begin := time.Now()
	want := parseAs(t, p.text(refresh), recipeZone)
	if err := p.secondary.Holds(t.Context(), recipeZone, p.serial, want, recipePatience); err != nil {
		t.Fatalf("%s: %s, serial %d: %v", p.name, what, p.serial, err)
	}
	t.Logf("%s: %s: serial %d after %v", p.name, what, p.serial, time.Since(begin).Round(10*time.Millisecond))
}

func (all recipeTrials) follow(t *testing.T) {
	const often = 2
	holds := func(refresh int, what string) { all.each(func(p *recipeTrial) { p.holds(t, refresh, what) }) }
	publish := func() { all.each(func(p *recipeTrial) { p.publish(t, often) }) }
	run := func(from, to string) {
		all.each(func(p *recipeTrial) {
			p.run(t, strings.Replace(recipeNotify.ReplaceAllString(p.block, ""), from, to, 1))
		})
	}
	all.each(func(p *recipeTrial) { p.run(t, p.block) })
	all.each(func(p *recipeTrial) { awaitZone(t, p.primary, p.port, recipeZone, 1); p.start(t) })
	holds(864000, "first transfer")
	publish()
	holds(often, "NOTIFY")
	all.each(func(p *recipeTrial) { p.start(t) }) // PowerDNS and CoreDNS go by the refresh that the zone had before
	holds(often, "first transfer again")

	all.stop()
	publish()
	run("", "")
	holds(often, "refresh after a restart of the primary")

	all.stop()
	publish()
	run("net 127.0.0.1 ", "net 127.0.0.99 ")
	all.each(func(p *recipeTrial) { p.refused(t) })
	all.stop()
	run("", "")
	holds(often, "after a refusal")

	publish()
	holds(often, "refresh")
	all.each(func(p *recipeTrial) { p.onRecord(t) })
}

// events are those of all processes of the primary.
func (p *recipeTrial) events(t *testing.T) []peer.Event {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "xfrguard-audit.log"))
	must(t, err)
	events, err := peer.Events(strings.Split(string(text), "\n"))
	must(t, err)
	return events
}

// refused waits until the secondary has been refused.
func (p *recipeTrial) refused(t *testing.T) {
	t.Helper()
	eventually(t, "the secondary to be refused", func() error {
		for _, e := range p.events(t) {
			if e.Action == peer.ActionDecision && !e.Allowed() && e.Zone == recipeZone {
				return nil
			}
		}
		return fmt.Errorf("it has asked for nothing yet")
	})
}

// onRecord checks what both sides say of it: that every serial left for this secondary, as a difference where the
// primary knew one and the secondary asks for one.
func (p *recipeTrial) onRecord(t *testing.T) {
	t.Helper()
	served := map[uint32]string{}
	eventually(t, "every transfer to be on record", func() error {
		for line := range strings.Lines(shellIn(t, p.dir, p.seen)) {
			events, err := peer.Events([]string{strings.TrimSuffix(line, "\n")})
			must(t, err)
			for _, e := range events {
				if e.Complete && e.Zone == recipeZone && served[e.Serial] != "ixfr" {
					served[e.Serial] = e.Served
				}
			}
		}
		if len(served) != int(p.serial) {
			return fmt.Errorf("on record are %v", served)
		}
		return nil
	})
	for serial, how := range served {
		if delta := p.ixfr && (serial == 2 || serial == 5); (how == "ixfr") != delta {
			t.Errorf("%s: serial %d left as %s: %v", p.name, serial, how, served)
		}
	}
	if said := p.secondary.Ask(t, p.secondarySays); !strings.Contains(said, fmt.Sprint(p.serial)) {
		t.Errorf("%s\ndoes not show serial %d:\n%s", p.secondarySays, p.serial, said)
	}
	for _, e := range p.events(t) {
		if e.Allowed() && (e.Secondary != "127.0.0.1" || e.Rule != "ns2" || (e.Key != "") != (p.recipe.primary == "signed")) {
			t.Errorf("odd on record: %s", e.Line)
		}
	}
}

// awaitZone waits until a server answers for the zone with that serial.
func awaitZone(t testing.TB, s *peer.Process, port int, zone string, serial uint32) {
	t.Helper()
	s.Await(t, 30*time.Second, fmt.Sprintf("have serial %d of %s", serial, zone), func(ctx context.Context) error {
		got, err := peer.Serial(ctx, peer.Loopback(port), zone)
		if err == nil && got != serial {
			err = fmt.Errorf("it has serial %d", got)
		}
		return err
	})
}
