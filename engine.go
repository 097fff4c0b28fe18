// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/pool"
	"github.com/xfrguard/xfrguard/internal/zone"
	"github.com/xfrguard/xfrguard/internal/zone/journal"

	"github.com/google/uuid"
	"github.com/miekg/dns"
)

// openStore makes the store of the block's zones. From then on it is the one that goes
// on with what is remembered of them.
func (g *guard) openStore() {
	if g.auditOf != nil || g.mode != corefile.ModeEnforce {
		return
	}
	o := zone.Options{
		Limit:       g.all[0].Cache,
		Identity:    g.identityOf,
		Journal:     g.journalOf,
		OnLineage:   g.otherContent,
		OnCorrected: g.corrected,
		OnError: func(apex string, err error) {
			log.Errorf("Zone %s: %v", apex, err)
		},
	}
	var apexes []string
	for _, cfg := range g.all {
		apexes = append(apexes, cfg.Zones...)
	}
	g.store = zone.NewStore(g.sources, apexes, o)
}

// closeStore ends the store, and lets go of its journals.
func (g *guard) closeStore() {
	if g.store != nil {
		g.store.Close()
	}
	for _, release := range g.journals.releases {
		if err := release(); err != nil {
			log.Errorf("Closing the journal: %v", err)
		}
	}
}

// journals are open once in the process: instances overlap during a reload.
var journals pool.Pool[*journal.Journal]

// openJournals are those that a guard uses, by apex.
type openJournals struct {
	byApex   map[string]*journal.Journal
	releases []func() error
}

// journalWait is how long the journal's lock may be held by a process that is ending.
const journalWait = 2 * time.Second

// openJournals opens the journals of all directives. Without one, for whatever reason,
// everything works; only after a restart each secondary gets its zones whole once.
func (g *guard) openJournals() {
	g.journals.byApex = make(map[string]*journal.Journal)
	for _, cfg := range g.all {
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
		g.journals.releases = append(g.journals.releases, release)
		for _, apex := range cfg.Zones {
			g.journals.byApex[apex] = j
		}
	}
}

// journalOf returns the journal of a zone, or nil.
func (g *guard) journalOf(apex string) zone.Journal {
	if j := g.journals.byApex[apex]; j != nil && !g.double {
		return j
	}
	return nil
}

// pruneJournals removes from the journals what no zone of this instance will ever ask for:
// of zones and blocks that are gone from the Corefile it would stay, and take the room.
func pruneJournals(guards []*guard) {
	used := make(map[*journal.Journal]map[string]bool)
	for _, g := range guards {
		for apex, j := range g.journals.byApex {
			if used[j] == nil {
				used[j] = make(map[string]bool)
			}
			used[j][g.identityOf(apex)] = true
		}
	}
	for j, zones := range used {
		all, err := j.Zones()
		for _, id := range all {
			if err == nil && !zones[id] {
				err = j.Forget(id)
			}
		}
		if err != nil {
			log.Errorf("Removing what is no longer needed: %v", err)
		}
	}
}

// identityOf names a zone of this block so that the next instance finds its past: by
// what clients see of the block, never by the zone alone (split horizon). Of the block's
// keys those count that lead to the zone, so that others may come and go.
func (g *guard) identityOf(apex string) string {
	var parts []string
	for _, c := range g.keys {
		if dns.IsSubDomain(c.Zone, apex) {
			parts = append(parts, c.Transport+"://"+c.Zone+":"+c.Port)
		}
	}
	slices.Sort(parts)
	parts = append(slices.Compact(parts), strings.Join(g.Config.ListenHosts, ","), g.Config.ViewName, apex)
	if g.double {
		parts = append(parts, g.pos.String(), uuid.NewString())
	}
	return journalName(strings.Join(parts, " "), apex)
}

// journalName is the identity as a journal can keep it. One that is too long, of a block
// with many keys, becomes its hash and the apex; the others stay as they are, so that
// journals on disk are found again.
func journalName(identity, apex string) string {
	if len(identity) <= journal.MaxZone {
		return identity
	}
	sum := sha256.Sum256([]byte(identity))
	return "sha256:" + hex.EncodeToString(sum[:]) + " " + apex
}

// tellApart finds blocks that cannot be told apart by what clients see of them, which
// views of one name are. None of them may take another's past for its own, so each has
// one of its own, which ends with the instance.
func tellApart(guards []*guard) {
	seen := make(map[string]*guard)
	for _, g := range guards {
		for apex := range g.Policies {
			id := g.identityOf(apex)
			if other := seen[id]; other != nil {
				g.double, other.double = true, true
				log.Warningf("%s and %s: two server blocks of one zone, port and view: give the views names of their own", other.pos, g.pos)
			}
			seen[id] = g
		}
	}
}
