// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// VerifyOptions say what is known about a log besides its files. The zero value checks
// the chain alone.
type VerifyOptions struct {
	// Verifiers are the keys whose checkpoints count. With any, checkpoints that are
	// missing, late or signed by none of them are failures.
	Verifiers []note.Verifier
	// Checkpoints are logs that have checkpoints in them, printed by OnCheckpoint and kept
	// out of reach of those who can write the audit files. They prove that lines were cut
	// from the end.
	Checkpoints []io.Reader
	// Now is the time to measure the age of lines without a checkpoint against, default
	// the current one.
	Now time.Time
}

// slack is how much later than promised a checkpoint may be: a disk was slow, a machine
// slept.
const slack = time.Minute

// Verify reads the files of one log, in any order, and reports every place where they
// are not what was written.
//
// The error is about the checkpoints' readers alone; files that cannot be read are
// findings.
func Verify(sources []Source, opts VerifyOptions) (*Report, error) {
	v := &verifier{opts: opts, chains: map[string]*chainState{}, outside: map[string]map[uint64][sha256.Size]byte{}}
	if v.opts.Now.IsZero() {
		v.opts.Now = time.Now()
	}
	if len(opts.Verifiers) > 0 {
		v.keys = note.VerifierList(opts.Verifiers...)
	}
	for _, r := range opts.Checkpoints {
		if err := v.readCheckpoints(r); err != nil {
			return nil, fmt.Errorf("read checkpoints: %w", err)
		}
	}
	for _, s := range inOrder(sources) {
		v.file(&s)
	}
	v.finish()
	return &v.report, nil
}

type verifier struct {
	opts   VerifyOptions
	keys   note.Verifiers
	report Report
	chains map[string]*chainState
	cur    *chainState
	at     place
	// Unparsable lines, held back until the next good line tells what they were.
	pending []pendingLine
	skipped int    // more of them than are held
	home    string // the chain that the file begins with
	starts  bool   // at the first good line of a file
	signed  bool   // the file has a checkpoint
	unended int    // how often a chain went on that was not closed
	resumed place  // where it did so last

	// heads by chain and sequence, in checkpoints from elsewhere
	outside map[string]map[uint64][sha256.Size]byte
	kept    int
}

type place struct {
	file string
	line int
}

func (p place) String() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

type pendingLine struct {
	place
	raw rawLine
	sum [sha256.Size]byte
}

// recent is how many lines back a duplicate is known for sure.
const recent = 1024

// maxChains bounds the memory for a file that has another chain on every line.
const maxChains = 64

// chainState is what is known of one chain so far.
type chainState struct {
	uid           string
	first, last   uint64               // sequences that were given
	heads         [2][sha256.Size]byte // what the next line's prev may be; two if the last sequence is there twice
	place         place                // of the last line
	blamed        bool                 // the last line has a finding already
	closed        bool
	holes         []hole
	seen          [recent]seenLine
	outside       map[uint64][sha256.Size]byte // of this chain, see verifier
	every         uint64
	within        time.Duration
	unsigned      uint64    // lines since the last checkpoint
	unsignedSince time.Time // when the first of them was written
	unsignedFrom  place
	late          bool // that there are too many is reported
}

type seenLine struct {
	seq   uint64
	head  [sha256.Size]byte
	place place
}

// hole is a range of sequences that are missing so far.
type hole struct {
	from, to uint64
	finding  int // its index in the report, or -1
}

func (v *verifier) add(p Problem, at place, format string, args ...any) *Finding {
	return v.report.add(Finding{File: at.file, Line: at.line, Problem: p, Detail: fmt.Sprintf(format, args...)})
}

func (v *verifier) warn(p Problem, at place, format string, args ...any) {
	v.report.add(Finding{File: at.file, Line: at.line, Problem: p, Warning: true, Detail: fmt.Sprintf(format, args...)})
}

func (v *verifier) file(s *Source) {
	v.report.Files++
	v.at = place{file: s.Name}
	l, err := s.lines()
	if err != nil {
		v.add(ProblemUnreadable, v.at, "%v", err)
		return
	}
	defer l.close()
	v.starts, v.signed = true, false
	for {
		line, err := l.next()
		if errors.Is(err, io.EOF) {
			break
		}
		v.at.line++
		if err != nil {
			v.add(ProblemUnreadable, v.at, "what follows cannot be read: %v", err)
			break
		}
		v.report.Lines++
		v.line(line)
	}
	v.flush(nil, nil)
	if v.keys != nil && !v.signed && v.at.line > 0 {
		v.add(ProblemUnsigned, place{file: s.Name}, "the file has no checkpoint")
	}
}

