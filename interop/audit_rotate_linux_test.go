// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// rotated is a CoreDNS under load whose audit file is moved, cut or replaced.
type rotated struct {
	*audited
	*load
	tool string
}

func startRotated(t *testing.T, net byte) *rotated {
	t.Helper()
	r := &rotated{tool: operatorTool(t), audited: startAudited(t, auditSetup{log: filepath.Join(t.TempDir(), "audit.log")})}
	r.load = startLoad(r.addr(), net, 4)
	r.more(t, 10)
	return r
}

// finish stops load and server, and returns all lines and all catches.
func (r *rotated) finish(t *testing.T) ([]auditLine, []catch) {
	t.Helper()
	all := r.load.stop()
	r.Process.Stop()
	return readAudit(t, generations(t, r.log)...), all
}

// wantAllThere is for what must lose nothing: every event that was counted as
// written is found, each transfer is on record from decision to end, verify passes.
func (r *rotated) wantAllThere(t *testing.T) {
	t.Helper()
	all := r.load.stop()
	lines := r.settled(t)
	written := int(r.metric(t, `coredns_xfrguard_audit_events_total{`))
	found := count(lines, func(l auditLine) bool { return l.Kind == "" })
	if written != found {
		t.Errorf("%d events written, %d found", written, found)
	}
	r.Process.Stop()
	parts := generations(t, r.log)
	lines = readAudit(t, parts...)
	for _, c := range unrecorded(lines, all) {
		t.Errorf("not on record: %s", c)
	}
	events := make([]peer.Event, len(lines))
	for i, l := range lines {
		events[i] = l.Event
	}
	pairs, err := peer.Paired(events)
	whole := count(all, func(c catch) bool { return c.complete })
	if err != nil || len(pairs) != whole {
		t.Errorf("%d transfers, %d on record: %v", whole, len(pairs), err)
	}
	wantVerified(t, r.tool, parts...)
	t.Logf("%d transfers; %d events counted, %d found in %d files", whole, written, found, len(parts))
}

// settled waits until every allowed transfer has its end on record.
func (r *rotated) settled(t *testing.T) []auditLine {
	t.Helper()
	var lines []auditLine
	eventually(t, "the last ends", func() error {
		lines = nil
		for _, part := range generations(t, r.log) {
			lines = append(lines, decodeAudit(t, readMaybeGzip(t, part))...)
		}
		allows := count(lines, func(l auditLine) bool { return l.Allowed() })
		ends := count(lines, func(l auditLine) bool { return l.Action == peer.ActionEnd })
		if allows != ends {
			return fmt.Errorf("%d allows, %d ends", allows, ends)
		}
		return nil
	})
	return lines
}

func TestAuditRotation(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(*testing.T){
		"rename":              rotateByRename,
		"logrotate":           rotateByLogrotate,
		"delete":              rotateByDelete,
		"copytruncate":        rotateByCopyTruncate,
		"link":                rotateToLink,
		"fifo":                rotateToFIFO,
		"directory":           rotateToDirectory,
		"read-only directory": rotateInReadOnlyDirectory,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t) })
	}
}

func rotateByRename(t *testing.T) {
	r := startRotated(t, 50)
	for n := range 5 {
		must(t, os.Rename(r.log, fmt.Sprintf("%s.%d", r.log, 5-n)))
		r.more(t, 10)
	}
	r.wantAllThere(t)
	if parts := generations(t, r.log); len(parts) != 6 {
		t.Errorf("%q", parts)
	}
}

