// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
)

const (
	maxName      = 255 // octets of a name on the wire, RFC 1035 §2.3.4
	maxLabel     = 63
	maxLabels    = 127
	nameWireSize = maxName + 9 // room to read a label as 8-octet words
)

// ErrName says that a string is not a fully qualified domain name in presentation
// format that fits the wire (RFC 1035 §2.3.4, §5.1).
var ErrName = errors.New("not a valid fully qualified domain name")

// name is one domain name in wire format, cut into labels.
type name struct {
	wire   [nameWireSize]byte
	start  [maxLabels + 1]uint8 // offset of each label's length octet; the last one is the root's
	labels int                  // labels without the root
}

// bytes is the uncompressed wire form, valid until the next parse.
func (n *name) bytes() []byte { return n.wire[:int(n.start[n.labels])+1] }

// parse reads presentation format, escapes included. \DDD over 255 wraps around as
// it does in miekg/dns, so that a transfer holds what a query would be answered with.
func (n *name) parse(s string) error {
	n.labels = 0
	n.start[0] = 0
	if s == "." {
		n.wire[0] = 0
		return nil
	}
	begin, pos := 0, 1 // the label's length octet; where the next octet goes
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '.' {
			size := pos - begin - 1
			if size == 0 || size > maxLabel {
				return nameError(s, "a label is empty or longer than 63 octets")
			}
			n.wire[begin] = byte(size)
			n.start[n.labels] = uint8(begin)
			n.labels++
			begin, pos = pos, pos+1
			continue
		}
		if c == '\\' {
			var used int
			if c, used = unescape(s[i+1:]); used == 0 {
				return nameError(s, "it ends inside an escape")
			}
			i += used
		}
		if pos >= maxName-1 {
			return nameError(s, "it is longer than 255 octets")
		}
		n.wire[pos] = c
		pos++
	}
	if begin == 0 || pos != begin+1 {
		return nameError(s, "it does not end with a dot")
	}
	n.wire[begin] = 0
	n.start[n.labels] = uint8(begin)
	return nil
}

// unescape reads what follows a backslash: three digits or any one octet. It gives
// the octet and how much of s it took, 0 at the end of s.
func unescape(s string) (byte, int) {
	if len(s) == 0 {
		return 0, 0
	}
	if len(s) >= 3 && isDigit(s[0]) && isDigit(s[1]) && isDigit(s[2]) {
		return (s[0]-'0')*100 + (s[1]-'0')*10 + (s[2] - '0'), 3
	}
	return s[0], 1
}

func isDigit(c byte) bool { return c-'0' <= 9 }

func nameError(s, why string) error {
	if len(s) > 1024 {
		s = s[:1024] + "..."
	}
	return fmt.Errorf("%q: %w: %s", s, ErrName, why)
}

// AppendName appends the uncompressed wire form of a name in presentation format (RFC
// 1035 §3.1, §5.1; at most 255 octets), letter case kept. The error wraps [ErrName].
func AppendName(dst []byte, s string) ([]byte, error) {
	var n name
	if err := n.parse(s); err != nil {
		return dst, err
	}
	return append(dst, n.bytes()...), nil
}
