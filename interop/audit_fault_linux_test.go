// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// needRoot is called with what did not work. Only who is not root, and not in CI, may go without.
func needRoot(t testing.TB, what string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if os.Getuid() != 0 && os.Getenv("CI") == "" {
		t.Skipf("%s: %v", what, err)
	}
	t.Fatalf("%s: %v", what, err)
}

// tmpfs mounts a file system of that size for the time of the test.
func tmpfs(t testing.TB, size string) string {
	t.Helper()
	dir := t.TempDir()
	needRoot(t, "mount a tmpfs", unix.Mount("xfrguard-test", dir, "tmpfs", 0, "size="+size))
	unmountLater(t, dir)
	return dir
}

func unmountLater(t testing.TB, dir string) {
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// later is a fetch under way.
type later chan catch

func fetchLater(server, from string) later {
	l := make(later, 1)
	go func() {
		got, _ := fetch(server, from, auditPatience)
		l <- got
	}()
	return l
}

// wantNothing waits, and fails the test when the client got its answer in that time.
func (l later) wantNothing(t testing.TB, d time.Duration) {
	t.Helper()
	select {
	case got := <-l:
		t.Errorf("the sink blocks, and the client has its answer: %s", got)
		l <- got
	case <-time.After(d):
	}
}

func wantRefusedOnly(t testing.TB, got catch) {
	t.Helper()
	if got.rcode != dns.RcodeServerFailure || got.zone != 0 {
		t.Errorf("want SERVFAIL and nothing of the zone, got %s", got)
	}
}

// pipe is a FIFO that nobody empties for now. CoreDNS has it for its standard output.
type pipe struct {
	path string
	r    *os.File
}

func makePipe(t testing.TB) *pipe {
	t.Helper()
	p := &pipe{path: filepath.Join(t.TempDir(), "stdout")}
	if err := unix.Mkfifo(p.path, 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if p.r, err = os.OpenFile(p.path, os.O_RDWR|unix.O_NONBLOCK, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.r.Close() })
	return p
}

// fill writes empty lines until there is no room for one byte.
func (p *pipe) fill(t testing.TB) {
	t.Helper()
	fd, err := unix.Open(p.path, unix.O_WRONLY|unix.O_NONBLOCK, 0) // its own description: that of CoreDNS stays blocking
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for size := 4096; size > 0; {
		if _, err := unix.Write(fd, []byte(strings.Repeat("\n", size))); err == unix.EAGAIN {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// drain reads until nothing came for the time given, and returns the events.
func (p *pipe) drain(t testing.TB, quiet time.Duration) []auditLine {
	t.Helper()
	var events strings.Builder
	for _, line := range p.drainText(t, quiet) {
		if strings.HasPrefix(line, "{") {
			events.WriteString(line)
		}
	}
	return parseAudit(t, []byte(events.String()))
}

// drainText returns all that drain reads, as lines with their ends.
func (p *pipe) drainText(t testing.TB, quiet time.Duration) []string {
	t.Helper()
	var text strings.Builder
	buf := make([]byte, 1<<16)
	for {
		_ = p.r.SetReadDeadline(time.Now().Add(quiet))
		n, err := p.r.Read(buf)
		text.Write(buf[:n])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return slices.Collect(strings.Lines(text.String()))
}

// Nobody reads standard output: no byte goes to the client until somebody does, and
// when nobody does in time the client is refused. Ordinary queries do not notice.
func TestAuditBlockedStdout(t *testing.T) {
	t.Parallel()
	p := makePipe(t)
	a := startAudited(t, auditSetup{audit: "audit stdout", shell: ">" + p.path})
	q := startQueries(a.addr())
	first := p.drain(t, 200*time.Millisecond)
	if len(first) == 0 || first[0].Action != "audit-start" {
		t.Errorf("starts with %v", first)
	}

	p.fill(t)
	released := fetchLater(a.addr(), "127.40.0.1")
	released.wantNothing(t, auditDeadline/2)
	lines := p.drain(t, 300*time.Millisecond)
	got := <-released
	if !got.complete {
		t.Errorf("after it was released: %s", got)
	}
	if missing := unrecorded(lines, []catch{got}); len(missing) > 0 {
		t.Errorf("not on record: %v", missing)
	}

	p.fill(t)
	refused := fetchLater(a.addr(), "127.40.0.2")
	refused.wantNothing(t, auditDeadline/2)
	got = <-refused
	wantRefusedOnly(t, got)
	if took := got.over.Sub(got.asked); took > auditDeadline+time.Second {
		t.Errorf("the refusal took %s", took)
	}
	start := time.Now()
	second, err := fetch(a.addr(), "127.40.0.3", auditPatience)
	if err != nil {
		t.Error(err)
	}
	wantRefusedOnly(t, second)
	if took := time.Since(start); took > time.Second {
		t.Errorf("with the sink known to be down, a refusal took %s", took)
	}
	q.wantAnswered(t)

	var after []auditLine
	eventually(t, "the sink to be up again", func() error {
		after = append(after, p.drain(t, 50*time.Millisecond)...)
		got, err := fetch(a.addr(), "127.40.0.4", auditPatience)
		if err == nil && !got.complete {
			err = fmt.Errorf("%s", got)
		}
		return err
	})
	after = append(after, p.drain(t, 300*time.Millisecond)...)
	if gaps := count(after, func(l auditLine) bool { return l.Action == "audit-gap" && l.Lost > 0 }); gaps == 0 {
		t.Errorf("no gap event among %d lines", len(after))
	}
}

// frozen is a real file system whose writes can be made to hang, as those of a disk
// or a network that is gone do.
type frozen struct {
	dir   string
	thaw  io.WriteCloser
	child *exec.Cmd
}

func mountFreezable(t testing.TB) *frozen {
	t.Helper()
	if _, err := os.Stat("/dev/loop-control"); err != nil && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	dir := t.TempDir()
	image := filepath.Join(t.TempDir(), "image")
	for _, argv := range [][]string{
		{"truncate", "-s", "16M", image},
		{"mkfs.ext4", "-q", "-F", image},
		{"mount", "-o", "loop", image, dir},
	} {
		out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		if err != nil {
			needRoot(t, strings.Join(argv, " ")+": "+string(out), err)
		}
	}
	unmountLater(t, dir)
	return &frozen{dir: dir}
}

// freeze makes every write wait. It ends with melt, or with this process.
func (f *frozen) freeze(t testing.TB) {
	t.Helper()
	f.child = exec.Command("sh", "-c", `fsfreeze -f "$0" && echo frozen && read x; fsfreeze -u "$0"`, f.dir)
	var err error
	if f.thaw, err = f.child.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	said, err := f.child.StdoutPipe()
	if err == nil {
		err = f.child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.melt)
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil {
		t.Fatalf("fsfreeze: %q %v", line, err)
	}
}

func (f *frozen) melt() {
	_ = f.thaw.Close()
	_ = f.child.Wait()
}

// The disk of the audit file hangs.
func TestAuditHangingDisk(t *testing.T) {
	t.Parallel()
	tool := operatorTool(t)
	disk := mountFreezable(t)
	a := startAudited(t, auditSetup{log: filepath.Join(disk.dir, "audit.log")})
	t.Cleanup(a.Stop) // before the file system goes
	q := startQueries(a.addr())
	var all []catch

	disk.freeze(t)
	released := fetchLater(a.addr(), "127.41.0.1")
	released.wantNothing(t, auditDeadline/2)
	disk.melt()
	got := <-released
	if !got.complete {
		t.Errorf("after it was released: %s", got)
	}
	all = append(all, got)

	disk.freeze(t)
	l := startLoad(a.addr(), 42, 4)
	l.refused(t, 8)
	if early := count(l.so(), func(c catch) bool { return c.over.Sub(c.asked) < auditDeadline/2 }); early == 0 {
		t.Error("every refusal waited for the disk: it should be known to be down")
	}
	during := l.so()
	for _, c := range during {
		wantRefusedOnly(t, c)
	}
	disk.melt()
	l.more(t, 20)
	all = append(all, l.stop()...)
	q.wantAnswered(t)
	a.Stop()

	t.Logf("%d requests were refused while the disk hung", len(during))
	wantGap(t, tool, a.log, "refuse", all)
}

func sumGaps(lines []auditLine) (lost, late int64) {
	for _, l := range lines {
		if l.Action == "audit-gap" {
			lost += l.Lost
			late += l.Late
		}
	}
	return lost, late
}
