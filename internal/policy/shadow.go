// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Shadows reports whether every request that satisfies the later rule satisfies
// r, too, at every moment: then r, which comes first, always decides, and the
// later one is dead. Rules that do so only together are not looked for.
func (r *Rule) Shadows(later *Rule) bool {
	if !r.Nets.Covers(&later.Nets) {
		return false
	}
	return r.Deny || r.coversTypes(later) && r.coversKeys(later) && r.coversCerts(later) && r.coversTLS(later) && r.outlasts(later)
}

func (r *Rule) coversTypes(later *Rule) bool {
	all := []uint16{dns.TypeAXFR, dns.TypeIXFR}
	types := later.Types
	if len(types) == 0 {
		types = all
	}
	return len(r.Types) == 0 || !slices.ContainsFunc(types, func(t uint16) bool { return !slices.Contains(r.Types, t) })
}

func (r *Rule) coversKeys(later *Rule) bool {
	if len(r.Keys) == 0 {
		return true
	}
	return len(later.Keys) > 0 && !slices.ContainsFunc(later.Keys, func(k string) bool { return !slices.Contains(r.Keys, k) })
}

func (r *Rule) coversCerts(later *Rule) bool {
	if len(r.Certs) == 0 {
		return true
	}
	return len(later.Certs) > 0 && !slices.ContainsFunc(later.Certs, func(c Cert) bool {
		return !slices.ContainsFunc(r.Certs, func(mine Cert) bool { return mine.covers(c) })
	})
}

// coversTLS compares from when on each rule needs TLS: as long as the later one
// takes plain TCP, r must take it, too.
func (r *Rule) coversTLS(later *Rule) bool {
	always := func(x *Rule) bool { return len(x.Certs) > 0 || x.TLS && x.TLSUntil.IsZero() }
	if always(later) || !r.TLS && !always(r) {
		return true
	}
	return later.TLS && !later.TLSUntil.After(r.TLSUntil) // the zero time, from the start, is before any other
}

// outlasts reports whether r allows as long as the later one does.
func (r *Rule) outlasts(later *Rule) bool {
	return r.Expires.IsZero() || !later.Expires.IsZero() && !later.Expires.After(r.Expires)
}

// covers reports whether every certificate that shows other shows c, too. The
// SAN *.example.org shows both the name *.example.org and every name it stands for.
func (c Cert) covers(other Cert) bool {
	return c == other || strings.HasPrefix(c.Name, "*.") && other.Name != "" && sameHost(c.Name, other.Name)
}
