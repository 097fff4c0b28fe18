// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"strconv"
	"unicode/utf8"
)

// object builds one flat JSON object.
type object struct {
	buf       []byte
	shift     uint // how often the caps are halved
	truncated bool
}

func (o *object) key(k string) {
	if len(o.buf) > 1 {
		o.buf = append(o.buf, ',')
	}
	o.buf = append(o.buf, '"')
	o.buf = append(o.buf, k...)
	o.buf = append(o.buf, '"', ':')
}

// word writes a short string of our own, which is never shortened further.
func (o *object) word(k, v string) {
	if v != "" {
		o.key(k)
		o.quote(v, capWord)
	}
}

func (o *object) str(k, v string, limit int) {
	if v != "" {
		o.key(k)
		o.quote(v, limit>>o.shift)
	}
}

func (o *object) num(k string, v int64) {
	if v != 0 {
		o.always(k, v)
	}
}

func (o *object) always(k string, v int64) {
	o.key(k)
	o.buf = strconv.AppendInt(o.buf, v, 10)
}

func (o *object) flag(k string, v bool) {
	o.key(k)
	o.buf = strconv.AppendBool(o.buf, v)
}

// list writes the elements that fit the limit, whole ones only: half an address
// would be another address.
func (o *object) list(k string, vs []string, limit int) {
	if len(vs) == 0 {
		return
	}
	o.key(k)
	o.buf = append(o.buf, '[')
	limit >>= o.shift
	start := len(o.buf)
	for i, v := range vs {
		before, cut := len(o.buf), o.truncated
		if i > 0 {
			o.buf = append(o.buf, ',')
		}
		o.truncated = false
		o.quote(v, limit)
		if o.truncated || len(o.buf)-start > limit {
			o.buf, o.truncated = o.buf[:before], true
			break
		}
		o.truncated = cut
	}
	o.buf = append(o.buf, ']')
}

func (o *object) raw(fields []byte) { o.buf = append(o.buf, fields...) }

const hexDigits = "0123456789abcdef"

// quote writes v as a JSON string (RFC 8259 §7), at most limit bytes between the
// quotes, and marks the event when that cuts something off. What is not UTF-8
// becomes U+FFFD.
func (o *object) quote(v string, limit int) {
	o.buf = append(o.buf, '"')
	end := len(o.buf) + limit
	for i := 0; i < len(v); {
		if n := plain(v[i:]); n > 0 {
			if n > end-len(o.buf) {
				o.buf, o.truncated = append(o.buf, v[i:i+end-len(o.buf)]...), true
				break
			}
			o.buf = append(o.buf, v[i:i+n]...)
			i += n
			continue
		}
		before := len(o.buf)
		r, size := utf8.DecodeRuneInString(v[i:])
		switch {
		case r == '"' || r == '\\':
			o.buf = append(o.buf, '\\', byte(r))
		case r < 0x20 || r >= 0x7f && r < 0xa0: // C0, DEL and C1: some terminals obey all of them
			o.buf = append(o.buf, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
		case r >= '\u2028' && r <= '\u202e', r >= '\u2066' && r <= '\u2069': // line ends to JavaScript; changes of direction
			o.buf = append(o.buf, `\u20`...)
			o.buf = append(o.buf, hexDigits[r>>4&15], hexDigits[r&15])
		default:
			o.buf = utf8.AppendRune(o.buf, r)
		}
		if len(o.buf) > end {
			o.buf, o.truncated = o.buf[:before], true
			break
		}
		i += size
	}
	o.buf = append(o.buf, '"')
}

// plain returns how many bytes at the beginning stand for themselves in a JSON string.
func plain(v string) int {
	for i := range len(v) {
		if c := v[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return i
		}
	}
	return len(v)
}
