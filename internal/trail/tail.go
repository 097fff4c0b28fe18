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
	"io"
)

// The tail is searched in growing pieces for the last whole line. One group is at most
// about 1.5 MiB, so that a crash can leave no more than that without a valid line
// behind it; a file with twice as much and more is not ours.
const (
	tailFirst = 64 << 10
	tailMost  = 4 << 20
)

// ErrNotTrail says that a file has content but no line of a chain at its end. It is
// left alone.
var ErrNotTrail = errors.New("the file is not an audit file")

// tail is the end of a file.
type tail struct {
	found   bool   // there is a valid line, and chain is how it stood after the last of them
	chain   Chain  //
	whole   int64  // where the last newline ends
	torn    []byte // what follows it
	unended bool   // the last line is valid and lacks only its newline; nothing is torn
}

// readTail reads the end of a file of the given size.
func readTail(f io.ReaderAt, size int64) (tail, error) {
	for n := int64(tailFirst); ; n *= 8 {
		n = min(n, size, tailMost)
		buf := make([]byte, n)
		if _, err := f.ReadAt(buf, size-n); err != nil && !errors.Is(err, io.EOF) {
			return tail{}, fmt.Errorf("read the end of the audit file: %w", err)
		}
		t, ok := scanTail(buf, n == size)
		t.whole += size - n
		switch {
		case ok && (t.found || n == size):
			return t, nil
		case n == size || n == tailMost:
			return tail{}, fmt.Errorf("%w: no valid line in its last %d bytes: move it away", ErrNotTrail, n)
		}
	}
}

// scanTail looks for the last valid line in the end of a file. It reports false when
// there is not even a newline and buf is not the whole file.
//
// Lines that end in a newline and are not valid were not torn by a crash: they
// were changed. They stay where they are, for [Verify] to name, and the chain goes on
// from the last valid line.
func scanTail(buf []byte, all bool) (tail, bool) {
	whole := bytes.LastIndexByte(buf, '\n') + 1
	t := tail{whole: int64(whole), torn: buf[whole:]}
	if whole == 0 && !all {
		return t, false
	}
	if s, ok := parseLine(t.torn); ok && s.intact(t.torn) {
		return tail{found: true, chain: s.chain, whole: int64(len(buf)), unended: true}, true
	}
	for end := whole; end > 0; {
		start := bytes.LastIndexByte(buf[:end-1], '\n') + 1
		if start == 0 && !all {
			break // it may begin before buf
		}
		line := buf[start : end-1]
		if s, ok := parseLine(line); ok && s.intact(line) {
			t.found, t.chain = true, s.chain
			break
		}
		end = start
	}
	return t, true
}

// tornEnd returns what follows the last newline.
func tornEnd(f io.ReaderAt, size int64) ([]byte, error) {
	if size == 0 {
		return nil, nil
	}
	n := min(size, tailMost)
	buf := make([]byte, n)
	if _, err := f.ReadAt(buf, size-n); err != nil {
		return nil, fmt.Errorf("read the end of the audit file: %w", err)
	}
	torn := buf[bytes.LastIndexByte(buf, '\n')+1:]
	if len(torn) == tailMost {
		return nil, fmt.Errorf("%w: no line ends in its last %d bytes: move it away", ErrNotTrail, n)
	}
	return torn, nil
}

// ours reports whether a file without any valid line can be what a crash left of the
// very first line, so that it may be written to. Everything else is refused: a mistyped
// path must not destroy another file.
func (t *tail) ours() bool {
	if t.whole != 0 {
		return false
	}
	return t.zeros() || (len(t.torn) < MaxLine && t.torn[0] == '{' && !json.Valid(t.torn))
}

// zeros reports whether the torn bytes are what some file systems leave of unwritten
// blocks after a power cut.
func (t *tail) zeros() bool { return len(bytes.Trim(t.torn, "\x00")) == 0 }

// notice tells of the torn bytes.
func (t *tail) notice(action string) notice {
	sum := sha256.Sum256(t.torn)
	return notice{KindRepaired, map[string]any{
		FieldAction: action, FieldBytes: len(t.torn), FieldBytesHash: hex.EncodeToString(sum[:]),
	}}
}
