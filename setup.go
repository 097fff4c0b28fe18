// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package xfrguard is a CoreDNS plugin that owns outgoing zone transfers: it
// decides about every AXFR and IXFR by one default-deny policy, records each
// attempt before it answers, and serves what is allowed itself.
//
// A request walks through the package in one direction:
//
//	plugin.go      every query of the block comes by; all but transfers go on
//	transfer.go    the order of the steps that follow
//	  evidence     what the message and its connection show
//	  policy       the decision, pure
//	  admission.go rate and places: a lease
//	  plan.go      what the client will get: a zone, differences, the SOA alone
//	  audit.go     the decision, on record before the first octet
//	  answer.go    what an allowed client gets, paced and watched
//	  reply.go     what a refused client gets
//	  audit.go     the end, on record
//
// Around it: setup.go and chain.go make a guard of the Corefile and put it into the chain,
// policy.go says what answers for a name, instance.go and restart.go tell the life of one
// load of the Corefile, identity.go what counts as the same after a reload, engine.go and
// notify.go keep zones ready and secondaries told.
package xfrguard

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/coredns"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/evidence"
	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

func init() {
	plugin.Register(pluginName, setup)
	caddy.RegisterParsingCallback("dns", pluginName, placeDoors)
	hookEvents()
	caddy.OnProcessExit = append(caddy.OnProcessExit, endAll)
}

// setup reads the directives of one server block and puts its door into the chain.
func setup(c *caddy.Controller) error {
	in := instanceOf(c)
	return in.failed(audit.FailedParse, in.setup(c))
}

func (in *instance) setup(c *caddy.Controller) error {
	if err := coredns.CheckOrder(dnsserver.Directives); err != nil {
		return err
	}
	if err := registerGate(dnsserver.Directives); err != nil {
		return err
	}
	configs, err := corefile.Parse(&c.Dispenser, c.ServerBlockKeys)
	if err != nil {
		return err
	}
	g := newGuard(c.ServerBlockIndex, configs)
	g.in = in
	in.guards[c.ServerBlockIndex] = g
	in.warnOfKeyFiles(g)
	dnsserver.GetConfig(c).AddPlugin(in.doorOf(g))
	return nil
}

// guard is what the door and the gate of one server block share.
type guard struct {
	in        *instance
	index     int // of the server block
	pos       corefile.Position
	mode      corefile.Mode
	elsewhere corefile.Elsewhere
	findings  corefile.FindingsMode
	except    []finding.Code

	evidence.Reader
	directives []*directive          // in the order of the Corefile
	zones      map[string]*directive // by apex
	roster     *roster               // the zones that its patterns stand for

	keys   []*dnsserver.Config // of all its keys
	traced bool

	listeners map[string]*sharedListener // of all blocks, set at start
	double    bool                       // another block looks the same from outside
	alike     *guard                     // that block
	over      []corefile.Mistake         // expectations that no longer hold, as a date has passed

	running // set when the instance is prepared
	auditOf *guard
	shut    bool // takes no more requests; guarded by transfers.mu
}

func newGuard(index int, configs []*corefile.Config) *guard {
	first := configs[0]
	g := &guard{
		index: index, pos: first.Pos, zones: make(map[string]*directive),
		mode: first.Mode, elsewhere: first.Elsewhere, findings: first.Findings, except: first.Except,
	}
	g.Reader = evidence.NewReader(memoryOfReplays, g.anybodyMaySend)
	g.directives = g.serve(configs...)
	return g
}

// check compares the policy with the rest of the Corefile: what would never have
// an effect, or another one than it seems, is an error at start.
func (g *guard) check() error {
	g.Secrets = make(map[string]evidence.Secret)
	for name, text := range g.Config.TsigSecret {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(raw) == 0 {
			return fmt.Errorf("the secret of TSIG key %s is not base64", name)
		}
		g.Secrets[dns.CanonicalName(name)] = evidence.Secret{Text: text, Raw: raw}
	}
	for _, d := range g.directives {
		cfg := d.Config
		for i := range cfg.Rules {
			d.ruleIDs[&cfg.Rules[i]] = policy.Identity(cfg.Rules, i, cfg.Algorithms, func(key string) []byte { return g.Secrets[key].Raw })
		}
	}
	has := func(key string) bool { _, ok := g.Secrets[key]; return ok }
	var errs []error
	for _, m := range corefile.Mistakes(corefile.CheckKeys(g.parsed(), has)) {
		errs = append(errs, fmt.Errorf("%s: %s", m.Pos, m.Text))
	}
	if len(errs) == 0 {
		errs = g.checkExpects(has)
	}
	return errors.Join(append(errs, g.readAnchors())...)
}

var errExpect = errors.New("the policy is not as expected")

// checkExpects tries what the policy has to say. Where only a date has passed that is a
// finding: see lint.
func (g *guard) checkExpects(has func(key string) bool) (errs []error) {
	for _, u := range corefile.TryExpects(g.parsed(), time.Now(), has) {
		if u.Over {
			g.over = append(g.over, u.Mistake)
			continue
		}
		errs = append(errs, fmt.Errorf("%w: %s: %s", errExpect, u.Pos, u.Text))
	}
	return errs
}

// sharedSecrets reports a key name with two secrets on one listener: CoreDNS keeps
// one of them for the whole listener, and which one is an accident.
func sharedSecrets(blocks []coredns.Block) error {
	type holder struct{ secret, zone string }
	seen := make(map[string]holder)
	for _, b := range blocks {
		for _, c := range b.Configs {
			for _, host := range b.Configs[0].ListenHosts {
				listener := c.Transport + "://" + net.JoinHostPort(host, c.Port)
				for name, secret := range b.Configs[0].TsigSecret {
					key := listener + " " + name
					other, ok := seen[key]
					if ok && other.secret != secret {
						return fmt.Errorf("TSIG key %s has two secrets on %s: in the server blocks of %s and %s; give one of the keys another name",
							name, listener, other.zone, c.Zone)
					}
					seen[key] = holder{secret, c.Zone}
				}
			}
		}
	}
	return nil
}
