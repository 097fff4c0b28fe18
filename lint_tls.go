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
	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/lint"
	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/coredns/coredns/plugin/file"
)

// lintTLS finds rules over TLS that ask for less than RFC 9103 §7.5 wants (mutual TLS,
// or an address and a signature together), and those that the server block's own
// listeners leave without effect.
func (g *guard) lintTLS(fs *lint.Findings) {
	l := listenersOf(g)
	if l.tls && l.config == nil {
		fs.Add(finding.TLSPlain, g.pos, "tls:// without the tls plugin is plain TCP: every transfer there is refused; name a certificate with 'tls CERT KEY'")
	}
	for _, d := range g.directives {
		cfg := d.Config
		for i := range cfg.Rules {
			rule := &cfg.Rules[i]
			if rule.Deny {
				continue
			}
			for _, look := range []func(*policy.Rule, listeners) (finding.Code, string){lintProof, lintListener, lintCert} {
				if code, text := look(rule, l); text != "" {
					fs.Add(code, cfg.RulePos[i], "rule %q %s", rule.Name, text)
				}
			}
		}
	}
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
func lintProof(r *policy.Rule, l listeners) (finding.Code, string) {
	const rfc = "RFC 9103 §7.5 wants a client certificate, or both an address and a TSIG key"
	everywhere := r.Nets.Any()
	switch {
	case len(r.Certs) > 0 || !r.TLS && (l.plain || !l.tls):
		return "", ""
	case len(r.Keys) == 0 && everywhere:
		return finding.TLSWeakRule, "asks nobody over TLS who they are: " + rfc
	case len(r.Keys) == 0:
		return finding.TLSWeakRule, "rests on an address alone: " + rfc
	case everywhere:
		return finding.TLSWeakRule, "rests on TSIG without an address: " + rfc
	}
	return "", ""
}

// lintListener looks for a rule that wants TLS where there is none.
func lintListener(r *policy.Rule, l listeners) (finding.Code, string) {
	switch {
	case !r.TLS || l.tls:
		return "", ""
	case !r.TLSUntil.IsZero():
		return finding.TLSRuleClosed, fmt.Sprintf("lets nobody in from %s on: this server block has no tls:// listener", r.TLSUntil.Format(time.RFC3339))
	}
	return finding.TLSRuleClosed, "lets nobody in: it needs TLS, and this server block has no tls:// listener"
}

// lintCert looks for a certificate that the listener never asks for, or that it
// has nothing, or anything, to verify with.
func lintCert(r *policy.Rule, l listeners) (finding.Code, string) {
	if len(r.Certs) == 0 || !l.tls || l.config == nil {
		return "", ""
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
		return finding.TLSRuleClosed, "lets nobody in: the tls plugin never asks for a client certificate; add client_auth request, or one that verifies"
	case len(names) == 0 || l.config.ClientCAs != nil:
		return "", ""
	case evidence.VerifiesClients(l.config.ClientAuth):
		return finding.CertificateAnyCA, fmt.Sprintf("believes every CA that this system trusts about %s: name a CA of your own as the third file of tls", strings.Join(names, " "))
	}
	return finding.TLSRuleClosed, fmt.Sprintf("never accepts %s: there is no CA to verify a name with; name it as the third file of tls, or pin the public key", strings.Join(names, " "))
}

// announceUntil puts the ends of migrations into the metrics.
func announceUntil(p *policy.Policy, zone, listener, view string) {
	for i := range p.Rules {
		if r := &p.Rules[i]; !r.TLSUntil.IsZero() {
			tlsUntil.WithLabelValues(listener, zone, view, r.Name).Set(float64(r.TLSUntil.Unix()))
		}
	}
}

// lintTwice looks for a zone that a handler of CoreDNS has twice, because two keys of
// the block name it and the handler's own line does not. CoreDNS 1.15's file then never
// stops (it tells the zone's goroutine to end once for each name), and a reload, which
// waits for that, never ends: no later policy would come into force.
func (g *guard) lintTwice(fs *lint.Findings) {
	f, ok := g.Config.Handler("file").(file.File)
	if !ok {
		return
	}
	seen := make(map[string]bool)
	for _, name := range f.Zones.Names {
		if z := f.Zones.Z[name]; seen[name] && z != nil && z.ReloadInterval > 0 {
			fs.Add(finding.FileZoneTwice, g.pos, "file has %s twice, once for each key, and then reloads never end: name the zone behind its file", name)
			return
		}
		seen[name] = true
	}
}
