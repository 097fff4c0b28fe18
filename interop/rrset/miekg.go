// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package rrset

import (
	"bytes"
	"fmt"
	"regexp"
)

// What other programs rightly print and the parser of miekg/dns v1 does not take.
var (
	// X25 and GPOS hold character-strings (RFC 1183 §3.1, RFC 1712 §3), which may be
	// quoted; the parser wants them bare.
	quotedTypes = regexp.MustCompile(`(?m)^\S+\s+\d+\s+IN\s+(?:X25|GPOS)\s.*$`)

	// NID and L64 are four groups of hexadecimal digits as in an IPv6 address, leading
	// zeros optional (RFC 6742 §2.1.2, §2.3.2); the parser wants all sixteen digits.
	groupedTypes = regexp.MustCompile(`(?m)^(\S+\s+\d+\s+IN\s+(?:NID|L64)\s+\d+\s+)([0-9A-Fa-f]+):([0-9A-Fa-f]+):([0-9A-Fa-f]+):([0-9A-Fa-f]+)$`)
)

// forMiekg rewrites such records of a zone file with one record a line.
func forMiekg(text []byte) []byte {
	text = quotedTypes.ReplaceAllFunc(text, func(line []byte) []byte {
		return bytes.ReplaceAll(line, []byte{'"'}, nil)
	})
	return groupedTypes.ReplaceAllFunc(text, func(line []byte) []byte {
		m := groupedTypes.FindSubmatch(line)
		return fmt.Appendf(nil, "%s%04s:%04s:%04s:%04s", m[1], m[2], m[3], m[4], m[5])
	})
}
