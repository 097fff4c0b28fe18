// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import "fmt"

// Problem is what a [Finding] is about.
type Problem string

// What [Verify] can find. All but repaired, late, rotated and restarted-in-order make a
// log fail.
const (
	// ProblemChanged is a line whose bytes are not those that were hashed, or that the
	// next line does not follow from.
	ProblemChanged Problem = "changed"
	// ProblemRemoved is a place where lines are missing: before the line named, or at the
	// end.
	ProblemRemoved Problem = "removed"
	// ProblemMoved is a line that stands in another place than it was written to.
	ProblemMoved Problem = "moved"
	// ProblemInserted is a line that does not belong to the chain, or a second one of its
	// sequence.
	ProblemInserted Problem = "inserted"
	// ProblemDuplicated is a line that stands there twice.
	ProblemDuplicated Problem = "duplicated"
	// ProblemTorn is a last line without a newline.
	ProblemTorn Problem = "torn"
	// ProblemTooLong is a line longer than [MaxLine].
	ProblemTooLong Problem = "too-long"
	// ProblemSpliced is a line of another chain in the middle of a file.
	ProblemSpliced Problem = "spliced"
	// ProblemRestarted is a new chain at the beginning of a file. It is a warning when the
	// chain before was closed in order, and a failure when it just ends.
	ProblemRestarted Problem = "restarted"
	// ProblemGap is a gap event: events were lost or failed to be written in time. It is a
	// warning when none was lost.
	ProblemGap Problem = "gap"
	// ProblemDestroyed is a file that was deleted while it was written to, and whose lines
	// are not given.
	ProblemDestroyed Problem = "destroyed"
	// ProblemTruncated is a file that was cut while it was written to (copytruncate): a
	// warning when no line is missing.
	ProblemTruncated Problem = "truncated"
	// ProblemForeign says that another program wrote into the file.
	ProblemForeign Problem = "foreign"
	// ProblemRepaired is a warning: a crash tore the last line, and the next start removed
	// or ended it.
	ProblemRepaired Problem = "repaired"
	// ProblemClock is a warning: the machine's clock was set.
	ProblemClock Problem = "clock"
	// ProblemCheckpoint is a checkpoint that is wrong, that is signed by none of the keys,
	// or that the files contradict.
	ProblemCheckpoint Problem = "checkpoint"
	// ProblemUnsigned is a checkpoint that is missing or late.
	ProblemUnsigned Problem = "unsigned"
	// ProblemUnreadable is a file that cannot be read to its end.
	ProblemUnreadable Problem = "unreadable"
)

// Finding is one thing that does not hold, or that the log itself tells of.
type Finding struct {
	File    string
	Line    int // the first is 1; 0 when it is about the whole file
	Problem Problem
	Warning bool // does not make the log fail
	Detail  string
}

func (f Finding) String() string {
	level := "FAIL"
	if f.Warning {
		level = "warning"
	}
	place := f.File
	if f.Line > 0 {
		place = fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	return fmt.Sprintf("%s: %s: %s: %s", place, level, f.Problem, f.Detail)
}

// maxFindings bounds a report: a file that is no log at all has one a line.
const maxFindings = 100

// Report is what [Verify] found.
type Report struct {
	Files       int
	Lines       int
	Chains      int
	Checkpoints int // in the files, with a good signature when there were keys
	First, Last uint64
	Head        string // hash of the last line, in hexadecimal

	Findings []Finding // at most 100, in the order of the files
	Omitted  int       // more findings than that
	failures int

	// Unknown says what a log of this kind, checked in this way, cannot show.
	Unknown []string
}

// OK reports whether everything holds. Warnings do not count.
func (r *Report) OK() bool { return r.failures == 0 && r.Lines > 0 }

func (r *Report) add(f Finding) *Finding {
	if !f.Warning {
		r.failures++
	}
	if len(r.Findings) == maxFindings {
		r.Omitted++
		return nil
	}
	r.Findings = append(r.Findings, f)
	return &r.Findings[len(r.Findings)-1]
}
