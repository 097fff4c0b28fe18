// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"slices"
	"sync"
	"time"
)

const (
	badChainTime  = time.Minute // for which a chain that leads nowhere is remembered
	goodChainTime = time.Hour   // for which one that leads to the CA is
	maxChains     = 1024
)

// chainResult is what the attempt to build a chain has found.
type chainResult struct {
	root [sha256.Size]byte // SHA-256 of the root's public key
	ok   bool
	weak string // see weakKey

	from, until time.Time // the same would be found at any moment in between
}

// at reports whether the outcome is that of this moment. That of the zero value is
// none.
func (o *chainResult) at(now time.Time) bool { return !now.Before(o.from) && now.Before(o.until) }

// lasts sets the time of an outcome found now: to the nearest moments before and after
// at which one of the certificates begins or ends, and no longer than most: of roots
// that have no part in it nothing is known.
func (o *chainResult) lasts(now time.Time, most time.Duration, certs ...*x509.Certificate) {
	o.from, o.until = now.Add(-most), now.Add(most)
	for _, c := range certs {
		for _, edge := range [...]time.Time{c.NotBefore, c.NotAfter.Add(1)} { // NotAfter is inside
			switch {
			case edge.After(now) && edge.Before(o.until):
				o.until = edge
			case !edge.After(now) && edge.After(o.from):
				o.from = edge
			}
		}
	}
}

// chainOf is what the certificates of a connection lead to at this moment, under the CA
// of the listener and for client authentication. It does not depend on what client_auth
// made of them in the handshake: under request and require nobody has looked yet.
func (g *Reader) chainOf(s *session, presented []*x509.Certificate, now time.Time) chainResult {
	if g.Config == nil || g.Config.TLSConfig == nil || len(presented) > MaxPresented {
		return chainResult{}
	}
	listener := g.Config.TLSConfig // CoreDNS lets no two blocks of a listener disagree about its CA
	if listener.ClientCAs == nil && !VerifiesClients(listener.ClientAuth) {
		return chainResult{} // x509 would ask the CAs of the system, which nobody has chosen
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.chain.at(now) {
		s.chain = g.chains.result(presented, now, func() chainResult { return leads(presented, listener.ClientCAs, now) })
	}
	return s.chain
}

// leads looks for chains for client authentication from the first of the certificates
// to one of the roots, at first without the other certificates: whoever needs none
// makes no work with them. Of several roots the one with the smallest hash counts.
func leads(presented []*x509.Certificate, roots *x509.CertPool, now time.Time) (o chainResult) {
	options := x509.VerifyOptions{
		Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	chains, err := presented[0].Verify(options)
	if between := intermediates(presented[1:], now); err != nil && len(between) > 0 {
		for _, c := range between {
			options.Intermediates.AddCert(c)
		}
		chains, err = presented[0].Verify(options)
	}
	if err != nil {
		o.lasts(now, badChainTime, presented...)
		return o
	}
	edges := presented
	for _, chain := range chains {
		edges = append(edges[:len(edges):len(edges)], chain...)
		sum := sha256.Sum256(chain[len(chain)-1].RawSubjectPublicKeyInfo)
		if !o.ok || bytes.Compare(sum[:], o.root[:]) < 0 {
			o.ok, o.root, o.weak = true, sum, WeakKey(chain...)
		}
	}
	o.lasts(now, goodChainTime, edges...)
	return o
}

// intermediates are those of the certificates that may stand in the middle of a chain,
// at most two of one name: an authority that changes its key, or that two others vouch
// for, has two. x509 checks the signatures of all that have the right name, and a
// client may give its certificates any name.
func intermediates(presented []*x509.Certificate, now time.Time) (chosen []*x509.Certificate) {
	for _, c := range presented {
		if !c.IsCA || !c.BasicConstraintsValid || !within(c, now) || len(c.UnhandledCriticalExtensions) > 0 {
			continue
		}
		namesakes := 0
		for _, other := range chosen {
			if bytes.Equal(c.RawSubject, other.RawSubject) {
				namesakes++
			}
		}
		if namesakes < 2 && !slices.ContainsFunc(chosen, c.Equal) {
			chosen = append(chosen, c)
		}
	}
	return chosen
}

// chains remembers what certificates led to, whatever connection they came in: who
// connects again and again with the same ones makes nobody build a chain again. The
// zero value is ready.
type chains struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]chainResult
}

// result is build, or what it has found a while ago and would find now.
func (b *chains) result(presented []*x509.Certificate, now time.Time, build func() chainResult) chainResult {
	id := chainID(presented)
	o := b.lookup(id)
	if o.at(now) {
		return o
	}
	o = build()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known == nil || len(b.known) >= maxChains { // each was worth a handshake to somebody
		b.known = make(map[[sha256.Size]byte]chainResult)
	}
	b.known[id] = o
	return o
}

func (b *chains) lookup(id [sha256.Size]byte) chainResult {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.known[id]
}

// chainID names the certificates in their order, all octets of them.
func chainID(presented []*x509.Certificate) (id [sha256.Size]byte) {
	h := sha256.New()
	for _, c := range presented {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(c.Raw))))
		h.Write(c.Raw)
	}
	h.Sum(id[:0])
	return id
}
