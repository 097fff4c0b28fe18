// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/zonegen"
)

// passing is a cause that passes for which the guard refuses a secondary.
type passing struct {
	name   string
	reason string // on record when the secondary meets it; "": it may ask for nothing meanwhile
	lines  string // of the directive
	begin  func(p *passingPrimary, t *testing.T)
	end    func(p *passingPrimary, t *testing.T)
}

const tokenEach = 10 * time.Second // of the cause rate: longer than a NOTIFY takes

var passingCauses = []passing{
	{"rate", "rate-limited", "rate 1/10s burst 2\n\t\tconcurrent 16 per-client 4 wait 100ms", (*passingPrimary).drain, (*passingPrimary).nextToken},
	{"concurrency", "concurrency-limited", "concurrent 1 per-client 1 wait 100ms\n\t\ttimeout 2h stall 5m pace off", (*passingPrimary).hold, (*passingPrimary).letGo},
	{"audit", "audit-unavailable", "", (*passingPrimary).fill, (*passingPrimary).makeRoom},
	{"zone not there", "", "", (*passingPrimary).loseZone, (*passingPrimary).findZone},
	{"stop and start", "", "", (*passingPrimary).halt, (*passingPrimary).restart},
}

// passingPrimary is a CoreDNS with the guard, and one secondary that it tells.
type passingPrimary struct {
	*audited
	cause  passing
	signed bool

	secondary     *peer.Process
	secondaryPort int

	zone     string // the path of the zone's file
	upstream *peer.Process
	upPort   int

	held   net.Conn
	filler string
	empty  time.Time // when the last token was taken
}

func (p *passingPrimary) write(t testing.TB, serial uint32) {
	t.Helper()
	peer.WriteFile(t, p.zone, zonegen.Bulk(refusedZone, serial, bulkRecords))
}

func (p *passingPrimary) configure(t testing.TB) {
	t.Helper()
	who, tsig := "unsigned", ""
	if p.signed {
		who, tsig = "key "+sha256Key.Name, "tsig {\n\t\tsecret "+sha256Key.Name+" "+sha256Key.Secret+"\n\t}"
	}
	backend := "file " + p.zone + " {\n\t\treload 500ms\n\t}"
	if p.upPort != 0 {
		backend = "secondary {\n\t\ttransfer from " + peer.Loopback(p.upPort) + "\n\t}"
	}
	peer.WriteFile(t, p.corefile(), fmt.Sprintf(`%s:%d {
	bind 127.0.0.1
	errors
	prometheus %s
	%s
	xfrguard {
		allow as ns net 127.0.0.1 %s
		notify 127.0.0.1:%d
		audit file %s
		%s
	}
	%s
}
`, refusedZone, p.port, peer.Loopback(p.metrics), tsig, who, p.secondaryPort, p.log, p.cause.lines, backend))
}

func (p *passingPrimary) run(t testing.TB) {
	t.Helper()
	p.Process = peer.Run(t, "coredns", p.dir, coreDNS, "-conf", p.corefile())
}

// feed starts the server that the zone of this primary comes from.
func (p *passingPrimary) feed(t testing.TB) {
	t.Helper()
	path := filepath.Join(p.dir, "upstream")
	peer.WriteFile(t, path, fmt.Sprintf("%s:%d {\n\tbind 127.0.0.1\n\terrors\n\ttransfer {\n\t\tto *\n\t}\n\tfile %s\n}\n", refusedZone, p.upPort, p.zone))
	p.upstream = peer.Run(t, "upstream", p.dir, coreDNS, "-conf", path)
}

