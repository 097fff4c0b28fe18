// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"encoding/json"
	"maps"
	"time"
)

// Kind says what an event of the trail itself is about. The fields that come with each
// are named at the constants.
type Kind string

// The events that the trail writes about itself, besides what it is given.
const (
	// KindOpened is the first line of a new chain in a new or empty file.
	KindOpened Kind = "opened"
	// KindResumed is written when a file with lines is opened: the chain goes on.
	KindResumed Kind = "resumed"
	// KindClosed is the last line when the last user closes the file in good order; at
	// most a checkpoint follows.
	KindClosed Kind = "closed"
	// KindRotated is the first line in a new file after the old one was renamed or
	// deleted: [FieldCause], [FieldRewritten].
	KindRotated Kind = "rotated"
	// KindRepaired tells of bytes at the end of the file that were no whole line:
	// [FieldAction], [FieldBytes], [FieldBytesHash].
	KindRepaired Kind = "repaired"
	// KindTruncated is written when the file has become shorter under the writer
	// (copytruncate): [FieldSizeBefore], [FieldSizeNow], [FieldRewritten].
	KindTruncated Kind = "truncated"
	// KindForeign is written when another program has written into the file:
	// [FieldSizeBefore], [FieldSizeNow], [FieldRewritten].
	KindForeign Kind = "foreign"
	// KindGap is the first line after the file was down, and tells of events that did not
	// reach it or not in time: [FieldLost], [FieldLate], [FieldLateFirst],
	// [FieldLateLast], [FieldSince], [FieldError], what the lost events stood for (see
	// [Options]), and [FieldCause] when the file worked all the while.
	KindGap Kind = "gap"
	// KindCheckpoint carries a signed note over the line before it: [FieldCheckpoint].
	KindCheckpoint Kind = "checkpoint"
	// KindClock stands before the first line that was written after the machine's clock
	// was set: [FieldCause], [FieldClockStep].
	KindClock Kind = "clock"
)

// The members of the trail's own events. [Verify] reads them, so a composer must keep
// them as they are.
const (
	// FieldKind is the [Kind]; every event of the trail has it.
	FieldKind = "coredns.xfr.audit.kind"
	// FieldCause is why the file was left: "renamed", "deleted", or "unknown" when the
	// file was down at that time; of a clock that was set, "forward" or "back"; of a gap
	// "busy" when the file worked, but had no room for all events.
	FieldCause = "coredns.xfr.audit.cause"
	// FieldRewritten is how many events follow that were written once before, into a file
	// that is gone or was disturbed.
	FieldRewritten = "coredns.xfr.audit.rewritten"
	// FieldAction is what was done with a torn tail: "removed", or "terminated" with a
	// newline where it could not be.
	FieldAction = "coredns.xfr.audit.action"
	// FieldBytes is the length of the torn tail in bytes.
	FieldBytes = "coredns.xfr.audit.bytes"
	// FieldBytesHash is SHA-256 over the torn tail, in hexadecimal.
	FieldBytesHash = "coredns.xfr.audit.bytes_hash"
	// FieldSizeBefore and FieldSizeNow are the size of the file in bytes as it should be
	// and as it was found.
	FieldSizeBefore = "coredns.xfr.audit.size_before"
	// FieldSizeNow is explained at [FieldSizeBefore].
	FieldSizeNow = "coredns.xfr.audit.size_now"
	// FieldLost is the number of events whose senders were told that they are not in the
	// file. Those of [FieldLate] are there after all: lost less late is what is really
	// missing.
	FieldLost = "coredns.xfr.audit.lost"
	// FieldLate is the number of lines that are in the file although their senders were
	// told that they failed; they lie between the sequences FieldLateFirst and
	// FieldLateLast.
	FieldLate = "coredns.xfr.audit.late"
	// FieldLateFirst is explained at [FieldLate].
	FieldLateFirst = "coredns.xfr.audit.late_first"
	// FieldLateLast is explained at [FieldLate].
	FieldLateLast = "coredns.xfr.audit.late_last"
	// FieldSince is the time of the first loss or failure, RFC 3339 with nanoseconds, UTC.
	FieldSince = "coredns.xfr.audit.since"
	// FieldError is the last error, at most 200 bytes.
	FieldError = "coredns.xfr.audit.error"
	// FieldCheckpoint is the signed note, see [Checkpoint].
	FieldCheckpoint = "coredns.xfr.audit.checkpoint"
	// FieldClockStep is how far the clock was set, in nanoseconds; negative when back.
	FieldClockStep = "coredns.xfr.clock.step"
)