func (v *verifier) line(raw rawLine) {
	s, ok := parseLine(raw.text)
	if !ok || !raw.ended || raw.tooLong {
		if len(v.pending) < maxFindings {
			v.pending = append(v.pending, pendingLine{v.at, rawLine{size: raw.size, ended: raw.ended, tooLong: raw.tooLong}, sha256.Sum256(raw.text)})
		} else {
			v.skipped++
		}
		return
	}
	actual := sha256.Sum256(s.body)
	changed := actual != s.chain.head || !s.intact(raw.text)
	var o own
	if !changed {
		// The time is needed of the first line after a checkpoint only.
		if bytes.Contains(raw.text, []byte(`"`+FieldKind+`":`)) || bytes.Contains(raw.text, []byte(`"`+FieldLost+`":`)) || v.keys != nil && (v.cur == nil || v.cur.unsigned == 0) {
			o = ownFields(raw.text)
		}
		v.flush(&s, &o)
	} else {
		v.flush(&s, nil)
	}
	v.enter(&s, &o)
	blamed := false
	if changed {
		v.add(ProblemChanged, v.at, "its hash is not that of its bytes (sequence %d)", s.chain.seq)
		blamed = true
	}
	inPlace := v.follow(&s, actual, blamed)
	v.starts = false
	if inPlace {
		v.countUnsigned(&o)
	}
	if changed {
		v.cur.closed = false
	} else {
		v.ownEvent(&s, &o)
	}
}

// flush classifies the unparsable lines held back, now that the next good line is
// known; nil at the end of a file.
func (v *verifier) flush(s *sealed, o *own) {
	pending := v.pending
	v.pending = nil
	if len(pending) == 0 {
		return
	}
	lastOne := pending[len(pending)-1]
	if o != nil && o.Kind == KindRepaired && o.Action == actionTerminated && v.skipped == 0 &&
		o.Bytes == int64(lastOne.raw.size-1) && o.BytesHash == hex.EncodeToString(lastOne.sum[:]) {
		pending = pending[:len(pending)-1] // the event tells of it
	}
	// As many of them as there are sequences missing were lines once.
	missing := uint64(0)
	if s != nil && v.cur != nil && v.cur.uid == s.chain.uid && s.chain.seq > v.cur.last {
		missing = s.chain.seq - v.cur.last - 1
	}
	for _, p := range pending {
		switch {
		case !p.raw.ended && p.raw.size > 0:
			v.add(ProblemTorn, p.place, "the file ends within a line (%d bytes)", p.raw.size)
		case p.raw.tooLong:
			v.add(ProblemTooLong, p.place, "it has %d bytes, at most %d can be", p.raw.size, MaxLine)
		case missing > 0 || s == nil || v.cur == nil:
			v.add(ProblemChanged, p.place, "it is not a line of an audit log any more")
		default:
			v.add(ProblemInserted, p.place, "it is not a line of an audit log, and none is missing here")
		}
		if missing > 0 {
			missing--
			v.cur.last++
			v.cur.place, v.cur.blamed = p.place, true
			v.cur.heads = [2][sha256.Size]byte{s.prev, s.prev}
		}
	}
	v.report.Omitted += v.skipped
	v.skipped = 0
}

// enter makes the line's chain the current one.
func (v *verifier) enter(s *sealed, o *own) {
	if v.starts {
		v.home = s.chain.uid
	}
	if v.cur != nil && v.cur.uid == s.chain.uid {
		return
	}
	before := v.cur
	known := v.chains[s.chain.uid]
	if known == nil {
		known = &chainState{uid: s.chain.uid, every: defaultEvery, within: defaultInterval, outside: v.outside[s.chain.uid]}
		if len(v.chains) < maxChains {
			v.chains[s.chain.uid] = known
		}
	}
	fresh := known.last == 0
	v.cur = known
	if fresh {
		v.report.Chains++
		known.first, known.last, known.heads = s.chain.seq, s.chain.seq-1, [2][sha256.Size]byte{s.prev, s.prev}
		known.blamed = true // whatever stood before was not given
		if s.chain.seq == 1 && s.prev != [sha256.Size]byte{} {
			v.add(ProblemChanged, v.at, "the first line of a chain follows from nothing, but it names a line before")
		}
		if s.chain.seq > 1 {
			v.notGiven(s, o, before)
		}
	}
	switch {
	case before == nil:
	case !v.starts && s.chain.uid == v.home:
		// Back from lines of another chain, which were named.
	case !v.starts:
		v.add(ProblemSpliced, v.at, "it belongs to chain %s, the line before to %s", s.chain.uid, before.uid)
	case fresh && s.chain.seq == 1 && before.closed:
		v.warn(ProblemRestarted, v.at, "a new chain begins here; the one before was closed in order (%s)", before.place)
	case fresh && s.chain.seq == 1:
		v.add(ProblemRestarted, v.at, "a new chain begins here, and the one before just ends (%s): lines may be missing between", before.place)
	default:
		v.add(ProblemSpliced, v.at, "the file goes on with another chain than the one before")
	}
}

// notGiven is about what stood before the first line that was given.
func (v *verifier) notGiven(s *sealed, o *own, before *chainState) {
	if o.Kind == KindRotated && o.Cause == causeDeleted {
		v.add(ProblemDestroyed, v.at, "the file before was deleted while it was written to: lines up to sequence %d are not given", s.chain.seq-1)
	} else if o.Kind == KindTruncated {
		v.add(ProblemDestroyed, v.at, "the file was cut: lines up to sequence %d are not given", s.chain.seq-1)
	}
	if before == nil {
		v.unknown("the files begin with sequence %d: lines 1 to %d were not given, and are not checked", s.chain.seq, s.chain.seq-1)
	}
}

func (v *verifier) unknown(format string, args ...any) {
	v.report.Unknown = append(v.report.Unknown, fmt.Sprintf(format, args...))
}
