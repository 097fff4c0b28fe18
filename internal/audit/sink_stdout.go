// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"io"
	"os"
)

// newStdoutSink writes to standard output, one write a line, so that lines of
// CoreDNS's own log stand between them and never within.
func newStdoutSink(name string, state func(error)) (Sink, error) {
	out, err := duplicate(os.Stdout)
	if err != nil {
		return nil, err
	}
	w := &lineWriter{out: out}
	s, err := newLineSink(name, w.write, out, state)
	if err != nil {
		_ = out.Close()
		return nil, err
	}
	return s, nil
}

// lineWriter keeps lines apart, whatever happened to the one before.
type lineWriter struct {
	out  io.Writer
	torn bool // the last line was written in part
}

func (w *lineWriter) write(line []byte) error {
	if w.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := w.out.Write(line)
	if err == nil && n < len(line) {
		err = io.ErrShortWrite
	}
	switch {
	case err == nil:
		w.torn = false
	case n > 0 && !(w.torn && n == 1):
		w.torn = true
	case n > 0: // the newline alone came through
		w.torn = false
	}
	return err
}
