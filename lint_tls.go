// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/xfrguard/xfrguard/internal/evidence"
	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/coredns/coredns/plugin/file"
)

// lintTLS lists rules over TLS that ask for less than RFC 9103 §7.5 wants (mutual TLS,
// or an address and a signature together), and those that the server block's own
// listeners leave without effect.
func (g *guard) lintTLS(now time.Time) []string {
	l := listenersOf(g)
	var findings []string
	if l.tls && l.config == nil {
		findings = append(findings, fmt.Sprintf("%s: tls:// without the tls plugin is plain TCP: every transfer there is refused", g.pos))
	}
	if f := g.lintTwice(); f != "" {
		findings = append(findings, f)
	}
	for _, d := range g.directives {
		cfg := d.Config
		for i := range cfg.Rules {
			rule := &cfg.Rules[i]
			if rule.Deny {
				continue
			}
			for _, f := range []string{lintProof(rule, l), lintListener(rule, l), lintCert(rule, l), lintUntil(rule, now)} {
				if f != "" {
					findings = append(findings, fmt.Sprintf("%s: rule %q %s", cfg.RulePos[i], rule.Name, f))
				}
			}
		}
	}
	return findings
}

// listeners is what a server block has to receive transfers with.
type listeners struct {
	tls    bool        // one of its keys is tls://
	plain  bool        // one of its keys is dns://
	config *tls.Config // nil without the tls plugin
}

func listenersOf(g *guard) listeners {
	l := listeners{config: g.Config.TLSConfig}
	for _, c := range g.keys {
		l.tls = l.tls || c.Transport == "tls"
		l.plain = l.plain || c.Transport == "dns"
	}
	return l
}

// lintProof looks at what a rule for transfers over TLS rests on.
func lintProof(r *policy.Rule, l listeners) string {
	const rfc = "RFC 9103 §7.5 wants a client certificate, or both an address and a TSIG key"
	everywhere := r.Nets.Any()
	switch {
	case len(r.Certs) > 0 || !r.TLS && (l.plain || !l.tls):
		return ""
	case len(r.Keys) == 0 && everywhere:
		return "asks nobody over TLS who they are: " + rfc
	case len(r.Keys) == 0:
		return "rests on an address alone: " + rfc
	case everywhere:
		return "rests on TSIG without an address: " + rfc
	}
	return ""
}

// lintListener looks for a rule that wants TLS where there is none.
func lintListener(r *policy.Rule, l listeners) string {
	switch {
	case !r.TLS || l.tls:
		return ""
	case !r.TLSUntil.IsZero():
		return fmt.Sprintf("lets nobody in from %s on: this server block has no tls:// listener", r.TLSUntil.Format(time.RFC3339))
	}
	return "lets nobody in: it needs TLS, and this server block has no tls:// listener"
}

// lintCert looks for a certificate that the listener never asks for, or that it
// has nothing, or anything, to verify with.
func lintCert(r *policy.Rule, l listeners) string {
	if len(r.Certs) == 0 || !l.tls || l.config == nil {
		return ""
	}
	var names []string
	for _, c := range r.Certs {
		if c.Name != "" {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	switch {
	case l.config.ClientAuth == tls.NoClientCert:
		return "lets nobody in: the tls plugin never asks for a client certificate; add client_auth request, or one that verifies"
	case len(names) == 0 || l.config.ClientCAs != nil:
		return ""
	case evidence.VerifiesClients(l.config.ClientAuth):
		return fmt.Sprintf("believes every CA that this system trusts about %s: name a CA of your own as the third file of tls", strings.Join(names, " "))
	}
	return fmt.Sprintf("never accepts %s: there is no CA to verify a name with; name it as the third file of tls, or pin the public key", strings.Join(names, " "))
}

// lintUntil looks for a migration that is over.
func lintUntil(r *policy.Rule, now time.Time) string {
	if r.TLSUntil.IsZero() || now.Before(r.TLSUntil) {
		return ""
	}
	return fmt.Sprintf("has not let plain TCP in since %s: its 'until' has passed and can go", r.TLSUntil.Format(time.RFC3339))
}

// announceUntil puts the ends of migrations into the metrics.
func announceUntil(p *policy.Policy, listener, view string) {
	for i := range p.Rules {
		if r := &p.Rules[i]; !r.TLSUntil.IsZero() {
			tlsUntil.WithLabelValues(listener, p.Zone, view, r.Name).Set(float64(r.TLSUntil.Unix()))
		}
	}
}

// lintTwice looks for a zone that a handler of CoreDNS has twice, because two keys of
// the block name it and the handler's own line does not. CoreDNS 1.15's file then never
// stops (it tells the zone's goroutine to end once for each name), and a reload, which
// waits for that, never ends: no later policy would come into force.
func (g *guard) lintTwice() string {
	f, ok := g.Config.Handler("file").(file.File)
	if !ok {
		return ""
	}
	seen := make(map[string]bool)
	for _, name := range f.Zones.Names {
		if z := f.Zones.Z[name]; seen[name] && z != nil && z.ReloadInterval > 0 {
			return fmt.Sprintf("%s: file has %s twice, once for each key, and then reloads never end: name the zone behind its file", g.pos, name)
		}
		seen[name] = true
	}
	return ""
}
