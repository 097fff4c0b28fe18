// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/lint"
)

// lintNotify finds NOTIFYs that do not arrive, or may not be taken, as nothing decides from
// which address they come.
func (g *guard) lintNotify(fs *lint.Findings) {
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
			fs.Add(finding.NotifyAmbiguous, n.pos, "%s is link-local, so that nobody is notified: write its interface too, such as [%s%%eth0]:%d", to, to, n.target.Addr.Port())
		case len(n.from) > 0:
			fs.Add(finding.NotifySource, n.pos, "the system chooses from which address %s is notified, as this server block has several (%s) and secondaries know their primary by it: %s",
				to, joined(n.from), n.remedy())
		}
		seen[at] = true
	})
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
