// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
)

const (
	// MaxLine is the longest line in bytes, newline included. 4096 is PIPE_BUF on Linux,
	// so that a line also stays whole in a pipe, and container runtimes do not split it.
	MaxLine = 4096

	// MaxEvent is the longest event in bytes that [Chain.Seal] takes: what is left of a
	// line beside the largest seal.
	MaxEvent = MaxLine - sealSize
)

// The members of the seal, in their order. The event must not have any of them.
const (
	fieldSequence = "event.sequence"
	fieldUID      = "coredns.xfr.chain.uid"
	fieldPrev     = "coredns.xfr.chain.prev"
	fieldHash     = "coredns.xfr.chain.hash"
)

const (
	sequencePart = `,"` + fieldSequence + `":`
	uidPart      = `,"` + fieldUID + `":"`
	prevPart     = `","` + fieldPrev + `":"`
	hashPart     = `","` + fieldHash + `":"`
	endPart      = `"}`

	maxDigits = 20 // of a uint64
	uidSize   = 36 // of a UUID in text
	hexSize   = 2 * sha256.Size
	sealSize  = len(sequencePart) + maxDigits + len(uidPart) + uidSize + len(prevPart) + hexSize + len(hashPart) + hexSize +
		len(endPart) + len("\n") - len("}")
)

// Errors of [Chain.Seal], [File.Append] and [File.Post] about the event itself. Neither
// sequence nor chain has moved.
var (
	// ErrTooLong says that the event is longer than [MaxEvent] bytes.
	ErrTooLong = errors.New("event is too long for a line")
	// ErrNotEvent says that the event is not one JSON object on one line, or has a member
	// that belongs to the seal.
	ErrNotEvent = errors.New("event is not one JSON object on one line without a seal")
)

// Chain is the sequence and the hash chain of one sink. The package comment defines the
// seal.
//
// It is not safe for concurrent use: take the seal and write the line under one lock,
// so that the lines stand in the order of their sequence.
type Chain struct {
	uid  string
	seq  uint64
	head [sha256.Size]byte
}

// NewChain begins a chain with a new identifier (a UUID of version 7, which tells when
// the chain began).
func NewChain() (*Chain, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("begin a chain: %w", err)
	}
	return &Chain{uid: id.String()}, nil
}

// UID is the identifier of the chain, 36 characters.
func (c *Chain) UID() string { return c.uid }

// Sequence is the number of the last line; 0 before the first.
func (c *Chain) Sequence() uint64 { return c.seq }

// Head is the hash of the last line; zeros before the first.
func (c *Chain) Head() [sha256.Size]byte { return c.head }

// Seal returns the next line of the chain: the event, which is one JSON object, with
// the seal as its last members and a newline. On error ([ErrTooLong], [ErrNotEvent])
// the chain has not moved.
func (c *Chain) Seal(event []byte) ([]byte, error) {
	if err := checkEvent(event); err != nil {
		return nil, err
	}
	return c.appendSealed(make([]byte, 0, len(event)+sealSize), event), nil
}

// appendSealed appends the line of a checked event to dst.
func (c *Chain) appendSealed(dst, event []byte) []byte {
	start := len(dst)
	dst = append(dst, event[:len(event)-1]...)
	dst = append(dst, sequencePart...)
	dst = strconv.AppendUint(dst, c.seq+1, 10)
	dst = append(dst, uidPart...)
	dst = append(dst, c.uid...)
	dst = append(dst, prevPart...)
	dst = hex.AppendEncode(dst, c.head[:])
	dst = append(dst, '"')
	c.seq++
	c.head = sha256.Sum256(dst[start:])
	dst = append(dst, hashPart[1:]...)
	dst = hex.AppendEncode(dst, c.head[:])
	dst = append(dst, endPart...)
	return append(dst, '\n')
}

