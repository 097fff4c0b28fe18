// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/coredns"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/lint"
	"github.com/xfrguard/xfrguard/internal/wire"
)

// lint returns what seems to be one thing and is another, in this block.
func (g *guard) lint(in *instance) lint.Findings {
	fs := lint.Block(g.parsed(), time.Now())
	g.lintChain(&fs)
	g.lintTLS(&fs)
	g.lintTwice(&fs)
	g.lintProxy(&fs)
	g.lintFiles(&fs, in)
	g.lintReload(&fs, in)
	g.lintKeys(&fs, in)
	g.lintBackends(&fs)
	g.lintUnnamed(&fs)
	g.lintUnguarded(&fs, in)
	for _, m := range g.over {
		fs.Add(finding.ExpectOver, m.Pos, "%s", m.Text)
	}
	if g.alike != nil {
		fs.Add(finding.BlocksAlike, g.pos, "the server block at %s has a zone, port and view of this one: give the views names of their own", g.alike.pos)
	}
	if g.mode == corefile.ModeEnforce {
		g.lintNotify(&fs)
		g.lintACL(&fs)
		g.lintRequire(&fs)
		g.lintTransferTo(&fs)
		g.lintHold(&fs)
		g.lintAnswers(&fs, in)
	}
	if !wire.AcksKnown {
		fs.Add(finding.AcksUnknown, g.pos, "this system does not tell what clients acknowledge: slow ones over TLS may pass for stalled, "+
			"and a transfer counts as complete when the system has taken it")
	}
	fs = fs.Without(g.except)
	for i := range fs {
		fs[i].Block, fs[i].View = g.server(), g.Config.ViewName
	}
	return fs
}

// parsed are the directives of the block as they were read.
func (g *guard) parsed() []*corefile.Config {
	list := make([]*corefile.Config, len(g.directives))
	for i, d := range g.directives {
		list[i] = d.Config
	}
	return list
}

// lintChain finds plugins that meet transfers before the guard does.
func (g *guard) lintChain(fs *lint.Findings) {
	for _, h := range g.Config.Handlers() {
		switch name := h.Name(); {
		case name == pluginName:
			return
		case name == "shed":
			fs.Add(finding.PluginBeforeGuard, g.pos, "shed stands before xfrguard: an IXFR over UDP that it drops under load is on no record, one over TCP is not dropped")
		case !slices.Contains(coredns.Harmless, name):
			fs.Add(finding.PluginBeforeGuard, g.pos, "%s stands before xfrguard and is not known to leave transfers alone: move xfrguard in plugin.cfg right after dnstap", name)
		}
	}
}

var errFindings = errors.New("the self-check has findings, and findings fail is set")

// report writes the findings into the log, or fails with them.
func (g *guard) report(fs lint.Findings) error {
	if failing := fs.Failing(); len(failing) > 0 && g.findings == corefile.FindingsFail {
		return fmt.Errorf("%w: %s", errFindings, failing)
	}
	for i := range fs {
		logFinding(&fs[i])
	}
	g.found = fs
	return nil
}

func logFinding(f *lint.Finding) {
	if f.Level() == finding.Warn {
		log.Warning(f)
	} else {
		log.Info(f)
	}
}

// announceFindings puts the findings on record and into the metrics.
func (g *guard) announceFindings() {
	if g.auditOf != nil {
		return
	}
	for i := range g.found {
		findingsGauge.WithLabelValues(g.server(), string(g.found[i].Code)).Inc()
		g.audit.Announce(findingEvent(&g.found[i]))
	}
}

// findingEvent is the record of a finding.
func findingEvent(f *lint.Finding) *audit.Event {
	return &audit.Event{
		Time: time.Now(), Action: audit.ActionFinding, Reason: string(f.Code), Message: f.Text,
		Block: f.Block, View: f.View, Zone: f.Zone,
		Extra: map[string]any{audit.ExtraFinding: string(f.Code), audit.ExtraFindingPosition: f.Pos.String()},
	}
}

// tell puts a finding about the content of a zone into the log and on record, while the
// server runs. It reports whether that was wanted.
func (g *guard) tell(f *lint.Finding, serial uint32) bool {
	d := g.covering(f.Zone)
	if d == nil || slices.Contains(g.except, f.Code) {
		return false
	}
	f.Block, f.View, f.Pos = g.server(), g.Config.ViewName, d.Pos
	logFinding(f)
	e := findingEvent(f)
	e.SerialServed = &serial
	g.aboutZone(f.Zone, e)
	return true
}
