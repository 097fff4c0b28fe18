// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/zonegen"
)

const (
	auditZone     = "audit.test."
	auditRecords  = 3000
	auditPatience = 15 * time.Second // for anything that a test waits for
	auditDeadline = 2 * time.Second  // docs/EVENTS.md: how long a sink has for a durable record
)

// auditSetup is how a CoreDNS is set up whose audit log is under test.
type auditSetup struct {
	dir     string // of the Corefile and the zone; "": one of its own
	log     string // of the audit file; "": dir/audit.log
	audit   string // lines in place of `audit file`
	options string // lines of xfrguard besides
	plugins string // lines of the server block besides
	shell   string // appended to the command line, for a redirection

	port, metrics int
}

// prepare writes the Corefile and the zone, and fills in what is not set.
func (s *auditSetup) prepare(t testing.TB) {
	t.Helper()
	s.port, s.metrics = peer.Port(t), peer.Port(t)
	if s.dir == "" {
		s.dir = t.TempDir()
	}
	s.log = cmp.Or(s.log, filepath.Join(s.dir, "audit.log"))
	s.audit = cmp.Or(s.audit, "audit file "+s.log)
	peer.WriteFile(t, filepath.Join(s.dir, "db"), zonegen.Bulk(auditZone, 1, auditRecords))
	peer.WriteFile(t, s.corefile(), fmt.Sprintf(`%s:%d {
	bind 127.0.0.1
	errors
	prometheus %s
	%s
	xfrguard {
		allow as anybody net 127.0.0.0/8 unsigned
		rate 1000000/1s burst 1000000
		concurrent 256 per-client 256
		%s
		%s
	}
	file %s
}
`, auditZone, s.port, peer.Loopback(s.metrics), s.plugins, s.audit, s.options, filepath.Join(s.dir, "db")))
}

func (s *auditSetup) corefile() string { return filepath.Join(s.dir, "Corefile") }
func (s *auditSetup) addr() string     { return peer.Loopback(s.port) }

// audited is a running CoreDNS whose audit log is under test.
type audited struct {
	auditSetup
	*peer.Process
}

func startAudited(t testing.TB, s auditSetup) *audited {
	t.Helper()
	if !guarded {
		t.Skip("stock CoreDNS")
	}
	s.prepare(t)
	argv := []string{coreDNS, "-conf", s.corefile()}
	if s.shell != "" {
		argv = []string{"sh", "-c", "exec " + strings.Join(argv, " ") + " " + s.shell}
	}
	a := &audited{auditSetup: s}
	wantAllOfSchema(t, func() *peer.Process { return a.Process }, s.log+"*")
	a.Process = peer.Run(t, "coredns", s.dir, argv...)
	a.ready(t)
	return a
}

// ready waits until the server answers for its zone.
func (a *audited) ready(t testing.TB) {
	t.Helper()
	eventually(t, "the server to answer", func() error {
		_, err := peer.Serial(t.Context(), a.addr(), auditZone)
		return err
	})
}

// eventually calls ok until it returns nil.
func eventually(t testing.TB, what string, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(auditPatience)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s: %v", what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// metric returns the sum of the samples whose names and labels have the prefix.
func (a *audited) metric(t testing.TB, prefix string) float64 {
	t.Helper()
	all, err := a.samples(t)
	must(t, err)
	sum := 0.0
	for name, v := range all {
		if strings.HasPrefix(name, prefix) {
			sum += v
		}
	}
	return sum
}

// samples returns the metrics, by names with labels.
func (a *audited) samples(t testing.TB) (map[string]float64, error) {
	t.Helper()
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := c.Get("http://" + peer.Loopback(a.metrics) + "/metrics")
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	all := make(map[string]float64)
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		at := strings.LastIndexByte(lines.Text(), ' ')
		v, err := strconv.ParseFloat(lines.Text()[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", lines.Text(), err)
		}
		all[lines.Text()[:at]] = v
	}
	return all, lines.Err()
}

// auditLine is a line of the audit file, with what these tests look at besides.
type auditLine struct {
	peer.Event
	DNSID      string `json:"dns.id"`
	Sequence   int64  `json:"event.sequence"`
	Kind       string `json:"coredns.xfr.audit.kind"`
	Lost       int64  `json:"coredns.xfr.audit.lost"`
	Late       int64  `json:"coredns.xfr.audit.late"`
	Transport  string `json:"network.transport"`
	Suppressed int64  `json:"coredns.xfr.suppressed.count"`
	Class      string `json:"coredns.xfr.suppressed.class"`
}

func (l *auditLine) denied() bool {
	return l.Action == peer.ActionDecision && !l.Allowed()
}

// auditSchema is the schema that the project publishes.
var auditSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	return c.Compile("../event.schema.json")
})

// readAudit returns the whole lines of the files in their order. Each must be of
// the schema, whatever became of the file; only a file's last line may be torn.
func readAudit(t testing.TB, paths ...string) []auditLine {
	t.Helper()
	var all []auditLine
	for _, path := range paths {
		all = append(all, parseAudit(t, readMaybeGzip(t, path))...)
	}
	return all
}

func readMaybeGzip(t testing.TB, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return text
}

// parseAudit is decodeAudit, and checks each line against the schema.
func parseAudit(t testing.TB, text []byte) []auditLine {
	t.Helper()
	schema, err := auditSchema()
	if err != nil {
		t.Fatal(err)
	}
	all := decodeAudit(t, text)
	for _, l := range all {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(l.Line))
		if err == nil {
			err = schema.Validate(v)
		}
		if err != nil {
			t.Errorf("not of the schema: %v\n%s", err, l.Line)
		}
	}
	return all
}

// decodeAudit returns the whole lines of a text.
func decodeAudit(t testing.TB, text []byte) []auditLine {
	t.Helper()
	var all []auditLine
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		if len(line) > 4096 {
			t.Errorf("a line of %d bytes", len(line))
		}
		l := auditLine{}
		if err := json.Unmarshal(line, &l); err != nil {
			t.Errorf("%v: %q", err, line)
			continue
		}
		l.Line = string(line)
		all = append(all, l)
	}
	return all
}

// generations returns the parts of a rotated log, oldest first: path.3, path.2.gz, path.1, path.
func generations(t testing.TB, path string) []string {
	t.Helper()
	all, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	age := func(p string) int {
		n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(p, path+"."), ".gz"))
		return n
	}
	slices.SortFunc(all, func(a, b string) int { return age(b) - age(a) })
	return all
}

// operatorTool builds cmd/xfrguard and returns its path.
func operatorTool(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "xfrguard")
	cmd := exec.Command("go", "build", "-o", path, "github.com/xfrguard/xfrguard/cmd/xfrguard")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build cmd/xfrguard: %v\n%s", err, out)
	}
	return path
}

// verify runs `xfrguard verify` and returns its exit code and what it prints.
func verify(t testing.TB, tool string, args ...string) (code int, out string) {
	t.Helper()
	b, err := exec.Command(tool, append([]string{"verify"}, args...)...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return code, string(b)
}

// wantVerified fails the test unless verify finds nothing, or warnings only.
func wantVerified(t testing.TB, tool string, args ...string) {
	t.Helper()
	if code, out := verify(t, tool, args...); code != 0 {
		t.Errorf("verify ends with %d:\n%.4000s", code, out)
	}
}
