// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/coredns"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/wire"
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

	opened   []*audit.Auditor
	releases []func() error // of journals
	closing  sync.Once
}

// start opens what one guard needs.
func (g *guard) start(in *instance) error {
	g.traced = g.Config.Handler("trace") != nil
	if g.auditOf != nil {
		return nil
	}
	if err := g.report(append(g.selfCheck(), g.lintFiles(in)...)); err != nil {
		return err
	}
	if g.mode == corefile.ModeEnforce {
		g.sources = g.takeOver()
		g.openJournals()
		if len(g.sources) == 0 {
			log.Warningf("%s: no plugin of this server block can hand out a zone", g.pos)
		}
	}
	return g.openAudit()
}

// takeOver returns the backends of the block and leaves transfer without any: from
// here on it sends NOTIFY and nothing else.
func (g *guard) takeOver() []zone.Source {
	var chain []plugin.Handler
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
	var sources []zone.Source
	for _, h := range chain {
		if t, ok := h.(*transfer.Transfer); ok {
			t.Transferers = nil
		} else if s, ok := h.(zone.Source); ok {
			sources = append(sources, s)
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
		g.opened = append(g.opened, a)
		d.audit = a
	}
	return nil
}

// selfCheck lists what seems to be one thing and is another.
func (g *guard) selfCheck() []string {
	var findings []string
	add := func(format string, args ...any) { findings = append(findings, fmt.Sprintf(format, args...)) }
	for _, d := range g.directives {
		cfg := d.Config
		findings = append(findings, lintNets(cfg)...)
	}
	if !wire.AcksKnown {
		add("%s: this system does not tell what clients acknowledge: slow ones over TLS may pass for stalled, and a transfer counts as complete when the system has taken it", g.pos)
	}
	for _, h := range g.Config.Handlers() {
		name := h.Name()
		if name == pluginName {
			break
		}
		if name == "shed" {
			add("%s: shed stands before xfrguard: an IXFR over UDP that it drops under load is on no record, one over TCP is not dropped", g.pos)
		}
		if !slices.Contains(coredns.Harmless, name) {
			add("%s: %s stands before xfrguard and is not known to leave transfers alone", g.pos, name)
		}
	}
	findings = append(findings, g.lintTLS(time.Now())...)
	findings = append(findings, g.lintProxy()...)
	if g.mode == corefile.ModeObserve {
		for _, d := range g.directives {
			cfg := d.Config
			if cfg.Journal != "" || len(cfg.Notify) > 0 {
				add("%s: journal and notify have no effect in mode observe, which takes nothing over", cfg.Pos)
			}
		}
		return findings
	}
	findings = append(findings, g.lintNotify()...)
	if g.Config.Handler("acl") != nil {
		add("%s: acl no longer decides about transfers in this server block: write its nets into xfrguard's rules", g.pos)
	}
	if h := g.Config.Handler("tsig"); h != nil && coredns.RequiresTSIG(h) {
		add("%s: tsig require no longer decides about transfers in this server block: name the keys in xfrguard's rules", g.pos)
	}
	if g.Config.Handler("transfer") != nil {
		add("%s: transfer to no longer decides about transfers in this server block: it only sends NOTIFY", g.pos)
	}
	return findings
}

var errFindings = errors.New("the self-check has findings, and findings fail is set")

// report warns of the findings, or fails with them.
func (g *guard) report(findings []string) error {
	if len(findings) > 0 && g.findings == corefile.FindingsFail {
		return fmt.Errorf("%w: %s", errFindings, strings.Join(findings, "; "))
	}
	for _, f := range findings {
		log.Warning(f)
	}
	return nil
}

// closeAudit lets go of the sinks.
func (g *guard) closeAudit() {
	for _, a := range g.opened {
		if err := a.Close(); err != nil {
			log.Errorf("Closing the audit log: %v", err)
		}
	}
}
