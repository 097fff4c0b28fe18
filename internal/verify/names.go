// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"cmp"

	"github.com/miekg/dns"
)

// compareNames compares two names in canonical wire form: label by label from the
// right, as octets (RFC 4034 §6.1).
func compareNames(a, b []byte) int {
	var la, lb [128]uint8
	na, nb := labelsOf(a, &la), labelsOf(b, &lb)
	for i := 1; i <= min(na, nb); i++ {
		x, y := la[na-i], lb[nb-i]
		if c := bytes.Compare(a[x+1:int(x)+1+int(a[x])], b[y+1:int(y)+1+int(b[y])]); c != 0 {
			return c
		}
	}
	return cmp.Compare(na, nb)
}

// labelsOf writes where each label of a name begins, and returns how many there are.
func labelsOf(name []byte, at *[128]uint8) (n int) {
	for i := 0; i < len(name) && name[i] != 0 && n < len(at); i += 1 + int(name[i]) {
		at[n] = uint8(i)
		n++
	}
	return n
}

// countLabels returns how many labels a name has, without the root.
func countLabels(name []byte) int {
	var at [128]uint8
	return labelsOf(name, &at)
}

// below reports whether a name is below another, both in canonical wire form.
func below(name, above []byte) bool {
	if len(name) <= len(above) || !bytes.HasSuffix(name, above) {
		return false
	}
	for i := 0; i < len(name) && name[i] != 0; {
		i += 1 + int(name[i])
		if i == len(name)-len(above) {
			return true
		}
	}
	return false
}

// parent returns the name without its first label.
func parent(name []byte) []byte { return name[1+int(name[0]):] }

// nameSize returns the octets of the name that b begins with, 0 when it is none.
func nameSize(b []byte) int {
	for i := 0; i < len(b) && i < 255; i += 1 + int(b[i]) {
		if b[i] == 0 {
			return i + 1
		}
		if b[i] > 63 {
			return 0
		}
	}
	return 0
}

// lower returns the name with its letters in lower case.
func lower(name []byte) []byte {
	out := make([]byte, len(name))
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		out[i] = c
	}
	return out
}

// text is a name in presentation format.
func text(name []byte) string {
	s, _, err := dns.UnpackDomainName(name, 0)
	if err != nil {
		return "?"
	}
	return s
}

// wireName is a name in canonical wire format; nil when it is none.
func wireName(s string) []byte {
	var b [256]byte
	n, err := dns.PackDomainName(dns.CanonicalName(s), b[:], 0, nil, false)
	if err != nil {
		return nil
	}
	return bytes.Clone(b[:n])
}
