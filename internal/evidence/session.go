// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"runtime"
	"sync"
	"weak"

	"github.com/xfrguard/xfrguard/internal/audit"
)

// sessions keeps what was found out about the certificates of each open connection. A
// client sends them once and may then ask as often as it likes, at some thirty octets a
// request, so nothing about them is worked out twice. An entry goes when the
// certificates of its connection do; nothing that a client does makes room for
// another's.
type sessions struct {
	mu   sync.Mutex
	open map[sessionKey]*session
}

func newSessions() *sessions { return &sessions{open: make(map[sessionKey]*session)} }

// sessionKey names the certificates of one connection: crypto/tls parses them anew for
// each, and hands out the same ones for every request on it.
type sessionKey struct {
	certs [MaxPresented]weak.Pointer[x509.Certificate]
	count int
}

// session is what one connection's certificates are worth. It holds none of them, or
// they would never go.
type session struct {
	readLeaf sync.Once
	leaf     leafFacts
	readLog  sync.Once
	log      leafLog

	mu    sync.Mutex // held while a chain is built: a connection builds one at a time
	chain chainResult
}

// of returns the session of the certificates, nil where there are none.
func (s *sessions) of(presented []*x509.Certificate) *session {
	if s == nil || len(presented) == 0 {
		return nil
	}
	key := sessionKey{count: len(presented)}
	for i, c := range presented[:min(len(presented), MaxPresented)] {
		key.certs[i] = weak.Make(c)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if found, ok := s.open[key]; ok {
		return found
	}
	made := &session{}
	s.open[key] = made
	runtime.AddCleanup(presented[0], s.forget, key)
	return made
}

func (s *sessions) forget(key sessionKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, key)
}

// leafFacts is what rules ask of a client's certificate, apart from its time and chain.
type leafFacts struct {
	spki  [sha256.Size]byte
	pin   string   // spki in hex
	names []string // see hostNames
	unfit string   // see unfit
	weak  string   // see weakKey
}

// facts reads the certificate, at the first call only.
func (s *session) facts(leaf *x509.Certificate) *leafFacts {
	s.readLeaf.Do(func() {
		spki := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
		s.leaf = leafFacts{
			spki:  spki,
			pin:   hex.EncodeToString(spki[:]),
			names: hostNames(leaf),
			unfit: unfit(leaf),
			weak:  WeakKey(leaf),
		}
	})
	return &s.leaf
}

// weakKey names a weak key that the certificate rests on: its own, or one of the chain
// that was found for it. "" when there is none.
func (s *session) weakKey(leaf *x509.Certificate) string {
	s.mu.Lock()
	chained := s.chain.weak
	s.mu.Unlock()
	return cmp.Or(s.facts(leaf).weak, chained)
}

// leafLog is what an event says about a client's certificate.
type leafLog struct {
	subject string
	names   []string
	spki    string
	cut     bool // there was more
}

// told renders the certificate for events, at the first call only.
func (s *session) told(leaf *x509.Certificate) *leafLog {
	s.readLog.Do(func() {
		sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
		s.log.spki = hex.EncodeToString(sum[:])
		s.log.subject, s.log.cut = subjectOf(&leaf.Subject)
		size := 0
		for _, san := range leaf.DNSNames {
			if size > audit.CapSANs { // the encoder leaves out the last one, and says so
				break
			}
			s.log.names = append(s.log.names, san[:min(len(san), audit.CapSANs+1)])
			size += len(san)
		}
	})
	return &s.log
}

// The bounds of a subject that is rendered. Rendering takes time that grows with the
// square of the attributes.
const (
	maxAttributes = 32
	maxArcs       = 16               // of an attribute's type
	maxAttribute  = audit.CapSubject // octets of one value; a longer one is cut by the encoder anyway
)

// subjectOf renders the first attributes of a name, and reports whether there are more.
func subjectOf(n *pkix.Name) (text string, cut bool) {
	rdns := make(pkix.RDNSequence, 0, maxAttributes)
	for _, attribute := range n.Names {
		if len(rdns) == maxAttributes {
			cut = true
			break
		}
		if len(attribute.Type) > maxArcs {
			cut = true
			continue
		}
		if v, ok := attribute.Value.(string); ok && len(v) > maxAttribute {
			attribute.Value, cut = v[:maxAttribute], true
		}
		rdns = append(rdns, pkix.RelativeDistinguishedNameSET{attribute})
	}
	var short pkix.Name
	short.FillFromRDNSequence(&rdns)
	return short.String(), cut
}

// sessionLeaf is the client's certificate of a session, for events.
type sessionLeaf struct {
	session *session
	leaf    *x509.Certificate
}

// Told implements audit.Certificate.
func (c *sessionLeaf) Told() (subject string, names []string, spki string, cut bool) {
	l := c.session.told(c.leaf)
	return l.subject, l.names, l.spki, l.cut
}
