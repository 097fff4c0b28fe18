// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"fmt"
	"slices"
	"sync"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/coredns"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/lint"
	"github.com/xfrguard/xfrguard/internal/zone"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/transfer"
)

// running is what a guard has only while its instance runs.
type running struct {
	sources  []zone.Source
	store    *zone.Store    // once the instance is live
	notifier *notifier      // nil when nobody is to be notified
	audit    *audit.Auditor // of the block's first directive

	static   sync.Map       // the serial of each apex under which a change was told of
	found    lint.Findings  // of the self-check
	releases []func() error // of journals
	closing  sync.Once
}

// start opens what one guard needs.
func (g *guard) start(in *instance) error {
	g.traced = g.Config.Handler("trace") != nil
	if g.auditOf != nil {
		return nil
	}
	chain, _ := g.chain()
	g.roster.begin(coredns.NewLister(chain, in.statics), func(apex string) bool { return in.reach.comesTo(g.keys, apex) })
	if err := g.report(g.lint(in)); err != nil {
		return err
	}
	g.sayGuarded()
	if g.mode == corefile.ModeEnforce {
		g.sources = g.takeOver()
		g.openJournals()
		g.openControls()
	}
	return g.openAudit()
}

// chain returns the handlers of the block, and those of them that can hand out zones.
func (g *guard) chain() (chain []plugin.Handler, sources []zone.Source) {
	if d, ok := g.Config.Handler(pluginName).(*door); ok {
		chain = coredns.Chain(d.next)
	}
	// CoreDNS's registry has one handler a name, and a block may have several of one
	// kind; the chain ends early where a plugin does not export its Next.
	for _, h := range g.Config.Handlers() {
		same := func(other plugin.Handler) bool { return other.Name() == h.Name() }
		if !slices.ContainsFunc(chain, same) {
			chain = append(chain, h)
		}
	}
	for _, h := range chain {
		if s, ok := h.(zone.Source); ok {
			sources = append(sources, s)
		}
	}
	return chain, sources
}

// takeOver returns the backends of the block and leaves transfer without any: from
// here on it sends NOTIFY and nothing else.
func (g *guard) takeOver() []zone.Source {
	chain, sources := g.chain()
	for _, h := range chain {
		if t, ok := h.(*transfer.Transfer); ok {
			t.Transferers = nil
		}
	}
	return sources
}

// openAudit opens the sinks of every directive of the block.
func (g *guard) openAudit() error {
	for _, d := range g.directives {
		a, err := audit.Open(audit.ConfigOf(d.Config))
		if err != nil {
			return fmt.Errorf("%s: %w", d.Pos, err)
		}
		if g.audit == nil {
			g.audit = a
		}
		d.audit = a
	}
	return nil
}

// closeAudit lets go of the sinks.
func (g *guard) closeAudit() {
	for _, d := range g.directives {
		if d.audit == nil { // the start has failed before it, or the block has no xfrguard
			continue
		}
		if err := d.audit.Close(); err != nil {
			log.Errorf("Closing the audit log: %v", err)
		}
	}
}
