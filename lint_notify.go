// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/xfrguard/xfrguard/internal/corefile"
)

// lintNotify finds NOTIFYs that may not arrive, or not be taken: to an address that is
// unclear, or from one that nothing decides.
func (g *guard) lintNotify() (findings []string) {
	add := func(pos corefile.Position, code, format string, args ...any) {
		findings = append(findings, fmt.Sprintf("%s: %s: ", pos, code)+fmt.Sprintf(format, args...))
	}
	for _, d := range g.directives {
		cfg := d.Config
		for _, spec := range cfg.Notify {
			for _, s := range spec.Unclear {
				i := strings.LastIndexByte(s, ':')
				add(spec.Pos, "notify-ambiguous", "notify %s goes to that address at port %d: write [%s]:%s if its end is meant as a port, or [%s]:%d if not",
					s, corefile.NotifyPort(spec.TLS), s[:i], s[i+1:], s, corefile.NotifyPort(spec.TLS))
			}
		}
	}
	type place struct {
		pos corefile.Position
		to  netip.AddrPort
	}
	seen := make(map[place]bool) // every zone of a directive has the same
	g.eachNotice(func(_ string, n intended) {
		at := place{n.pos, n.target.Addr}
		to := at.to.Addr()
		switch {
		case seen[at]:
		case corefile.WithoutLink(to):
			add(n.pos, "notify-ambiguous", "%s is link-local, so that nobody is notified: write its interface too, such as [%s%%eth0]:%d", to, to, n.target.Addr.Port())
		case len(n.from) > 0:
			add(n.pos, "notify-source", "the system chooses from which address %s is notified, as this server block has several (%s) and secondaries know their primary by it: %s",
				to, joined(n.from), n.remedy())
		}
		seen[at] = true
	})
	return findings
}

// remedy says where to write the source.
func (n *intended) remedy() string {
	switch {
	case n.spec == nil:
		return "write 'source ADDRESS' into transfer"
	case n.spec.Rule != "":
		return fmt.Sprintf("write a line 'notify %s ... source ADDRESS' in place of the word in rule %q", n.target.Addr.Addr(), n.spec.Rule)
	}
	return "write 'source ADDRESS' behind it"
}

func joined(addrs []netip.Addr) string {
	texts := make([]string, len(addrs))
	for i, a := range addrs {
		texts[i] = a.String()
	}
	return strings.Join(texts, ", ")
}
