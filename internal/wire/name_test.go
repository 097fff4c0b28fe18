// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

// present writes one label of a name in presentation format in one of the ways that
// RFC 1035 §5.1 allows.
func present(label []byte, plainEscapes bool) string {
	var b strings.Builder
	for _, c := range label {
		switch {
		case c == '.' || c == '\\' || c == '"' || c == ';' || c == '@' || c == '(' || c == ')' || c == ' ':
			if plainEscapes {
				b.WriteByte('\\')
				b.WriteByte(c)
			} else {
				fmt.Fprintf(&b, "\\%03d", c)
			}
		case c < '!' || c > '~':
			fmt.Fprintf(&b, "\\%03d", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// labels is a name as the labels it was made of: the oracle for wire format.
type labels [][]byte

func (l labels) wire() []byte {
	var b []byte
	for _, label := range l {
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0)
}

func (l labels) String() string { return l.present(true) }

func (l labels) present(plainEscapes bool) string {
	if len(l) == 0 {
		return "."
	}
	var s string
	for _, label := range l {
		s += present(label, plainEscapes) + "."
	}
	return s
}

var genLabel = rapid.OneOf(
	rapid.SliceOfN(rapid.SampledFrom([]byte("abcABC*-_.\\\x00\xff 0129@")), 1, 6),
	rapid.SliceOfN(rapid.Byte(), 1, 63),
	rapid.Just([]byte("*")),
)

func genLabels(t *rapid.T) labels {
	l := labels(rapid.SliceOfN(genLabel, 0, 127).Draw(t, "labels"))
	for len(l.wire()) > 255 {
		l = l[1:]
	}
	return l
}

func TestAppendNameIsItsLabels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := genLabels(t)
		for _, plain := range []bool{true, false} {
			s := l.present(plain)
			got, err := AppendName([]byte("before"), s)
			if err != nil {
				t.Fatalf("%q: %v", s, err)
			}
			if want := append([]byte("before"), l.wire()...); !bytes.Equal(got, want) {
				t.Fatalf("%q:\n got %x\nwant %x", s, got, want)
			}
		}
	})
}

func TestAppendNameLimits(t *testing.T) {
	l63 := strings.Repeat("x", 63) + "."
	l61 := strings.Repeat("y", 61) + "."
	for _, tt := range []struct {
		name string
		in   string
		size int // 0: refused
	}{
		{"root", ".", 1},
		{"label of 63", l63, 65},
		{"255 octets", l63 + l63 + l63 + l61, 255},
		{"255 octets of 127 labels", strings.Repeat("a.", 127), 255},
		{"escapes count as one octet", strings.Repeat(`\255`, 63) + ".", 65},
		{"escaped backslash before the last dot", `a\\.`, 4},
		{"short escape", `\1a.`, 4},
		{"256 octets", l63 + l63 + l63 + "y" + l61, 0},
		{"257 octets of 128 labels", strings.Repeat("a.", 128), 0},
		{"label of 64", "x" + l63, 0},
		{"empty", "", 0},
		{"relative", "example", 0},
		{"relative with escaped dot at the end", `example\.`, 0},
		{"empty label", "a..b.", 0},
		{"leading dot", ".a.", 0},
		{"two dots", "..", 0},
		{"backslash at the end", `a.\`, 0},
		{"endless", strings.Repeat("a", 1<<16), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := AppendName(nil, tt.in)
			if tt.size == 0 {
				if !errors.Is(err, ErrName) || len(got) != 0 {
					t.Fatalf("got %x, %v; want ErrName", got, err)
				}
				if len(err.Error()) > 4200 {
					t.Errorf("error of %d octets", len(err.Error()))
				}
				return
			}
			if err != nil || len(got) != tt.size {
				t.Fatalf("got %d octets, %v; want %d", len(got), err, tt.size)
			}
		})
	}
}

// endsEscaped reports whether the last dot is escaped behind an octet that is not ASCII:
// miekg/dns 1.1.73 counts the backslashes before it from the rune's first octet, takes the
// name for a whole one, and packs it as the root. We refuse it.
func endsEscaped(s string) bool {
	name, ok := strings.CutSuffix(s, `\.`)
	return ok && name != "" && strings.TrimRight(name, `\`) != "" && strings.TrimRight(name, `\`)[len(strings.TrimRight(name, `\`))-1] >= 0x80
}

// FuzzAppendName compares with miekg/dns, which is laxer about the total length.
func FuzzAppendName(f *testing.F) {
	for _, s := range []string{".", "example.org.", `\000\255\.\\a.B.`, `\999.`, "a..", `a\`, `\1.`, strings.Repeat("a.", 128), "*.É."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := AppendName(nil, s)
		buf := make([]byte, 70000)
		n, theirs := dns.PackDomainName(s, buf, 0, nil, false)
		if err == nil {
			if theirs != nil || !bytes.Equal(got, buf[:n]) {
				t.Fatalf("%q: got %x; miekg/dns %x, %v", s, got, buf[:n], theirs)
			}
			return
		}
		if theirs == nil && s != "" && n <= maxName && !endsEscaped(s) {
			t.Fatalf("%q: %v; miekg/dns packs %x", s, err, buf[:n])
		}
	})
}

// TestCompressorKeepsNames packs names one after another and reads them back: the
// octets must be the same, case included, and no more than miekg/dns needs.
func TestCompressorKeepsNames(t *testing.T) {
	var c compressor
	rapid.Check(t, func(t *rapid.T) {
		pool := rapid.SliceOfN(genLabel, 1, 8).Draw(t, "pool")
		names := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) labels {
			l := labels(rapid.SliceOfN(rapid.SampledFrom(pool), 0, 6).Draw(t, "name"))
			for len(l.wire()) > maxName {
				l = l[1:]
			}
			return l
		}), 1, 60).Draw(t, "names")

		c.reset()
		msg := make([]byte, headerSize)
		theirs := make([]byte, 1<<17)
		theirEnd, theirMap := headerSize, map[string]int{}
		for _, l := range names {
			start := len(msg)
			var n name
			if err := n.parse(l.String()); err != nil {
				t.Fatal(err)
			}
			var at uint16
			msg, at = c.append(msg, &n)
			for _, off := range []int{start, int(at)} {
				if off == 0 {
					continue
				}
				if got := follow(t, msg, off); !bytes.Equal(got, l.wire()) {
					t.Fatalf("%s at %d:\n got %x\nwant %x", l, off, got, l.wire())
				}
			}
			theirEnd, _ = dns.PackDomainName(l.String(), theirs, theirEnd, theirMap, true)
		}
		if len(msg) > theirEnd {
			t.Fatalf("%d octets, miekg/dns needs %d", len(msg), theirEnd)
		}
	})
}

// follow reads a compressed name naively; pointers must lead back.
func follow(t interface{ Fatalf(string, ...any) }, msg []byte, off int) []byte {
	var b []byte
	for {
		c := msg[off]
		switch {
		case c == 0:
			return append(b, 0)
		case c&0xC0 == 0xC0:
			to := int(c&0x3F)<<8 | int(msg[off+1])
			if to >= off || to < headerSize {
				t.Fatalf("pointer at %d to %d", off, to)
			}
			off = to
		default:
			b = append(b, msg[off:off+1+int(c)]...)
			off += 1 + int(c)
		}
	}
}

// TestCompressorGenerationsWrap: names of a message long ago must not come back when
// the generation counter does.
func TestCompressorGenerationsWrap(t *testing.T) {
	var c compressor
	var n name
	if err := n.parse("host.example.org."); err != nil {
		t.Fatal(err)
	}
	for _, resets := range []int{1, 1<<16 - 1, 1 << 16} {
		c.reset()
		_, _ = c.append(make([]byte, headerSize), &n)
		for range resets {
			c.reset()
		}
		if msg, _ := c.append(make([]byte, headerSize), &n); len(msg) != headerSize+18 {
			t.Errorf("after %d resets the name is still known", resets)
		}
	}
}

// TestCompressorComparesParents: a label counts only under the same suffix, whatever
// the hash says.
func TestCompressorComparesParents(t *testing.T) {
	var c compressor
	c.reset()
	var n name
	if err := n.parse("host."); err != nil {
		t.Fatal(err)
	}
	msg, at := c.append(make([]byte, headerSize), &n)
	label := n.wire[:n.start[1]]
	entry, _, off := c.find(msg, 0, &n, 0, label)
	if at == 0 || off != at {
		t.Fatalf("at %d, found at %d", at, off)
	}
	entry.parent = 99
	if _, _, off := c.find(msg, 0, &n, 0, label); off != 0 {
		t.Error("found under another suffix")
	}
}

// TestCompressorBeyondPointers: names after the first 16 KiB are written right, and
// never pointed to.
func TestCompressorBeyondPointers(t *testing.T) {
	for start := pointerLimit - 20; start <= pointerLimit+2; start++ {
		var c compressor
		c.reset()
		msg := make([]byte, start)
		for _, l := range []labels{{[]byte("host"), []byte("example")}, {[]byte("host"), []byte("example")}, {[]byte("b"), []byte("host"), []byte("example")}} {
			var n name
			if err := n.parse(l.String()); err != nil {
				t.Fatal(err)
			}
			at := len(msg)
			var off uint16
			msg, off = c.append(msg, &n)
			if got := follow(t, msg, at); !bytes.Equal(got, l.wire()) || off >= pointerLimit {
				t.Fatalf("from %d: %s is %x", start, l, got)
			}
		}
	}
}

// TestCompressorOverfull packs more suffixes than there are entries; it may only
// compress worse.
func TestCompressorOverfull(t *testing.T) {
	var c compressor
	c.reset()
	msg := make([]byte, headerSize)
	var n name
	for i := range 6000 {
		want := labels{fmt.Appendf(nil, "%x", i)}
		if err := n.parse(want.String()); err != nil {
			t.Fatal(err)
		}
		at := len(msg)
		msg, _ = c.append(msg, &n)
		if got := follow(t, msg, at); !bytes.Equal(got, want.wire()) {
			t.Fatalf("name %d: %x", i, got)
		}
	}
	if c.used > tableLimit {
		t.Fatalf("%d of %d entries in use", c.used, tableLimit)
	}
}
