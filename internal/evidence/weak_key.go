// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"sync"
)

// The shortest keys that are not weak: 112 bits of security (NIST SP 800-57 part 1,
// table 2).
const (
	MinRSABits = 2048
	minECBits  = 224
)

// WeakKey names the first key among the certificates that is too short to prove who
// somebody is, "" when there is none.
func WeakKey(certs ...*x509.Certificate) string {
	for _, c := range certs {
		switch key := c.PublicKey.(type) {
		case *rsa.PublicKey:
			if n := key.N.BitLen(); n < MinRSABits {
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

// WeakKey names the weak key that the client's certificate rests on, the first time
// that it is asked about this key; "" when there is none, or it has been told already.
func (g *Reader) WeakKey(e *Evidence) string {
	if e.Cert == nil {
		return ""
	}
	weak := e.Cert.session.weakKey(e.Cert.leaf)
	if weak == "" || !g.weakKeys.first(e.Req.TLS.SPKI) {
		return ""
	}
	return weak
}
