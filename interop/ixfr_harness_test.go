// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/rrset"
)

const (
	ixfrZone     = "churn.test."
	ixfrPatience = 20 * time.Second // for one edit to arrive
)

// Each secondary has a key and a rule of its own: what one was given says nothing of
// another.
var ixfrKeys = map[string]peer.Key{
	"named": {Name: "named.key.", Algorithm: "hmac-sha256.", Secret: "bmFtZWQgaW4gdGhlIGludGVyb3AgdGVzdHMgb2YgSVhGUg=="},
	"nsd":   {Name: "nsd.key.", Algorithm: "hmac-sha256.", Secret: "bnNkIGluIHRoZSBpbnRlcm9wIHRlc3RzIG9mIElYRlIgICA="},
	"knotd": {Name: "knotd.key.", Algorithm: "hmac-sha256.", Secret: "a25vdGQgaW4gdGhlIGludGVyb3AgdGVzdHMgb2YgSVhGUg=="},
}

// ixfrNames are those of ixfrKeys, in a fixed order.
var ixfrNames = []string{"named", "nsd", "knotd"}

// unlimited lifts the limits that are no matter here.
const unlimited = "\t\trate 1000000/1s burst 1000000\n\t\tconcurrent 100 per-client 100 wait 5s\n"

// incremental is a CoreDNS whose zone file a test edits again and again.
type incremental struct {
	*peer.CoreDNS
	port int
	path string // of the zone file

	corefile string
	signals  int      // to read the Corefile again, to this process
	earlier  []string // what earlier processes wrote
}

// newIncremental writes the zone and makes the Corefile. NOTIFY goes to the ports;
// options are lines of xfrguard.
func newIncremental(t testing.TB, notify []int, options, zone string) *incremental {
	t.Helper()
	p := &incremental{port: peer.Port(t), path: filepath.Join(t.TempDir(), "db")}
	peer.WriteFile(t, p.path, zone)
	p.corefile = ixfrBlock(p.port, p.path, "127.0.0.1", notify, options, "")
	return p
}

// ixfrBlock is a server block with the zone in a file, for clients from one address.
// options are lines of xfrguard, more are lines of the block.
func ixfrBlock(port int, path, from string, notify []int, options, more string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d {\n\tbind 127.0.0.1\n%s\terrors\n\ttsig {\n", ixfrZone, port, more)
	for _, name := range ixfrNames {
		fmt.Fprintf(&b, "\t\tsecret %s %s\n", ixfrKeys[name].Name, ixfrKeys[name].Secret)
	}
	b.WriteString("\t}\n\txfrguard {\n")
	for _, name := range ixfrNames {
		fmt.Fprintf(&b, "\t\tallow as %s net %s key %s\n", name, from, ixfrKeys[name].Name)
	}
	b.WriteString(unlimited + options + "\t}\n")
	if len(notify) > 0 {
		b.WriteString("\ttransfer {\n\t\tto")
		for _, port := range notify {
			b.WriteString(" " + peer.Loopback(port))
		}
		b.WriteString("\n\t}\n")
	}
	fmt.Fprintf(&b, "\tfile %s {\n\t\treload 20ms\n\t}\n}\n", path)
	return b.String()
}

// start runs it, again after it has ended.
func (p *incremental) start(t testing.TB) {
	t.Helper()
	if p.CoreDNS != nil {
		p.earlier, p.signals = append(p.earlier, p.Stdout.Lines()...), 0
	}
	p.CoreDNS = startGuarded(t, p.port, ixfrZone, p.corefile)
}

// publish puts text into the zone file and waits until that serial is served.
func (p *incremental) publish(t testing.TB, text string, serial uint32) rrset.Set {
	t.Helper()
	want := p.write(t, text)
	atSerial(t, p.Process, peer.Loopback(p.port), serial)
	return want
}

// write puts text into the zone file.
func (p *incremental) write(t testing.TB, text string) rrset.Set {
	t.Helper()
	peer.WriteFile(t, p.path, text)
	return parseZone(t, text)
}

func parseZone(t testing.TB, text string) rrset.Set {
	t.Helper()
	return parseAs(t, text, ixfrZone)
}

func parseAs(t testing.TB, text, origin string) rrset.Set {
	t.Helper()
	set, err := rrset.Parse(strings.NewReader(text), origin, "zone")
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// atSerial waits until the server has that serial of the zone.
func atSerial(t testing.TB, process *peer.Process, addr string, serial uint32) {
	t.Helper()
	limit := time.Now().Add(ixfrPatience)
	for pause := time.Millisecond; ; pause = min(2*pause, 8*time.Millisecond) {
		got, err := peer.Serial(context.Background(), addr, ixfrZone)
		switch {
		case err == nil && got == serial:
			return
		case process.Ended():
			t.Fatalf("%s has ended before it had serial %d", process.Name, serial)
		case time.Now().After(limit):
			t.Fatalf("%s has no serial %d after %v: it has %d (%v)", process.Name, serial, ixfrPatience, got, err)
		}
		time.Sleep(pause)
	}
}

// said waits until CoreDNS has written n lines with that in it.
func (p *incremental) said(t testing.TB, n int, what string) {
	t.Helper()
	eventually(t, what, func() error {
		left := n
		for _, line := range p.Stdout.Lines() {
			if strings.Contains(line, what) {
				left--
			}
		}
		if left > 0 {
			return fmt.Errorf("%d times less than %d", left, n)
		}
		return nil
	})
}

// events returns what all processes so far put on record.
func (p *incremental) events(t testing.TB) []peer.Event {
	t.Helper()
	events, err := peer.Events(append(append([]string{}, p.earlier...), p.Stdout.Lines()...))
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// ends waits until every allowed transfer has ended, and returns the ends of a rule in
// the order of the decisions.
func (p *incremental) ends(t testing.TB) map[string][]peer.Event {
	t.Helper()
	var pairs [][2]peer.Event
	eventually(t, "every allowed transfer to end", func() (err error) {
		pairs, err = peer.Paired(p.events(t))
		return err
	})
	ends := make(map[string][]peer.Event)
	for _, pair := range pairs {
		ends[pair[1].Rule] = append(ends[pair[1].Rule], pair[1])
	}
	return ends
}