// checkEvent says whether the event can be sealed: whether it is one object on one
// line, to which members can be added without changing those that are there. That what
// is between its braces is JSON is the encoder's promise: to check it again took an
// eighth of a small transfer's time.
func checkEvent(event []byte) error {
	if len(event) > MaxEvent {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLong, len(event), MaxEvent)
	}
	if len(event) < 2 || event[0] != '{' || event[len(event)-1] != '}' || !utf8.Valid(event) {
		return ErrNotEvent
	}
	members := 0
	depth, quoted := 0, false
	for i := 0; i < len(event); i++ {
		c := event[i]
		if ordinary[c] {
			continue
		}
		switch {
		case c < ' ': // in a string it must be escaped, and there is no other use for it
			return ErrNotEvent
		case quoted:
			if c == '\\' {
				i++
			}
			quoted = c != '"'
		case c == '"':
			quoted = true
			members++
			if name := ownName(event[i:]); name != "" {
				return fmt.Errorf("%w: it has %q", ErrNotEvent, name)
			}
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 && i < len(event)-1 {
				return ErrNotEvent
			}
		}
	}
	if quoted || depth != 0 {
		return ErrNotEvent
	}
	if members == 0 {
		return fmt.Errorf("%w: it is empty", ErrNotEvent)
	}
	return nil
}

// ordinary are the bytes that mean nothing to the structure of JSON: nearly all of a
// line.
var ordinary = func() (set [256]bool) {
	for c := range set {
		set[c] = c >= ' ' && !strings.ContainsRune(`"\\{}[]`, rune(c))
	}
	return set
}()

// ownName is the name of the chain's own member that begins here, or "". Text of a
// client is no danger: inside a string a quote is escaped, so that no member begins
// there.
func ownName(b []byte) string {
	if len(b) < 2 || b[1] != 'e' && b[1] != 'c' {
		return ""
	}
	for _, name := range [...]string{fieldSequence, fieldUID, fieldPrev, fieldHash} {
		if rest, ok := bytes.CutPrefix(b[1:], []byte(name)); ok && bytes.HasPrefix(rest, []byte(`":`)) {
			return name
		}
	}
	return ""
}

// sealed is a line taken apart. Its fields are what the line claims; check compares
// them with its bytes.
type sealed struct {
	chain Chain             // the chain as it is after this line
	prev  [sha256.Size]byte // the hash of the line before
	body  []byte            // what is hashed
}

// parseLine takes a line, without its newline, apart from its end. It reports false for
// bytes that no chain can have written.
func parseLine(line []byte) (sealed, bool) {
	var s sealed
	rest, ok := bytes.CutSuffix(line, []byte(endPart))
	if !ok || len(line)+1 > MaxLine {
		return s, false
	}
	if rest, ok = cutHex(rest, &s.chain.head); !ok {
		return s, false
	}
	if rest, ok = bytes.CutSuffix(rest, []byte(hashPart)); !ok {
		return s, false
	}
	s.body = line[:len(rest)+1] // with the quote that ends prev
	if rest, ok = cutHex(rest, &s.prev); !ok {
		return s, false
	}
	if rest, ok = bytes.CutSuffix(rest, []byte(prevPart)); !ok || len(rest) < uidSize {
		return s, false
	}
	s.chain.uid = string(rest[len(rest)-uidSize:])
	if !isUID(s.chain.uid) {
		return s, false
	}
	if rest, ok = bytes.CutSuffix(rest[:len(rest)-uidSize], []byte(uidPart)); !ok {
		return s, false
	}
	at := bytes.LastIndexByte(rest, ':')
	if at < 0 || !bytes.HasSuffix(rest[:at+1], []byte(sequencePart)) {
		return s, false
	}
	digits := string(rest[at+1:])
	seq, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || seq == 0 || strconv.FormatUint(seq, 10) != digits {
		return s, false
	}
	s.chain.seq = seq
	return s, true
}

// intact reports whether the line's hash is that of its bytes and the whole is JSON.
func (s *sealed) intact(line []byte) bool {
	return sha256.Sum256(s.body) == s.chain.head && json.Valid(line)
}

func cutHex(b []byte, sum *[sha256.Size]byte) ([]byte, bool) {
	if len(b) < hexSize {
		return nil, false
	}
	text := b[len(b)-hexSize:]
	if bytes.ContainsAny(text, "ABCDEF") { // one spelling only
		return nil, false
	}
	_, err := hex.Decode(sum[:], text)
	return b[:len(b)-hexSize], err == nil
}

func isUID(s string) bool {
	return uuid.Validate(s) == nil && s == strings.ToLower(s)
}
