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

func (c Cert) wildcard() bool { return strings.HasPrefix(c.Name, "*.") }
