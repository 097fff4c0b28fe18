// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Checkpoint is what a signed note says: at that time the chain stood at that sequence
// with that head, and the next checkpoint was to follow after Every lines or Interval
// at the latest.
//
// The note (https://c2sp.org/signed-note) has the form of a transparency log's
// checkpoint, but its hash is the head of a chain and no tree's root. Its text has six
// lines: the origin, which is "xfrguard audit log" and the chain's UID; the sequence;
// the head in base64; the time in RFC 3339; Every; Interval.
type Checkpoint struct {
	UID      string
	Sequence uint64
	Head     [sha256.Size]byte
	Time     time.Time
	Every    uint64        // lines
	Interval time.Duration // whole nanoseconds
}

const checkpointOrigin = "xfrguard audit log "

func (c *Checkpoint) text() string {
	return fmt.Sprintf("%s%s\n%d\n%s\n%s\nevery %d\ninterval %s\n", checkpointOrigin, c.UID, c.Sequence,
		base64.StdEncoding.EncodeToString(c.Head[:]), c.Time.UTC().Format(time.RFC3339Nano), c.Every, c.Interval)
}

// parseCheckpoint reads the text of a note. Only what text writes is taken, so that
// there is one spelling of each.
func parseCheckpoint(text string) (Checkpoint, error) {
	var c Checkpoint
	f := strings.Split(text, "\n")
	if len(f) != 7 {
		return c, errCheckpoint
	}
	var ok [3]bool
	c.UID, ok[0] = strings.CutPrefix(f[0], checkpointOrigin)
	every, ok1 := strings.CutPrefix(f[4], "every ")
	interval, ok2 := strings.CutPrefix(f[5], "interval ")
	ok[1], ok[2] = ok1, ok2
	if ok != [3]bool{true, true, true} || !isUID(c.UID) {
		return c, errCheckpoint
	}
	var errs [5]error
	var head []byte
	c.Sequence, errs[0] = strconv.ParseUint(f[1], 10, 64)
	head, errs[1] = base64.StdEncoding.DecodeString(f[2])
	c.Time, errs[2] = time.Parse(time.RFC3339Nano, f[3])
	c.Every, errs[3] = strconv.ParseUint(every, 10, 64)
	c.Interval, errs[4] = time.ParseDuration(interval)
	copy(c.Head[:], head)
	if errs != [5]error{} || c.text() != text {
		return c, errCheckpoint
	}
	return c, nil
}

var errCheckpoint = fmt.Errorf("not a checkpoint of an audit log")

// checkpoint signs the chain as it stands, and adds that to buf.
func (w *writer) checkpoint() {
	o := &w.opts
	if o.Key == nil {
		return
	}
	c := Checkpoint{
		UID: w.now.chain.uid, Sequence: w.now.chain.seq, Head: w.now.chain.head, Time: time.Now(),
		Every: uint64(o.CheckpointEvery), Interval: o.CheckpointInterval,
	}
	signed, err := note.Sign(&note.Note{Text: c.text()}, o.Key)
	if err != nil {
		return // tried again with the next line; until it works, Verify misses a checkpoint
	}
	event := composeEvent(o.Compose, KindCheckpoint, map[string]any{FieldCheckpoint: string(signed)})
	w.buf = w.now.chain.appendSealed(w.buf, event)
	w.now.unsigned = 0
	w.notes = append(w.notes, string(signed))
}

// Notes in a program's log: as they are, or quoted once or more often (%q, JSON, JSON
// in JSON).
const (
	noteBreak = `(?:\n|\\+n)`
	noteMost  = 1024 // bytes; a note has about 330
)

var notePattern = regexp.MustCompile(`(xfrguard audit log [0-9a-f-]{36})` + noteBreak + `([0-9]{1,20})` + noteBreak +
	`([A-Za-z0-9+/]{43}=)` + noteBreak + `([0-9TZ:.-]{20,35})` + noteBreak + `(every [0-9]{1,20})` + noteBreak +
	`(interval [0-9a-zµ.]{1,40})` + noteBreak + noteBreak + `(?:—|\\+u2014) ([^\s\\+]{1,200}) ([A-Za-z0-9+/]{80,200}={0,2})`)

// findNotes returns the notes in a piece of a log, in their proper form, and where the
// last one ends.
func findNotes(log []byte) (notes []string, end int) {
	for _, m := range notePattern.FindAllSubmatchIndex(log, -1) {
		part := func(i int) string { return string(log[m[2*i]:m[2*i+1]]) }
		notes = append(notes, fmt.Sprintf("%s\n%s\n%s\n%s\n%s\n%s\n\n— %s %s\n",
			part(1), part(2), part(3), part(4), part(5), part(6), part(7), part(8)))
		end = m[1]
	}
	return notes, end
}
