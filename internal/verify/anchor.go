// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// ErrAnchor says that an anchor file is none.
var ErrAnchor = errors.New("no anchor")

// Anchor is what the keys of zones must fit: DS or DNSKEY records.
type Anchor struct{ records map[string][]dns.RR }

// maxAnchor is how large an anchor file may be.
const maxAnchor = 1 << 20

// ReadAnchor reads DS or DNSKEY records in master-file form. The error wraps [ErrAnchor]
// or is the reader's.
func ReadAnchor(in io.Reader) (*Anchor, error) {
	b, err := io.ReadAll(io.LimitReader(in, maxAnchor+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the anchor: %w", err)
	case len(b) > maxAnchor:
		return nil, fmt.Errorf("%w: more than 1 MiB", ErrAnchor)
	}
	a := &Anchor{records: make(map[string][]dns.RR)}
	zp := dns.NewZoneParser(bytes.NewReader(b), ".", "")
	zp.SetDefaultTTL(3600)
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		switch rr.(type) {
		case *dns.DS, *dns.DNSKEY:
			name := string(wireName(rr.Header().Name))
			a.records[name] = append(a.records[name], rr)
		default:
			return nil, fmt.Errorf("%w: %s %s is neither DS nor DNSKEY", ErrAnchor, rr.Header().Name, dns.Type(rr.Header().Rrtype))
		}
	}
	switch {
	case zp.Err() != nil:
		return nil, fmt.Errorf("%w: %w", ErrAnchor, zp.Err())
	case len(a.records) == 0:
		return nil, fmt.Errorf("%w: it has neither DS nor DNSKEY records", ErrAnchor)
	}
	return a, nil
}

// Has reports whether the anchor says anything about a zone.
func (a *Anchor) Has(zone string) bool { return a != nil && len(a.records[string(wireName(zone))]) > 0 }

// meaning is what the anchor says of an apex: two with the same are the same.
func (a *Anchor) meaning(apex []byte) string {
	lines := make([]string, 0, 2)
	for _, rr := range a.of(apex) {
		lines = append(lines, rr.String())
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// of returns the anchor's records for an apex.
func (a *Anchor) of(apex []byte) []dns.RR {
	if a == nil {
		return nil
	}
	return a.records[string(apex)]
}

// fits reports whether a key is one that the anchor's records name.
func fits(apex []byte, k *key, records []dns.RR) bool {
	for _, rr := range records {
		switch rr := rr.(type) {
		case *dns.DNSKEY:
			if other := packKey(rr); other != nil && bytes.Equal(other[2:], k.data[2:]) {
				return true
			}
		case *dns.DS:
			hash := map[uint8]crypto.Hash{dns.SHA256: crypto.SHA256, dns.SHA384: crypto.SHA384}[rr.DigestType]
			want, err := hex.DecodeString(rr.Digest)
			if hash == 0 || err != nil || rr.KeyTag != k.tag || rr.Algorithm != k.algo {
				continue
			}
			h := hash.New()
			h.Write(apex)
			h.Write(k.data)
			if bytes.Equal(h.Sum(nil), want) {
				return true
			}
		}
	}
	return false
}

// packKey is the data of a DNSKEY record.
func packKey(rr *dns.DNSKEY) []byte {
	b := make([]byte, dns.Len(rr)+1)
	again := *rr
	again.Hdr.Name = "."
	n, err := dns.PackRR(&again, b, 0, nil, false)
	if err != nil || n < 15 {
		return nil
	}
	return b[11:n]
}
