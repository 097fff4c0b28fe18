// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Source is one file of a log, plain or gzipped. It is opened twice: first for a look
// at its first lines.
type Source struct {
	Name string
	Open func() (io.ReadCloser, error)
}

// FileSource is the file at path.
func FileSource(path string) Source {
	return Source{Name: path, Open: func() (io.ReadCloser, error) {
		st, err := os.Stat(path)
		if err == nil && !st.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is not a regular file", path)
		}
		return os.Open(path)
	}}
}

// lines reads a source line by line, with bounded memory.
type lines struct {
	closer io.Closer
	buf    *bufio.Reader
}

func (s *Source) lines() (*lines, error) {
	f, err := s.Open()
	if err != nil {
		return nil, err
	}
	buf := bufio.NewReaderSize(f, 64<<10)
	if magic, _ := buf.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(buf)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("gunzip: %w", err)
		}
		buf = bufio.NewReaderSize(z, 64<<10)
	}
	return &lines{closer: f, buf: buf}, nil
}

func (l *lines) close() { l.closer.Close() }

// rawLine is a line as it stands in a file. Of one that is too long only the beginning
// is kept.
type rawLine struct {
	text    []byte // without the newline; valid until the next call
	size    int    // with the newline
	ended   bool   // by a newline
	tooLong bool
}

// next returns io.EOF after the last line.
func (l *lines) next() (rawLine, error) {
	text, err := l.buf.ReadSlice('\n')
	switch {
	case err == nil:
		return rawLine{text: text[:len(text)-1], size: len(text), ended: true, tooLong: len(text) > MaxLine}, nil
	case errors.Is(err, io.EOF) && len(text) > 0:
		return rawLine{text: text, size: len(text), tooLong: len(text) > MaxLine}, nil
	case !errors.Is(err, bufio.ErrBufferFull):
		return rawLine{}, err
	}
	line := rawLine{text: bytes.Clone(text[:MaxLine]), size: len(text), tooLong: true}
	for errors.Is(err, bufio.ErrBufferFull) {
		text, err = l.buf.ReadSlice('\n')
		line.size += len(text)
	}
	line.ended = err == nil
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return line, err
}

// peekLines is how many lines of a file are looked at to find its place in the order.
const peekLines = 16

// inOrder sorts the sources by their first valid line, oldest first, so that
// "audit.log*" is as good as the right order. Chains are ordered by their UID, which
// begins with a time. This decides nothing: what stands where, the chain says. Files
// without a valid line keep their place behind the one they were given after.
func inOrder(sources []Source) []Source {
	type placed struct {
		Source
		first Chain
	}
	all := make([]placed, 0, len(sources))
	for _, s := range sources {
		p := placed{Source: s}
		if len(all) > 0 {
			p.first = all[len(all)-1].first
		}
		if c, ok := firstOf(&s); ok {
			p.first = c
		}
		all = append(all, p)
	}
	slices.SortStableFunc(all, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.first.uid, b.first.uid), cmp.Compare(a.first.seq, b.first.seq))
	})
	sorted := make([]Source, len(all))
	for i := range all {
		sorted[i] = all[i].Source
	}
	return sorted
}

func firstOf(s *Source) (Chain, bool) {
	l, err := s.lines()
	if err != nil {
		return Chain{}, false
	}
	defer l.close()
	for range peekLines {
		line, err := l.next()
		if err != nil {
			break
		}
		if p, ok := parseLine(line.text); ok && p.intact(line.text) {
			return p.chain, true
		}
	}
	return Chain{}, false
}
