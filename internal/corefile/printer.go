// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package corefile

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/miekg/dns"
)

// String is the directive as an operator could have written it, with every property and
// no secret: [Parse] reads the same directive out of it.
func (c *Config) String() string {
	b := &strings.Builder{}
	line := func(tokens ...string) { writeLine(b, tokens) }
	line(append(append([]string{"xfrguard"}, c.Names()...), "{")...)
	for _, r := range c.Rules {
		line(ruleTokens(r)...)
	}
	line(append([]string{"algorithms"}, c.Algorithms...)...)
	l := c.Limits
	line(append([]string{"rate"}, rateTokens(l.Rate)...)...)
	line("concurrent", strconv.Itoa(l.Total), "per-client", strconv.Itoa(l.PerClient), "wait", l.Wait.String())
	if l.Bandwidth > 0 {
		line("bandwidth", fmt.Sprintf("%dB", l.Bandwidth))
	}
	pace := "off"
	if l.Pace > 0 {
		pace = fmt.Sprintf("%dB", l.Pace)
	}
	line("timeout", l.Timeout.String(), "stall", l.Stall.String(), "pace", pace)
	for _, s := range c.Audit {
		line(slices.DeleteFunc([]string{"audit", s.Kind, s.Path, s.Network, s.Address}, func(s string) bool { return s == "" })...)
	}
	line("audit_failure", string(c.AuditFailure))
	if c.AuditKey != "" {
		line("audit_key", c.AuditKey)
	}
	line("mode", string(c.Mode))
	line("elsewhere", string(c.Elsewhere))
	line(strings.Fields("findings " + string(c.Findings) + " " + joinCodes(c.Except))...)
	line("cache", fmt.Sprintf("%dB", c.Cache))
	if c.Control != "" {
		line("control", c.Control)
	}
	if c.Journal != "" {
		line("journal", c.Journal)
	}
	if c.HoldShrink != 0 {
		line("hold", "shrink", fmt.Sprint(c.HoldShrink, "%"))
	}
	line("verify", "zonemd", string(c.Verify.Zonemd))
	line(dnssecTokens(c.Verify)...)
	for _, n := range c.Notify {
		if n.Rule != "" {
			continue
		}
		line(notifyTokens(n)...)
	}
	for _, e := range c.Expects {
		line(append([]string{"expect"}, strings.Fields(e.Line)...)...)
	}
	b.WriteString("}\n")
	return b.String()
}

// writeLine writes the tokens of a line, quoted where they have to be.
func writeLine(b *strings.Builder, tokens []string) {
	if b.Len() > 0 {
		b.WriteByte('\t')
	}
	for i, token := range tokens {
		if i > 0 {
			b.WriteByte(' ')
		}
		if token == "" || strings.ContainsAny(token, " \t#\"") {
			token = `"` + strings.ReplaceAll(token, `"`, `\"`) + `"`
		}
		b.WriteString(token)
	}
	b.WriteByte('\n')
}

func dnssecTokens(v Verify) []string {
	tokens := []string{"verify", "dnssec", string(v.Dnssec)}
	if v.Full {
		tokens = append(tokens, "full")
	}
	if v.Anchor != "" {
		tokens = append(tokens, "anchor", v.Anchor)
	}
	return tokens
}

func notifyTokens(n Notify) []string {
	tokens := []string{"notify"}
	for _, a := range n.Addrs {
		tokens = append(tokens, a.String())
	}
	if n.Key != "" {
		tokens = append(tokens, "key", n.Key)
	}
	if n.TLS {
		tokens = append(tokens, "tls")
	}
	if n.Source.IsValid() {
		tokens = append(tokens, "source", n.Source.String())
	}
	return tokens
}

func rateTokens(r policy.Rate) []string {
	return []string{fmt.Sprintf("%d/%v", r.Count, r.Period), "burst", strconv.Itoa(r.Burst)}
}

func ruleTokens(r policy.Rule) []string {
	tokens := []string{"allow", "as", r.Name}
	if r.Deny {
		tokens[0] = "deny"
	}
	add := func(words ...string) { tokens = append(tokens, words...) }
	if len(r.Types) > 0 {
		add("type")
		for _, t := range r.Types {
			add(dns.TypeToString[t])
		}
	}
	if text := r.Nets.String(); text != "" {
		add(strings.Fields(text)...)
	}
	if len(r.Keys) > 0 {
		add("key")
		add(r.Keys...)
	}
	if len(r.Certs) > 0 {
		add("cert")
		for _, c := range r.Certs {
			if c.Name == "" {
				add("sha256:" + hex.EncodeToString(c.SPKI[:]))
			} else {
				add(c.Name)
			}
		}
	}
	if r.TLS {
		add("tls")
		if !r.TLSUntil.IsZero() {
			add("until", r.TLSUntil.Format(time.RFC3339Nano))
		}
	}
	if r.Unsigned {
		add("unsigned")
	}
	if !r.Expires.IsZero() {
		add("expires", r.Expires.Format(time.RFC3339Nano))
	}
	if r.Notify {
		add("notify")
	}
	if r.Rate != nil {
		add("rate")
		add(rateTokens(*r.Rate)...)
	}
	if r.Concurrent > 0 {
		add("concurrent", strconv.Itoa(r.Concurrent))
	}
	return tokens
}
