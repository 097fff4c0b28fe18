// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"sync"

	"github.com/xfrguard/xfrguard/internal/policy"
)

// The shortest keys that are not weak: 112 bits of security (NIST SP 800-57 part 1, table 2).
const (
	minRSABits = 2048
	minECBits  = 224
)

// weakKey names the first key among the certificates that is too short to prove who
// somebody is, "" when there is none.
func weakKey(certs ...*x509.Certificate) string {
	for _, c := range certs {
		switch key := c.PublicKey.(type) {
		case *rsa.PublicKey:
			if n := key.N.BitLen(); n < minRSABits {
				return fmt.Sprintf("an RSA key of %d bits", n)
			}
		case *ecdsa.PublicKey:
			if n := key.Params().BitSize; n < minECBits {
				return fmt.Sprintf("an elliptic curve of %d bits", n)
			}
		}
		if c.PublicKeyAlgorithm == x509.DSA {
			return "a DSA key"
		}
	}
	return ""
}

// maxWeakKeys bounds the keys that are remembered, and the lines of the log about them.
const maxWeakKeys = 256

// weakKeys are the client certificates with weak keys that the log has told of.
type weakKeys struct {
	mu   sync.Mutex
	told map[[32]byte]bool
}

// first reports whether the key has not been told of yet, and there is room to do so.
func (w *weakKeys) first(spki [32]byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.told[spki] || len(w.told) >= maxWeakKeys {
		return false
	}
	if w.told == nil {
		w.told = make(map[[32]byte]bool)
	}
	w.told[spki] = true
	return true
}

// warnWeak tells once of a weak key that has opened a zone. Only who may have one anyway
// gets into the log this way.
func (x *exchange) warnWeak(d *policy.Decision) {
	if d.By == nil || len(d.By.Certs) == 0 || x.tls.session == nil {
		return
	}
	weak := x.tls.session.weakKey(x.tls.leaf)
	if weak != "" && x.guard.weakKeys.first(x.req.TLS.SPKI) {
		log.Warningf("The certificate sha256:%x, which rule %q accepts, rests on %s: issue one with RSA of %d bits or more, ECDSA or Ed25519",
			x.req.TLS.SPKI, d.By.Name, weak, minRSABits)
	}
}