// What the owner's events may stand for (see [Options]); [Verify] reads it.
//
// A log of an earlier version may hold gap events of its owner, with the same members,
// [FieldLost], [FieldLate] and [FieldSince], but no [FieldKind]: they tell of posts that
// were refused.
const (
	// FieldLostAllowed is how many of the lost events were allow decisions.
	FieldLostAllowed = "coredns.xfr.audit.lost_allowed"
	// FieldLostDenials is how many denials the lost events stood for.
	FieldLostDenials = "coredns.xfr.audit.lost_denials"
)

// The values of [FieldCause] and [FieldAction].
const (
	causeRenamed     = "renamed"
	causeDeleted     = "deleted"
	causeUnknown     = "unknown"
	causeForward     = "forward"
	causeBack        = "back"
	causeBusy        = "busy"
	actionRemoved    = "removed"
	actionTerminated = "terminated"
)

// maxErrorText keeps the trail's own events far below [MaxEvent], however long a path
// in an error is.
const maxErrorText = 200

// composeDefault makes an event of nothing but the time and the fields.
func composeDefault(kind Kind, fields map[string]any) []byte {
	event := maps.Clone(fields)
	event["@timestamp"] = time.Now().UTC().Format(time.RFC3339Nano)
	event["event.action"] = "audit-" + string(kind)
	text, err := json.Marshal(event)
	if err != nil { // the fields are strings and numbers: this cannot be
		return []byte(`{"` + FieldKind + `":"` + string(kind) + `"}`)
	}
	return text
}

// composeEvent asks the owner's composer. An event that cannot be sealed, or that lost
// its kind, is replaced by the plain one: a mistake of the owner must not keep
// what the trail has to say about itself out of the file.
func composeEvent(compose func(Kind, map[string]any) []byte, kind Kind, fields map[string]any) []byte {
	all := map[string]any{FieldKind: string(kind)}
	maps.Copy(all, fields)
	if compose != nil {
		event := compose(kind, maps.Clone(all))
		if checkEvent(event) == nil && ownFields(event).Kind == kind {
			return event
		}
	}
	return composeDefault(kind, all)
}

// own is what [Verify] reads of an event.
type own struct {
	Time       time.Time `json:"@timestamp"`
	Kind       Kind      `json:"coredns.xfr.audit.kind"`
	Cause      string    `json:"coredns.xfr.audit.cause"`
	Action     string    `json:"coredns.xfr.audit.action"`
	Bytes      int64     `json:"coredns.xfr.audit.bytes"`
	BytesHash  string    `json:"coredns.xfr.audit.bytes_hash"`
	Lost       uint64    `json:"coredns.xfr.audit.lost"`
	Late       uint64    `json:"coredns.xfr.audit.late"`
	LateFirst  uint64    `json:"coredns.xfr.audit.late_first"`
	LateLast   uint64    `json:"coredns.xfr.audit.late_last"`
	Since      string    `json:"coredns.xfr.audit.since"`
	Error      string    `json:"coredns.xfr.audit.error"`
	Message    string    `json:"error.message"`
	Checkpoint string    `json:"coredns.xfr.audit.checkpoint"`
	ClockStep  int64     `json:"coredns.xfr.clock.step"`

	LostAllowed uint64 `json:"coredns.xfr.audit.lost_allowed"`
	LostDenials uint64 `json:"coredns.xfr.audit.lost_denials"`
}

// ownFields reads the trail's members of an event or a line; of other events there are
// none.
func ownFields(event []byte) own {
	var o own
	if err := json.Unmarshal(event, &o); err != nil {
		return own{Time: o.Time, Kind: o.Kind} // what could be read
	}
	return o
}

func shortText(s string) string {
	if len(s) <= maxErrorText {
		return s
	}
	return s[:maxErrorText-1] + "~"
}
