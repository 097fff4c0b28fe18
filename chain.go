// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

// serverBlock is one server block.
type serverBlock struct {
	index   int
	configs []*dnsserver.Config // one a key; the first holds the chain of all
}

// blocks returns the server blocks of the Corefile. CoreDNS keeps them to itself;
// their indexes are read by reflection, the configs through its own function.
func (in *instance) blocks() ([]serverBlock, error) {
	v := reflect.ValueOf(in.controller.Context())
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	unknown := errors.New("this CoreDNS keeps its server blocks where xfrguard does not find them; build with the version in go.mod")
	if v.Kind() != reflect.Struct {
		return nil, unknown
	}
	keys := v.FieldByName("keysToConfigs")
	if keys.Kind() != reflect.Map || keys.Type().Key().Kind() != reflect.String || keys.Len() == 0 {
		return nil, unknown
	}
	byIndex := make(map[int]map[int]*dnsserver.Config)
	for _, key := range keys.MapKeys() {
		i, k, ok := strings.Cut(key.String(), ":")
		bi, err1 := strconv.Atoi(i)
		ki, err2 := strconv.Atoi(k)
		if !ok || err1 != nil || err2 != nil {
			return nil, unknown
		}
		c := *in.controller
		c.ServerBlockIndex, c.ServerBlockKeyIndex = bi, ki
		if byIndex[bi] == nil {
			byIndex[bi] = make(map[int]*dnsserver.Config)
		}
		byIndex[bi][ki] = dnsserver.GetConfig(&c)
	}
	var blocks []serverBlock
	for i, configs := range byIndex {
		b := serverBlock{index: i}
		for k := range len(configs) {
			if configs[k] == nil {
				return nil, unknown
			}
			b.configs = append(b.configs, configs[k])
		}
		blocks = append(blocks, b)
	}
	slices.SortFunc(blocks, func(a, b serverBlock) int { return cmp.Compare(a.index, b.index) })
	return blocks, nil
}

// placeDoors runs when the xfrguard directives of all blocks are set up: it puts
// the door into every block that has none of its own.
func placeDoors(ctx caddy.Context) error {
	in := lookupInstance(ctx)
	if in == nil {
		return nil
	}
	return in.failed(FailedParse, in.placeDoors())
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
	blocks, err := in.blocks()
	if err != nil {
		return err
	}
	for _, b := range blocks {
		g, own := in.guards[b.index]
		if !own {
			if in.elsewhere == corefile.ElsewherePass {
				continue
			}
			g = catchAll(b, first)
			g.in = in
			in.guards[b.index] = g
		}
		g.config = b.configs[0]
		g.keys = b.configs
		if !own {
			g.config.AddPlugin(in.doorOf(g))
		}
	}
	return nil
}

// placeGates runs when the directive before transfer is set up.
func placeGates(ctx caddy.Context) error {
	in := lookupInstance(ctx)
	if in == nil {
		return nil
	}
	defer forgetInstance(ctx)
	blocks, err := in.blocks()
	if err != nil {
		return in.failed(FailedParse, err)
	}
	for _, b := range blocks {
		if g, ok := in.guards[b.index]; ok {
			g.config.AddPlugin(func(next plugin.Handler) plugin.Handler { return &gate{guard: g, next: next} })
		}
		offerDoT(b)
	}
	return nil
}

// offerDoT lets clients negotiate "dot" (RFC 9103 §7.1), without which BIND and
// dig +tls take no transfer. A listener has the TLS settings of the first block of
// its group, so this is done in all of them.
func offerDoT(b serverBlock) {
	first := b.configs[0]
	isTLS := func(c *dnsserver.Config) bool { return c.Transport == "tls" }
	if first.TLSConfig == nil || !slices.ContainsFunc(b.configs, isTLS) || slices.Contains(first.TLSConfig.NextProtos, "dot") {
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

// checkOrder reports a directive order in which a plugin could answer or change a
// transfer before the door meets it, or hide refusals from those that report them.
func checkOrder(directives []string) error {
	at := slices.Index(directives, pluginName)
	if at < 0 {
		return errors.New("not in the directive order: add it to plugin.cfg right after dnstap")
	}
	for _, d := range []string{"metadata", "prometheus", "errors", "log", "dnstap"} {
		if i := slices.Index(directives, d); i > at {
			return fmt.Errorf("stands before %s in the directive order: move it in plugin.cfg right after dnstap", d)
		}
	}
	dnstap := slices.Index(directives, "dnstap")
	for i, d := range directives[:at] {
		if i > dnstap && dnstap >= 0 || slices.Contains(answering, d) {
			return fmt.Errorf("stands after %s in the directive order: move it in plugin.cfg right after dnstap", d)
		}
	}
	return nil
}

// answering are CoreDNS's own plugins that answer queries, change them, or decide
// about them. None may stand in front of the door.
var answering = []string{
	"local", "dns64", "siit", "any", "chaos", "loadbalance", "tsig", "rewrite", "autopath", "acl", "cache", "header",
	"dnssec", "minimal", "template", "transfer", "dynupdate", "hosts", "route53", "azure", "clouddns", "k8s_external",
	"kubernetes", "file", "auto", "secondary", "etcd", "loop", "forward", "grpc", "erratic", "whoami", "sign", "nomad",
}

// harmless are the handlers that may stand in front of the door: CoreDNS's own,
// known not to answer a transfer.
var harmless = []string{
	"metadata", "geoip", "cancel", "bufsize", "debug", "trace", "ready", "health", "pprof", "shed", "prometheus",
	"errors", "log", "dnstap", "nsid", "reload", "view", pluginName,
}

// catchAll is the guard of a block without xfrguard: nobody is allowed anything.
// It records where the guard of the first block records.
func catchAll(b serverBlock, like *guard) *guard {
	g := &guard{
		index: b.index, pos: like.pos, mode: corefile.ModeEnforce, elsewhere: like.elsewhere, auditOf: like,
		policies: make(policy.Policies), configs: make(map[string]*corefile.Config), digests: make(map[string]string),
		sessions: newSessions(),
	}
	for _, c := range b.configs {
		apex := dns.CanonicalName(c.Zone)
		cfg := &corefile.Config{Zones: []string{apex}, Limits: policy.DefaultLimits, Pos: like.pos}
		g.configs[apex] = cfg
		g.policies[apex] = &policy.Policy{Zone: apex}
		g.digests[apex] = g.policies[apex].Digest()
	}
	return g
}
