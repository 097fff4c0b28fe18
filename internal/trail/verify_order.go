// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"crypto/sha256"
	"fmt"
)

// follow checks that a line stands where it was written, and reports whether the chain
// goes on from it.
func (v *verifier) follow(s *sealed, actual [sha256.Size]byte, blamed bool) bool {
	c := v.cur
	seq := s.chain.seq
	switch {
	case seq <= c.last:
		v.backwards(s, blamed)
		return false
	case seq > c.last+1:
		v.removed(s)
	case s.prev != c.heads[0] && s.prev != c.heads[1] && !c.blamed:
		v.add(ProblemChanged, c.place, "it, or more lines up to it, were changed and hashed anew: %s does not follow from it", v.at)
	}
	if want, ok := c.outside[seq]; ok {
		if want != s.chain.head && want != actual {
			v.add(ProblemCheckpoint, v.at, "the checkpoint kept elsewhere has another hash at sequence %d: the files were made anew", seq)
			blamed = true
		}
		delete(c.outside, seq)
	}
	c.last, c.place, c.blamed = seq, v.at, blamed
	c.heads = [2][sha256.Size]byte{s.chain.head, s.chain.head}
	c.seen[seq%recent] = seenLine{seq, s.chain.head, v.at}
	if v.report.First == 0 {
		v.report.First = seq
	}
	v.report.Last = seq
	v.report.Head = fmt.Sprintf("%x", s.chain.head)
	return true
}

// maxHoles bounds the memory for holes that may still turn out to be moved lines.
const maxHoles = 1024

func (v *verifier) removed(s *sealed) {
	c := v.cur
	h := hole{from: c.last + 1, to: s.chain.seq - 1, finding: -1}
	if v.add(ProblemRemoved, v.at, "%s missing before it: %s", count(h.to-h.from+1, "line is", "lines are"), h) != nil {
		h.finding = len(v.report.Findings) - 1
	}
	if len(c.holes) < maxHoles {
		c.holes = append(c.holes, h)
	}
}

// backwards names a line that comes after one of its own or a later sequence.
func (v *verifier) backwards(s *sealed, blamed bool) {
	c := v.cur
	seq := s.chain.seq
	for i := range c.holes {
		h := &c.holes[i]
		if seq < h.from || seq > h.to {
			continue
		}
		v.moved(i, seq)
		return
	}
	if blamed {
		return
	}
	first := c.seen[seq%recent]
	switch {
	case first.seq == seq && first.head == s.chain.head:
		v.add(ProblemDuplicated, v.at, "it stands at %s already (sequence %d)", first.place, seq)
	case first.seq == seq:
		v.add(ProblemInserted, first.place, "there are two lines with sequence %d, here and at %s: one was inserted", seq, v.at)
		if seq == c.last { // the next line tells which one: both are taken
			c.heads[1] = s.chain.head
		}
	default:
		v.add(ProblemDuplicated, v.at, "sequence %d was passed long ago: the line was copied or inserted here", seq)
	}
}

// moved turns the finding of a hole into one of a moved line, once a line that was
// missing shows up.
func (v *verifier) moved(i int, seq uint64) {
	h := v.cur.holes[i]
	if h.finding >= 0 {
		f := &v.report.Findings[h.finding]
		if f.Problem == ProblemRemoved {
			f.Problem = ProblemMoved
			f.Detail = fmt.Sprintf("sequence %d should stand before it, and stands at %s", seq, v.at)
		}
	}
	rest := append([]hole{}, v.cur.holes[:i]...)
	if seq > h.from {
		rest = append(rest, hole{h.from, seq - 1, h.finding})
	}
	if seq < h.to {
		rest = append(rest, hole{seq + 1, h.to, h.finding})
	}
	v.cur.holes = append(rest, v.cur.holes[i+1:]...)
}

// stillMissing says at the end what moved findings hide: lines that did not show up
// after all.
func (v *verifier) stillMissing(c *chainState) {
	for _, h := range c.holes {
		if h.finding >= 0 && v.report.Findings[h.finding].Problem == ProblemMoved {
			f := v.report.Findings[h.finding]
			v.add(ProblemRemoved, place{f.File, f.Line}, "%s missing before it: %s", count(h.to-h.from+1, "line is", "lines are"), h)
		}
	}
}

func (h hole) String() string {
	if h.from == h.to {
		return fmt.Sprintf("sequence %d", h.from)
	}
	return fmt.Sprintf("sequences %d to %d", h.from, h.to)
}

func count(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// ownEvent reads what the log tells of itself.
func (v *verifier) ownEvent(s *sealed, o *own) {
	wasClosed := v.cur.closed
	v.cur.closed = o.Kind == KindClosed || o.Kind == KindCheckpoint && wasClosed
	switch o.Kind {
	case "":
		v.ownersGap(o)
	case KindResumed:
		if !wasClosed && s.chain.seq > v.cur.first {
			v.unended++
			v.resumed = v.at
		}
		v.excuse(o, "when the log was taken up again")
	case KindGap:
		if o.Cause != causeBusy {
			v.excuse(o, "while the file was down")
		}
		detail := fmt.Sprintf("since %s: %s", o.Since, o.Error)
		switch {
		case o.Lost > o.Late:
			v.add(ProblemGap, v.at, "%s lost%s %s", count(o.Lost-o.Late, "event was", "events were"), o.stood(), detail)
		case o.Late > 0:
			v.warn(ProblemGap, v.at, "%s refused to its sender but is in the file, between sequences %d and %d, %s",
				count(o.Late, "line was", "lines were"), o.LateFirst, o.LateLast, detail)
		default:
			v.warn(ProblemGap, v.at, "the file failed and recovered, no event was lost, %s", detail)
		}
	case KindRepaired:
		v.warn(ProblemRepaired, v.at, "a torn line of %d bytes was %s (SHA-256 %s)", o.Bytes, o.Action, o.BytesHash)
	case KindTruncated:
		v.warn(ProblemTruncated, v.at, "the file was cut while it was written to (copytruncate): use rename")
	case KindForeign:
		v.add(ProblemForeign, v.at, "somebody else wrote into the file before this line")
	case KindClock:
		v.clockSet(o)
	case KindCheckpoint:
		v.checkpoint(s, o)
	}
}

// stood says what the lost events of a gap event stood for.
func (o *own) stood() string {
	if o.LostAllowed+o.LostDenials == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s, %s)", count(o.LostAllowed, "allow decision", "allow decisions"), count(o.LostDenials, "denial", "denials"))
}

// ownersGap is about events that the owner of the log could not hand over: earlier
// versions told so themselves when the queue of posted lines was full.
func (v *verifier) ownersGap(o *own) {
	switch {
	case o.Lost > o.Late:
		v.add(ProblemGap, v.at, "%s lost before the log had them (%d allow decisions, %s), since %s: %s",
			count(o.Lost-o.Late, "event was", "events were"), o.LostAllowed, count(o.LostDenials, "denial", "denials"), o.Since, o.Message)
	case o.Lost > 0:
		v.warn(ProblemGap, v.at, "%s late, since %s: %s", count(o.Late, "event was", "events were"), o.Since, o.Message)
	}
}