func startPassing(t *testing.T, s puller, cause passing) *passingPrimary {
	t.Helper()
	dir := t.TempDir()
	p := &passingPrimary{cause: cause, signed: s.name != "coredns" && s.name != "unbound", secondaryPort: peer.Port(t), zone: filepath.Join(dir, "db")}
	p.audited = &audited{auditSetup: auditSetup{dir: dir, log: filepath.Join(dir, "audit.log"), port: peer.Port(t), metrics: peer.Port(t)}}
	p.write(t, 1)
	switch cause.name {
	case "audit":
		disk := tmpfs(t, "1m")
		p.log, p.filler = filepath.Join(disk, "audit.log"), filepath.Join(disk, "filler")
	case "zone not there":
		p.upPort = peer.Port(t)
		p.feed(t)
	}
	p.configure(t)
	p.run(t)
	awaitSerial(t, p.Process, p.port, 1, 30*time.Second)
	p.secondary = s.start(t, p.secondaryPort, p.port)
	awaitSerial(t, p.secondary, p.secondaryPort, 1, 30*time.Second)
	return p
}

// ask asks for the zone as the secondary does, and returns the connection after the first
// message of the answer.
func (p *passingPrimary) ask(t testing.TB) (net.Conn, *dns.Msg) {
	t.Helper()
	d := net.Dialer{Timeout: auditPatience, Control: func(_, _ string, c syscall.RawConn) (err error) {
		failed := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
		return errors.Join(failed, err)
	}}
	conn, err := d.Dial("tcp", p.addr())
	must(t, err)
	must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	q := new(dns.Msg).SetAxfr(refusedZone)
	c := &dns.Conn{Conn: conn}
	if p.signed {
		q.SetTsig(sha256Key.Name, sha256Key.Algorithm, 300, time.Now().Unix())
		c.TsigSecret = map[string]string{sha256Key.Name: sha256Key.Secret}
	}
	must(t, c.WriteMsg(q))
	r, err := c.ReadMsg()
	must(t, err)
	return conn, r
}

// askUntilRefused takes what there is.
func (p *passingPrimary) askUntilRefused(t testing.TB) {
	t.Helper()
	eventually(t, "a refusal", func() error {
		conn, r := p.ask(t)
		conn.Close()
		if r.Rcode != dns.RcodeServerFailure {
			return errors.New(dns.RcodeToString[r.Rcode])
		}
		return nil
	})
}

func (p *passingPrimary) drain(t *testing.T) {
	p.askUntilRefused(t)
	p.empty = time.Now()
}

// nextToken waits until there certainly is one.
func (p *passingPrimary) nextToken(*testing.T) { time.Sleep(time.Until(p.empty.Add(tokenEach))) }

func (p *passingPrimary) hold(t *testing.T) {
	eventually(t, "the one place", func() error {
		conn, r := p.ask(t)
		if r.Rcode != dns.RcodeSuccess {
			conn.Close()
			return errors.New(dns.RcodeToString[r.Rcode])
		}
		p.held = conn
		return nil
	})
	t.Cleanup(func() { p.held.Close() })
}

func (p *passingPrimary) letGo(*testing.T) { p.held.Close() }

func (p *passingPrimary) fill(t *testing.T) {
	f, err := os.Create(p.filler)
	must(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 512))
	}
	must(t, f.Close())
	p.askUntilRefused(t)
}

func (p *passingPrimary) makeRoom(t *testing.T) { must(t, os.Remove(p.filler)) }

// loseZone has a reload fall into a time at which the zone cannot be had.
func (p *passingPrimary) loseZone(t *testing.T) {
	p.upstream.Stop()
	must(t, p.Signal(syscall.SIGUSR1))
	eventually(t, "the zone to be gone", func() error {
		if _, err := peer.Serial(t.Context(), p.addr(), refusedZone); err == nil {
			return errors.New("it is there")
		}
		return nil
	})
}

func (p *passingPrimary) findZone(t *testing.T) {
	p.feed(t)
	awaitSerial(t, p.Process, p.port, 2, 30*time.Second)
}

func (p *passingPrimary) halt(*testing.T) { p.Stop() }

