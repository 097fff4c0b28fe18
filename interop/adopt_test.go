// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/zonegen"
)

const (
	adoptSteps    = 5
	adoptStranger = "127.0.0.66"
)

var (
	adoptZones = []string{"example.org.", "example.com."}
	adoptKey   = peer.Key{Name: "ns2.example.net.", Algorithm: sha256Key.Algorithm, Secret: sha256Key.Secret}
)

// adoption is a CoreDNS that goes through the steps of the README, and two secondaries.
type adoption struct {
	*peer.Process
	dir, read   string
	port        int
	steps       []string
	secondaries []*peer.Secondary
	serial      uint32
	seen        int // lines of the record before this step
}

// TestAdopting takes a CoreDNS that is open to the world through the steps of the README's
// "Adopting it", by reloads of one process. BIND and CoreDNS's secondary follow each new
// serial of both zones in every step, and neither is refused once. The record of the first
// step shows the secondary that was forgotten; at the end a stranger gets nothing.
func TestAdopting(t *testing.T) {
	t.Parallel()
	a := startAdoption(t)
	for step := range adoptSteps {
		if step > 0 {
			a.reload(t, step)
		}
		a.follow(t, step)
		a.strangers(t, step)
		a.judge(t, step)
	}
	if left := fencedBlocks(t, "../README.md"); left[fmt.Sprintf("corefile adopt-%d", adoptSteps)] != "" {
		t.Errorf("the README has more than %d steps", adoptSteps)
	}
}

// startAdoption reads the README, and starts the server before the first step.
func startAdoption(t *testing.T) *adoption {
	t.Helper()
	blocks := fencedBlocks(t, "../README.md")
	a := &adoption{dir: t.TempDir(), port: peer.Port(t), read: blocks.take(t, "sh adopt")}
	ports := []int{peer.Port(t), peer.Port(t)}
	for step := range adoptSteps {
		a.steps = append(a.steps, a.place(blocks.take(t, fmt.Sprintf("corefile adopt-%d", step)), ports))
	}
	peer.WriteFile(t, filepath.Join(a.dir, "xfr.keys"), fmt.Sprintf("key %q {\n\talgorithm hmac-sha256;\n\tsecret %q;\n};\n", adoptKey.Short(), adoptKey.Secret))
	wantAllOfSchema(t, nil, filepath.Join(a.dir, "xfrguard-audit.log"))
	a.publish(t)
	peer.WriteFile(t, filepath.Join(a.dir, "Corefile"), a.steps[0])
	a.Process = peer.Run(t, "coredns", a.dir, coreDNS, "-conf", "Corefile")
	for _, zone := range adoptZones {
		awaitZone(t, a.Process, a.port, zone, a.serial)
	}
	zones := []peer.Zone{{Origin: adoptZones[0], Key: adoptKey}, {Origin: adoptZones[1], Key: adoptKey}}
	for _, software := range peer.Secondaries() {
		if software.Name == "named" {
			a.secondaries = append(a.secondaries, peer.StartSecondary(t, software, ports[0], a.port, zones))
		}
	}
	a.secondaries = append(a.secondaries, peer.StartRecipe(t, peer.Recipe{
		Name: "coredns", CoreDNS: coreDNS,
		Zone: fmt.Sprintf("%[1]s:%[3]d %[2]s:%[3]d {\n\tsecondary {\n\t\ttransfer from %[4]s\n\t}\n}\n", adoptZones[0], adoptZones[1], ports[1], peer.Loopback(a.port)),
	}, ports[1], zones[0]))
	return a
}

// place puts the addresses and ports of the test into a Corefile of the README. Both
// secondaries ask from 127.0.0.1.
func (a *adoption) place(text string, ports []int) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "to", "notify":
			line = strings.NewReplacer("192.0.2.53", peer.Loopback(ports[0]), "192.0.2.54", peer.Loopback(ports[1])).Replace(line)
		case "allow":
			line = strings.NewReplacer("192.0.2.53", "127.0.0.1", "192.0.2.54", "127.0.0.1").Replace(line)
		case "file":
			line = strings.TrimSuffix(line, "\n") + " {\n        reload 100ms\n    }\n"
		case "example.org", "example.com":
			line = fmt.Sprintf("%s:%d {\n    bind 127.0.0.1\n    errors\n", word, a.port)
		}
		b.WriteString(line)
	}
	return b.String()
}

