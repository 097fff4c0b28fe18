// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/pool"
	"github.com/xfrguard/xfrguard/internal/zone"
	"github.com/xfrguard/xfrguard/internal/zone/journal"
)

// openStore makes the store of the block's zones. From then on it is the one that goes
// on with what is remembered of them.
func (g *guard) openStore() {
	if g.auditOf != nil || g.mode != corefile.ModeEnforce {
		return
	}
	o := zone.Options{
		Limit:       g.directives[0].Cache,
		Identity:    g.identityOf,
		Journal:     g.journalOf,
		OnLineage:   g.otherContent,
		OnCorrected: g.corrected,
		OnFault:     g.faulty,
		Judges:      g.judges,
		OnHeld:      g.held,
		OnReleased:  g.released,
		Inspect:     g.inspect,
		OnError: func(apex string, err error) {
			log.Errorf("Zone %s: %v", apex, err)
		},
	}
	var apexes []string
	for _, cfg := range g.directives {
		apexes = append(apexes, cfg.Zones...)
	}
	apexes = append(apexes, g.roster.apexes()...)
	g.store = zone.NewStore(g.sources, apexes, o)
	heldZones.enter(g)
}

// closeStore ends the store, and lets go of its journals.
func (g *guard) closeStore() {
	if g.store != nil {
		heldZones.leave(g)
		g.store.Close()
	}
	for _, release := range g.releases {
		if err := release(); err != nil {
			log.Errorf("Closing the journal: %v", err)
		}
	}
}

// journals are open once in the process: instances overlap during a reload.
var journals pool.Pool[*journal.Journal]

// journalWait is how long the journal's lock may be held by a process that is ending.
const journalWait = 2 * time.Second

// openJournals opens the journals of all directives. Without one, for whatever reason,
// everything works; only after a restart each secondary gets its zones whole once.
func (g *guard) openJournals() {
	for _, d := range g.directives {
		cfg := d.Config
		if cfg.Journal == "" {
			continue
		}
		dir, err := filepath.Abs(cfg.Journal)
		if err != nil {
			dir = cfg.Journal
		}
		j, release, err := journals.Acquire(dir, func() (*journal.Journal, error) {
			return journal.Open(dir, journal.Options{Limit: cfg.Cache, Timeout: journalWait})
		}, (*journal.Journal).Close)
		if err != nil {
			log.Errorf("%s: going on without the journal: %v", cfg.Pos, err)
			continue
		}
		g.releases = append(g.releases, release)
		d.journal = j
	}
}

// journalOf returns the journal of a zone, or nil.
func (g *guard) journalOf(apex string) zone.Journal {
	if z := g.covering(apex); z != nil && z.journal != nil && !g.double {
		return z.journal
	}
	return nil
}

// pruneJournals removes from the journals what no zone of this instance will ever ask for:
// of zones and blocks that are gone from the Corefile it would stay, and take the room.
func pruneJournals(guards []*guard) {
	used := make(map[*journal.Journal]map[string]bool)
	for _, g := range guards {
		for _, d := range g.directives {
			if d.journal != nil && used[d.journal] == nil { // of one with patterns alone
				used[d.journal] = make(map[string]bool)
			}
		}
		for apex, z := range g.zones {
			j := z.journal
			if j == nil {
				continue
			}
			if used[j] == nil {
				used[j] = make(map[string]bool)
			}
			used[j][g.identityOf(apex)] = true
		}
	}
	for j, zones := range used {
		all, err := j.Zones()
		for _, id := range all {
			if err == nil && !zones[id] && !expects(guards, id) {
				err = j.Forget(id)
			}
		}
		if err != nil {
			log.Errorf("Removing what is no longer needed: %v", err)
		}
	}
}

// expects reports whether a pattern stands for the zone of an identity: it may come back.
func expects(guards []*guard, id string) bool {
	apex := id[strings.LastIndexByte(id, ' ')+1:]
	return slices.ContainsFunc(guards, func(g *guard) bool {
		return g.zones[apex] == nil && g.roster.covering(apex) != nil && g.identityOf(apex) == id
	})
}