func (p *passingPrimary) restart(t *testing.T) {
	p.run(t)
	awaitSerial(t, p.Process, p.port, 2, 30*time.Second)
}

// refused is how often the guard has refused for the cause.
func (p *passingPrimary) refused(t testing.TB) float64 {
	t.Helper()
	r, err := p.samples(t)
	must(t, err)
	sum := 0.0
	for name, v := range r {
		if strings.HasPrefix(name, "coredns_xfrguard_requests_total") && strings.Contains(name, `reason="`+p.cause.reason+`"`) {
			sum += v
		}
	}
	return sum
}

// toldAgain is one secondary that meets one cause.
type toldAgain struct {
	puller
	cause passing
	took  time.Duration // from the end of the cause until it has the new serial
	met   float64       // how often it was refused
}

func (r *toldAgain) run(t *testing.T) {
	t.Helper()
	p := startPassing(t, r.puller, r.cause)
	p.cause.begin(p, t)
	before := 0.0
	if r.cause.reason != "" {
		before = p.refused(t)
	}
	p.write(t, 2)
	if r.cause.reason != "" {
		eventually(t, "the secondary to be refused", func() error {
			if r.met = p.refused(t) - before; r.met == 0 {
				return errors.New("not yet")
			}
			return nil
		})
	} else {
		tell(t, p.secondary, p.secondaryPort) // it asks in vain
		time.Sleep(3 * time.Second)
	}
	if got, err := peer.Serial(t.Context(), peer.Loopback(p.secondaryPort), refusedZone); err != nil || got != 1 {
		t.Fatalf("the secondary has serial %d (%v) while it must not", got, err)
	}
	p.cause.end(p, t)
	begin := time.Now()
	awaitSerial(t, p.secondary, p.secondaryPort, 2, toldLimit)
	r.took = time.Since(begin)
	if r.cause.reason != "" {
		r.met = p.refused(t) - before
	}
	t.Logf("%v after the cause had gone; refused %.0f times", r.took.Round(10*time.Millisecond), r.met)
}

// toldLimit is far shorter than any timer of the zone or a secondary, and longer than the
// ten seconds between two NOTIFYs on a busy machine.
const toldLimit = 25 * time.Second

// TestToldAgain: whoever is refused for a cause that passes, and is a target of NOTIFY, has the
// new serial soon after the cause has gone. Each secondary meets one cause; with
// XFRGUARD_TOLD_AGAIN=1 each meets all, for the table of docs/COMPATIBILITY.md.
func TestToldAgain(t *testing.T) {
	t.Parallel()
	var (
		mu   sync.Mutex
		all  []*toldAgain
		long = os.Getenv("XFRGUARD_TOLD_AGAIN") == "1"
	)
	t.Run("each", func(t *testing.T) {
		for i, s := range pullers() {
			for j, cause := range passingCauses {
				if !long && i%len(passingCauses) != j {
					continue
				}
				t.Run(s.name+"/"+cause.name, func(t *testing.T) {
					t.Parallel()
					r := &toldAgain{puller: s, cause: cause}
					r.run(t)
					mu.Lock()
					defer mu.Unlock()
					all = append(all, r)
				})
			}
		}
	})
	if long {
		t.Log("\n" + toldTable(all))
	}
}

func toldTable(all []*toldAgain) string {
	sort.SliceStable(all, func(i, j int) bool { return all[i].name < all[j].name })
	var b strings.Builder
	b.WriteString("| secondary |")
	for _, c := range passingCauses {
		b.WriteString(" " + c.name + " |")
	}
	for _, s := range pullers() {
		b.WriteString("\n| " + s.name + " |")
		for _, c := range passingCauses {
			cell := " ? |"
			for _, r := range all {
				if r.name == s.name && r.cause.name == c.name {
					cell = fmt.Sprintf(" %.1f s (%.0f) |", r.took.Seconds(), r.met)
				}
			}
			b.WriteString(cell)
		}
	}
	return b.String()
}