func (a *adoption) text(zone string) string { return zonegen.Bulk(zone, a.serial, 100) }

// publish writes the next serial of both zones.
func (a *adoption) publish(t *testing.T) {
	t.Helper()
	a.serial++
	for _, zone := range adoptZones {
		peer.WriteFile(t, filepath.Join(a.dir, "db."+strings.TrimSuffix(zone, ".")), a.text(zone))
	}
}

// reload brings in the next Corefile, and returns when it is in force.
func (a *adoption) reload(t *testing.T, step int) {
	t.Helper()
	a.seen = len(a.record(t))
	peer.WriteFile(t, filepath.Join(a.dir, "Corefile"), a.steps[step])
	must(t, a.Signal(syscall.SIGUSR1))
	eventually(t, "the reload to be over", func() error {
		n := 0
		for _, line := range a.Stdout.Lines() {
			if strings.Contains(line, "Reloading complete") {
				n++
			}
		}
		if n != step {
			return fmt.Errorf("%d reloads, want %d", n, step)
		}
		return nil
	})
}

// follow publishes a serial and waits until both secondaries have it, of both zones.
func (a *adoption) follow(t *testing.T, step int) {
	t.Helper()
	a.publish(t)
	for _, zone := range adoptZones {
		want := parseAs(t, a.text(zone), zone)
		for _, s := range a.secondaries {
			if err := s.Holds(t.Context(), zone, a.serial, want, recipePatience); err != nil {
				t.Fatalf("step %d: %s, serial %d of %s: %v", step, s.Name, a.serial, zone, err)
			}
		}
	}
}

// strangers asks for both zones from an address that nobody knows.
func (a *adoption) strangers(t *testing.T, step int) {
	t.Helper()
	for i, zone := range adoptZones {
		open := step < 3 || step == 3 && i == 1
		rcode, err := a.stranger(zone)
		if err != nil || (rcode == dns.RcodeSuccess) != open || !open && rcode != dns.RcodeRefused {
			t.Errorf("step %d: a stranger who asks for %s is told %s (%v)", step, zone, dns.RcodeToString[rcode], err)
		}
	}
}

func (a *adoption) stranger(zone string) (int, error) {
	d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(adoptStranger)}}
	conn, err := d.Dial("tcp", peer.Loopback(a.port))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return 0, err
	}
	c := &dns.Conn{Conn: conn}
	if err := c.WriteMsg(new(dns.Msg).SetAxfr(zone)); err != nil {
		return 0, err
	}
	r, err := c.ReadMsg()
	if err != nil {
		return 0, err
	}
	return r.Rcode, nil
}

// record is what is on record so far.
func (a *adoption) record(t *testing.T) []peer.Event {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(a.dir, "xfrguard-audit.log"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	must(t, err)
	events, err := peer.Events(strings.Split(string(text), "\n"))
	must(t, err)
	return events
}

// judge checks what the step has put on record: no secondary is refused, and in the first
// one the README's command shows who would be.
func (a *adoption) judge(t *testing.T, step int) {
	t.Helper()
	for _, e := range a.record(t)[a.seen:] {
		if e.Client == "127.0.0.1" && e.Outcome == "failure" && step != 1 {
			t.Errorf("step %d: a secondary is refused: %s", step, e.Line)
		}
	}
	if step != 1 {
		return
	}
	shown := shellIn(t, a.dir, a.read)
	for _, what := range [][]string{
		{`"client.ip":"` + adoptStranger + `"`, `"event.reason":"client-not-allowed"`},
		{`"client.ip":"127.0.0.1"`, `"event.reason":"tsig-required"`},
	} {
		found := false
		for line := range strings.Lines(shown) {
			found = found || strings.Contains(line, what[0]) && strings.Contains(line, what[1])
		}
		if !found {
			t.Errorf("%s\nshows no %q:\n%s", a.read, what, shown)
		}
	}
}
