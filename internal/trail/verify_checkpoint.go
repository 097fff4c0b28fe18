// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// countUnsigned counts the lines that no checkpoint covers yet.
func (v *verifier) countUnsigned(o *own) {
	c := v.cur
	if v.keys == nil || o.Kind == KindCheckpoint {
		return
	}
	c.unsigned++
	if c.unsigned == 1 {
		c.unsignedSince, c.unsignedFrom = o.Time, v.at
	}
	if c.unsigned > c.every && !c.late {
		c.late = true
		v.add(ProblemUnsigned, v.at, "no checkpoint in the %d lines from %s on: one is due", c.every, c.unsignedFrom)
	}
}

// checkpoint checks the note in a line against the chain, and its signature when there
// are keys.
func (v *verifier) checkpoint(s *sealed, o *own) {
	c := v.cur
	cp, err := v.openNote(o.Checkpoint)
	switch {
	case err != nil:
		v.add(ProblemCheckpoint, v.at, "%v", err)
		return
	case cp.UID != s.chain.uid || cp.Sequence != s.chain.seq-1 || cp.Head != s.prev:
		v.add(ProblemCheckpoint, v.at, "it was made for another place: sequence %d of chain %s", cp.Sequence, cp.UID)
		return
	}
	v.report.Checkpoints++
	v.signed = true
	if v.keys != nil && c.unsigned > 0 && !c.late && !c.unsignedSince.IsZero() && cp.Time.Sub(c.unsignedSince) > c.within+slack {
		v.add(ProblemUnsigned, v.at, "the checkpoint is late: %s was written %s before it", c.unsignedFrom, cp.Time.Sub(c.unsignedSince).Round(time.Second))
	}
	c.every, c.within = cp.Every, cp.Interval
	c.unsigned, c.late = 0, false
}

// excuse says that the lines before this one stand without a checkpoint because the
// process died or the file failed: the next checkpoint is not late, it covers them as
// they were found.
func (v *verifier) excuse(o *own, when string) {
	c := v.cur
	if v.keys == nil || c.unsigned < 2 {
		return
	}
	v.unknown("the %s before %s had no checkpoint %s: whoever could write to the file then could have changed them",
		count(c.unsigned-1, "line", "lines"), v.at, when)
	c.unsignedSince, c.unsignedFrom = o.Time, v.at
}

var errNote = errors.New("it has no signed note")

// openNote returns the checkpoint in a note. Without keys it is taken as it is.
func (v *verifier) openNote(text string) (Checkpoint, error) {
	if v.keys == nil {
		body, _, ok := strings.Cut(text, "\n\n")
		if !ok {
			return Checkpoint{}, errNote
		}
		return parseCheckpoint(body + "\n")
	}
	n, err := note.Open([]byte(text), v.keys)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("signature: %w", err)
	}
	return parseCheckpoint(n.Text)
}

// maxOutside bounds the memory for checkpoints from elsewhere.
const maxOutside = 1 << 20

var errTooMany = fmt.Errorf("more than %d checkpoints: give a part of the log", maxOutside)

// readCheckpoints finds the notes in a log. It is read in pieces that overlap, so that
// a note can lie across two.
func (v *verifier) readCheckpoints(r io.Reader) error {
	var buf []byte
	chunk := make([]byte, 64<<10)
	for {
		n, err := r.Read(chunk)
		buf = append(buf, chunk[:n]...)
		notes, end := findNotes(buf)
		for _, text := range notes {
			if err := v.keep(text); err != nil {
				return err
			}
		}
		buf = buf[max(end, len(buf)-noteMost):]
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// keep remembers one checkpoint from elsewhere.
func (v *verifier) keep(text string) error {
	at := place{file: "checkpoint"}
	cp, err := v.openNote(text)
	var unknown *note.UnverifiedNoteError
	if errors.As(err, &unknown) {
		v.warn(ProblemCheckpoint, at, "one that none of the keys signed is left out")
		return nil
	}
	if err != nil {
		v.add(ProblemCheckpoint, at, "one cannot be taken: %v", err)
		return nil
	}
	heads := v.outside[cp.UID]
	if heads == nil {
		heads = map[uint64][sha256.Size]byte{}
		v.outside[cp.UID] = heads
	}
	if head, ok := heads[cp.Sequence]; ok && head != cp.Head {
		v.add(ProblemCheckpoint, at, "there are two for sequence %d of chain %s, and they differ", cp.Sequence, cp.UID)
	}
	heads[cp.Sequence] = cp.Head
	v.kept++
	if v.kept > maxOutside {
		return errTooMany
	}
	return nil
}

// finish is what can be said only after the last line.
func (v *verifier) finish() {
	for _, uid := range slices.Sorted(maps.Keys(v.chains)) {
		c := v.chains[uid]
		v.stillMissing(c)
		v.cut(c)
		if v.keys != nil && c.unsigned > 0 {
			v.unsignedTail(c)
		}
	}
	for _, uid := range slices.Sorted(maps.Keys(v.outside)) {
		if v.chains[uid] == nil {
			v.add(ProblemRemoved, place{file: "checkpoint"}, "there are checkpoints of chain %s, and no file has a line of it", uid)
		}
	}
	if v.report.Lines == 0 {
		v.add(ProblemUnreadable, place{file: "log"}, "there is no line in the files")
	}
	if v.unended > 0 {
		v.unknown("%s the log was taken up again though it had not been closed, the last time at %s: what waited to be written then is not in it",
			count(uint64(v.unended), "time", "times"), v.resumed)
	}
	if v.keys == nil {
		v.unknown("without a key: whoever can write the files can make all of them anew, and this check would pass")
	}
	if v.kept == 0 {
		v.unknown("without checkpoints kept elsewhere: lines cut from the end%s cannot be noticed",
			map[bool]string{true: " after the last checkpoint in the files, or before it together with it,", false: ""}[v.keys != nil])
	} else if v.keys == nil {
		v.unknown("without a key the checkpoints kept elsewhere are taken on trust")
	}
}

// cut compares the end of a chain with the checkpoints from elsewhere.
func (v *verifier) cut(c *chainState) {
	var latest uint64
	for seq := range c.outside {
		latest = max(latest, seq)
	}
	if latest > c.last {
		v.add(ProblemRemoved, c.place, "the end was cut: it is sequence %d, and a checkpoint kept elsewhere stands at sequence %d",
			c.last, latest)
	}
}

func (v *verifier) unsignedTail(c *chainState) {
	if age := v.opts.Now.Sub(c.unsignedSince); !c.unsignedSince.IsZero() && age > c.within+slack && !c.late {
		v.add(ProblemUnsigned, c.unsignedFrom, "no checkpoint covers the last %s from here on, %s old", count(c.unsigned, "line", "lines"), age.Round(time.Second))
		return
	}
	v.unknown("the last %s of chain %s have no checkpoint yet", count(c.unsigned, "line", "lines"), c.uid)
}