// logrotate with the snippet that is shipped.
func rotateByLogrotate(t *testing.T) {
	r := startRotated(t, 51)
	snippet, err := os.ReadFile("../deploy/logrotate.conf")
	must(t, err)
	const shipped = "/var/log/coredns/xfrguard-audit.log"
	text := strings.Replace(string(snippet), "\n"+shipped+" {", "\n"+r.log+" {", 1)
	if strings.Contains(text, shipped) {
		t.Fatalf("the snippet is not about %s", shipped)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "logrotate.conf")
	must(t, os.WriteFile(config, []byte(text), 0o600))
	for range 4 {
		r.more(t, 10)
		out, err := exec.Command(peer.Binary(t, "logrotate"), "--force", "--state", filepath.Join(dir, "state"), config).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	r.more(t, 10)
	r.wantAllThere(t)
	parts := generations(t, r.log)
	if n := count(parts, func(p string) bool { return strings.HasSuffix(p, ".gz") }); len(parts) != 5 || n != 3 {
		t.Errorf("%q", parts)
	}
}

// Deleted: what was in the file is gone, and verify says so. Nothing is handed out
// on the strength of a line that went with it.
func rotateByDelete(t *testing.T) {
	r := startRotated(t, 52)
	r.more(t, 20)
	deleted, err := os.Open(r.log)
	must(t, err)
	defer deleted.Close()
	must(t, os.Remove(r.log))
	gone := time.Now()
	r.more(t, 20)
	lines, all := r.finish(t)
	text, err := io.ReadAll(deleted) // for the schema: nobody else can read it any more
	must(t, err)
	if len(parseAudit(t, text)) == 0 {
		t.Error("there was nothing in the file that was deleted")
	}
	if len(lines) == 0 || lines[0].Action != "audit-rotated" || !strings.Contains(lines[0].Line, `"deleted"`) {
		t.Errorf("the new file begins with %v", lines)
	}
	wantNoneReleased(t, lines, all, gone)
	wantMissing(t, r.tool, lines, "destroyed", r.log)
}

// wantNoneReleased fails the test for bytes that were asked for after a moment and
// have no line: they were released on the strength of one that was gone.
func wantNoneReleased(t *testing.T, lines []auditLine, all []catch, after time.Time) {
	t.Helper()
	destroyed := unrecorded(lines, all)
	for _, c := range destroyed {
		if c.asked.After(after) {
			t.Errorf("released without a line: %s", c)
		}
	}
	t.Logf("%d requests, %d lines, %d allows destroyed", len(all), len(lines), len(destroyed))
}

// wantMissing checks that verify fails, says what, and that lines are missing.
func wantMissing(t *testing.T, tool string, lines []auditLine, what string, parts ...string) {
	t.Helper()
	code, out := verify(t, tool, parts...)
	if code != 1 || !strings.Contains(out, what) {
		t.Errorf("verify ends with %d, and does not say %q:\n%s", code, what, out)
	}
	t.Logf("verify: %s", strings.SplitN(out, "\n", 2)[0])
}

// Copied and cut, as logrotate does with copytruncate: what came between is
// destroyed, and verify says which lines.
func rotateByCopyTruncate(t *testing.T) {
	r := startRotated(t, 53)
	copied := time.Now()
	copyTo(t, r.log, r.log+".1")
	r.more(t, 5) // these are destroyed
	must(t, os.Truncate(r.log, 0))
	cut := time.Now()
	r.more(t, 20)
	lines, all := r.finish(t)
	wantNoneReleased(t, lines, all, cut)
	for _, c := range unrecorded(lines, all) {
		if c.over.Before(copied) {
			t.Errorf("it was in the file before the copy: %s", c)
		}
	}
	wantMissing(t, r.tool, lines, "truncated", r.log+".1", r.log)
	missing, last := int64(0), int64(0)
	for _, l := range lines {
		missing += max(l.Sequence-last-1, 0)
		last = l.Sequence
	}
	if missing < int64(len(unrecorded(lines, all))) || missing == 0 {
		t.Errorf("%d sequences are missing, and %d allows", missing, len(unrecorded(lines, all)))
	}
}

func copyTo(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	must(t, err)
	defer in.Close()
	out, err := os.Create(to)
	must(t, err)
	defer out.Close()
	_, err = io.Copy(out, in)
	must(t, err)
}

// replace puts what make makes in the place of the file, which keeps another name.
func (r *rotated) replace(t *testing.T, make func(path string) error) {
	t.Helper()
	must(t, os.Link(r.log, r.log+".1"))
	must(t, make(r.log+"-new"))
	must(t, os.Rename(r.log+"-new", r.log))
}

// wantRefusedUntil checks that nothing is handed out while the path leads to
// something else, and that all goes on, with a gap event, after restore.
func (r *rotated) wantRefusedUntil(t *testing.T, restore func() error) {
	t.Helper()
	q := startQueries(r.addr())
	r.refused(t, 20)
	before := len(r.so())
	r.refused(t, 20)
	for _, c := range r.so()[before:] {
		wantRefusedOnly(t, c)
	}
	must(t, restore())
	r.more(t, 10)
	q.wantAnswered(t)
	all := r.load.stop()
	r.Process.Stop()
	lines := readAudit(t, generations(t, r.log)...)
	for _, c := range unrecorded(lines, all) {
		t.Errorf("not on record: %s", c)
	}
	lost, late := sumGaps(lines)
	if refused := count(all, func(c catch) bool { return c.rcode > 0 }); lost != int64(refused) || late != 0 {
		t.Errorf("%d refused, gap events tell of %d lost, %d late", refused, lost, late)
	}
	code, out := verify(t, r.tool, generations(t, r.log)...)
	if fails := strings.Count(out, "FAIL: "); code != 1 || fails == 0 || fails != strings.Count(out, "FAIL: gap") {
		t.Errorf("verify ends with %d, want failures for gaps only:\n%s", code, out)
	}
	t.Logf("%d requests, gap events tell of %d lost", len(all), lost)
}

func rotateToLink(t *testing.T) {
	r := startRotated(t, 54)
	target := filepath.Join(t.TempDir(), "target")
	must(t, os.WriteFile(target, []byte("precious\n"), 0o600))
	r.replace(t, func(path string) error { return os.Symlink(target, path) })
	r.wantRefusedUntil(t, func() error { return os.Remove(r.log) })
	if text, err := os.ReadFile(target); err != nil || string(text) != "precious\n" {
		t.Errorf("what the link led to is now %q, %v", text, err)
	}
}

func rotateToFIFO(t *testing.T) {
	r := startRotated(t, 55)
	r.replace(t, func(path string) error { return unix.Mkfifo(path, 0o600) })
	r.wantRefusedUntil(t, func() error { return os.Remove(r.log) })
}

func rotateToDirectory(t *testing.T) {
	r := startRotated(t, 56)
	must(t, r.Signal(unix.SIGSTOP)) // a directory cannot be renamed over a file
	must(t, os.Rename(r.log, r.log+".1"))
	must(t, os.Mkdir(r.log, 0o700))
	must(t, r.Signal(unix.SIGCONT))
	r.wantRefusedUntil(t, func() error { return os.Remove(r.log) })
}

// The directory takes no new file: neither matters as long as none is needed, nor is
// anything handed out when one is. Root ignores modes; the immutable attribute it does not.
func rotateInReadOnlyDirectory(t *testing.T) {
	r := startRotated(t, 57)
	dir := filepath.Dir(r.log)
	immutable := func(on bool) error {
		out, err := exec.Command("chattr", map[bool]string{true: "+i", false: "-i"}[on], dir).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	}
	needRoot(t, "chattr", immutable(true))
	t.Cleanup(func() { _ = immutable(false) })
	r.more(t, 10)
	must(t, r.Signal(unix.SIGSTOP))
	must(t, immutable(false))
	must(t, os.Rename(r.log, r.log+".1"))
	must(t, immutable(true))
	must(t, r.Signal(unix.SIGCONT))
	r.wantRefusedUntil(t, func() error { return immutable(false) })
}
