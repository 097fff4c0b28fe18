// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"strings"
)

// Proof names what an allowed client has proved itself with: its key, the certificate
// that the rule asks for, or both; "" where an address alone does.
func (r *Rule) Proof(q *Request) string {
	var proofs []string
	if q.TSIG.Status == TSIGValid {
		proofs = append(proofs, "key "+q.TSIG.Key)
	}
	if i := slices.IndexFunc(r.Certs, q.TLS.Shows); i >= 0 {
		c := r.Certs[i]
		if c.wildcard() { // of the many that it stands for, this one
			c = Cert{SPKI: q.TLS.SPKI}
		}
		proofs = append(proofs, "cert "+c.String())
	}
	return strings.Join(proofs, " ")
}

// Place names the identity of an allowed client that the Corefile knows, which may
// always run one transfer: a key, or a certificate that is named or pinned, with the
// address where the rule names that. What the Corefile does not tell apart has one
// place together.
func (r *Rule) Place(q *Request) string {
	who := "rule " + r.Name
	known := len(r.Keys) > 0
	if i := slices.IndexFunc(r.Certs, q.TLS.Shows); i >= 0 {
		known = known || !r.Certs[i].wildcard()
	}
	if known {
		who = r.Proof(q)
	}
	if r.Nets.Names(q.Client) {
		who += " net " + q.Client.String()
	}
	return who
}

// Secondary names the secondary behind a request that the rule allows: by its address where
// the rule names that, else by the key or the certificate that the rule asks for and it
// has proved, else by the rule. Of the many that a wildcard stands for it is the one
// whose name the certificate has, if it is no wildcard itself.
func (r *Rule) Secondary(q *Request) string {
	if r.Nets.Names(q.Client) {
		return q.Client.Unmap().String()
	}
	if i := slices.Index(r.Keys, q.TSIG.Key); i >= 0 && q.TSIG.Status == TSIGValid {
		return r.Keys[i]
	}
	i := slices.IndexFunc(r.Certs, q.TLS.Shows)
	switch {
	case i < 0:
		return r.Name
	case !r.Certs[i].wildcard():
		return r.Certs[i].String()
	}
	own := func(san string) bool { return !strings.HasPrefix(san, "*") && sameHost(r.Certs[i].Name, san) }
	if j := slices.IndexFunc(q.TLS.Names, own); j >= 0 {
		return q.TLS.Names[j]
	}
	return r.Name
}

func (c Cert) wildcard() bool { return strings.HasPrefix(c.Name, "*.") }
