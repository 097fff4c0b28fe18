// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/coredns"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/evidence"
	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

// placeDoors runs when the xfrguard directives of all blocks are set up: it puts
// the door into every block that has none of its own.
func placeDoors(ctx caddy.Context) error {
	in := lookupInstance(ctx)
	if in == nil {
		return nil
	}
	return in.failed(audit.FailedParse, in.placeDoors())
}

func (in *instance) placeDoors() error {
	var first *guard
	for _, g := range in.guards {
		if first != nil && first.elsewhere != g.elsewhere {
			return fmt.Errorf("%s and %s disagree about elsewhere: say the same in every server block", first.pos, g.pos)
		}
		if first == nil || g.index < first.index {
			first = g
		}
	}
	in.elsewhere = first.elsewhere
	observed := in.observes()
	_, explicit := in.elsewhereAt()
	list, err := coredns.Blocks(in.controller)
	if err != nil {
		return err
	}
	for _, b := range list {
		g, own := in.guards[b.Index]
		if !own {
			if in.elsewhere == corefile.ElsewherePass || observed && !explicit {
				continue
			}
			g = catchAll(b, first)
			if observed {
				g.mode = corefile.ModeObserve
			}
			g.in = in
			in.guards[b.Index] = g
		}
		g.Config = b.Configs[0]
		g.keys = b.Configs
		if !own {
			g.Config.AddPlugin(in.doorOf(g))
		}
	}
	return nil
}

// observes reports whether every directive does: then nothing is refused anywhere.
func (in *instance) observes() bool {
	for _, g := range in.guards {
		if g.auditOf == nil && g.mode != corefile.ModeObserve {
			return false
		}
	}
	return true
}

// elsewhereAt returns where the Corefile says elsewhere, if it does.
func (in *instance) elsewhereAt() (pos corefile.Position, said bool) {
	for _, g := range in.sorted() {
		for _, d := range g.directives {
			if at, ok := d.Given["elsewhere"]; ok {
				return at, true
			}
		}
	}
	return pos, false
}

// placeGates runs when the directive before transfer is set up.
func placeGates(ctx caddy.Context) error {
	in := lookupInstance(ctx)
	if in == nil {
		return nil
	}
	defer forgetInstance(ctx)
	list, err := coredns.Blocks(in.controller)
	if err != nil {
		return in.failed(audit.FailedParse, err)
	}
	for _, b := range list {
		if g, ok := in.guards[b.Index]; ok {
			g.Config.AddPlugin(func(next plugin.Handler) plugin.Handler { return &gate{guard: g, Next: next} })
		}
		offerDoT(b)
	}
	return nil
}

// offerDoT lets clients negotiate "dot" (RFC 9103 §7.1), without which BIND and
// dig +tls take no transfer. A listener has the TLS settings of the first block of
// its group, so this is done in all of them.
func offerDoT(b coredns.Block) {
	first := b.Configs[0]
	isTLS := func(c *dnsserver.Config) bool { return c.Transport == "tls" }
	if first.TLSConfig == nil || !slices.ContainsFunc(b.Configs, isTLS) || slices.Contains(first.TLSConfig.NextProtos, "dot") {
		return
	}
	first.TLSConfig.NextProtos = append(first.TLSConfig.NextProtos, "dot")
}

// gateDirectives are the directives after which placeGates is registered.
var gateDirectives = struct {
	sync.Mutex
	done map[string]bool
}{done: make(map[string]bool)}

// registerGate arranges for the gate to be placed right before transfer, wherever
// this binary's directive order has it.
func registerGate(directives []string) error {
	i := slices.Index(directives, "transfer")
	if i < 1 {
		return errors.New("no transfer in the directive order: xfrguard cannot place its gate")
	}
	before := directives[i-1]
	gateDirectives.Lock()
	defer gateDirectives.Unlock()
	if gateDirectives.done[before] {
		return nil
	}
	gateDirectives.done[before] = true
	caddy.RegisterParsingCallback("dns", before, func(ctx caddy.Context) error {
		if j := slices.Index(dnsserver.Directives, "transfer"); j < 1 || dnsserver.Directives[j-1] != before {
			return nil
		}
		return placeGates(ctx)
	})
	return nil
}

// catchAll is the guard of a block without xfrguard: nobody is allowed anything.
// It records where the guard of the first block records.
func catchAll(b coredns.Block, like *guard) *guard {
	g := &guard{
		index: b.Index, pos: like.pos, mode: corefile.ModeEnforce, elsewhere: like.elsewhere, auditOf: like,
		zones: make(map[string]*directive),
	}
	g.Reader = evidence.NewReader(memoryOfReplays, g.anybodyMaySend)
	var nobody []*corefile.Config
	for _, c := range b.Configs {
		nobody = append(nobody, &corefile.Config{Zones: []string{dns.CanonicalName(c.Zone)}, Limits: policy.DefaultLimits, Pos: like.pos})
	}
	g.serve(nobody...)
	return g
}
