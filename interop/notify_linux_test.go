// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/rrset"
)

// notice is what an event of a NOTIFY says beside what peer.Event has.
type notice struct {
	peer.Event
	Port      int    `json:"destination.port"`
	Serial    uint32 `json:"coredns.xfr.notify.serial"`
	Tries     int    `json:"coredns.xfr.notify.tries"`
	Transport string `json:"coredns.xfr.transport"`
	Algorithm string `json:"coredns.xfr.tsig.algorithm"`
	Status    string `json:"coredns.xfr.tsig.status"`
	Error     string `json:"error.message"`
}

// notices returns the events of NOTIFYs of a zone's serial.
func (p *primary) notices(t testing.TB, zone string, serial uint32) []notice {
	t.Helper()
	events, err := peer.Events(p.Stdout.Lines())
	if err != nil {
		t.Fatal(err)
	}
	var got []notice
	for _, e := range events {
		n := notice{Event: e}
		if err := json.Unmarshal([]byte(e.Line), &n); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(e.Action, "zone-notify-") && e.Zone == zone && n.Serial == serial {
			got = append(got, n)
		}
	}
	return got
}

// awaitNotice waits for the one event that ends the NOTIFY of a zone's serial.
func (p *primary) awaitNotice(t testing.TB, zone string, serial uint32) notice {
	t.Helper()
	var got []notice
	p.Await(t, 40*time.Second, fmt.Sprintf("tell what became of the NOTIFY of %s, serial %d", zone, serial), func(context.Context) error {
		if got = p.notices(t, zone, serial); len(got) == 0 {
			return fmt.Errorf("no event")
		}
		return nil
	})
	return got[0]
}

// The zones of a notified secondary, and what their directives say of NOTIFY. The
// secondary takes only what is signed with the zone's key.
var notified = []struct {
	origin string
	key    peer.Key
	notify string // PORT and TLSPORT are the secondary's
	alg    string // of the signature that was taken
}{
	{"sha256.test.", sha256Key, "notify 127.0.0.1:PORT key " + sha256Key.Name, "hmac-sha256"},
	{"sha512.test.", sha512Key, "notify 127.0.0.1:PORT key " + sha512Key.Name, "hmac-sha512"},
	{"tls.test.", sha256Key, "notify 127.0.0.1:TLSPORT tls key " + sha256Key.Name, "hmac-sha256"},
	{"tcp.test.", sha256Key, "notify " + withoutUDP + ":PORT key " + sha256Key.Name, "hmac-sha256"},
	{"unsigned.test.", sha256Key, "notify 127.0.0.1:PORT", ""},
	{"otherkey.test.", sha256Key, "notify 127.0.0.1:PORT key " + sha512Key.Name, ""},
	{"transferto.test.", sha256Key, "", "hmac-sha256"}, // transfer to, and the one key of its address
}

// withoutUDP is where the secondary is reached over TCP, while UDP is lost on the way.
const withoutUDP = "127.0.0.3"

// loseUDP forwards TCP from withoutUDP to the secondary, as from peer.Notifier, and
// takes datagrams and forgets them.
func loseUDP(t *testing.T, port int) {
	t.Helper()
	hole, err := net.ListenPacket("udp", net.JoinHostPort(withoutUDP, fmt.Sprint(port)))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(withoutUDP, fmt.Sprint(port)))
	if err != nil {
		t.Fatal(err)
	}
	var forwards sync.WaitGroup
	t.Cleanup(func() {
		hole.Close()
		l.Close()
		forwards.Wait()
	})
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(peer.Notifier)}, Timeout: time.Second}
	forwards.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			forwards.Go(func() {
				defer in.Close()
				out, err := d.Dial("tcp", peer.Loopback(port))
				if err != nil {
					return
				}
				defer out.Close()
				_ = in.SetDeadline(time.Now().Add(5 * time.Second))
				_ = out.SetDeadline(time.Now().Add(5 * time.Second))
				go func() {
					_, _ = io.Copy(out, in)
					out.Close()
				}()
				_, _ = io.Copy(in, out)
			})
		}
	})
}

// Secondaries that take signed NOTIFY only follow a new serial by it at once; one that
// is not signed, or with another key, does nothing, and that is on record. The SOA's
// refresh is ten days, and transfer's own NOTIFY (unsigned) goes to one zone alone.
func TestSignedNotify(t *testing.T) {
	t.Parallel()
	for _, software := range peer.Secondaries() {
		t.Run(software.Name, func(t *testing.T) {
			t.Parallel()
			overTLS := software.Name == "named" || software.Name == "nsd"
			ports := [3]int{peer.Port(t), peer.Port(t), 0}
			if overTLS {
				ports[2] = peer.Port(t)
			}
			loseUDP(t, ports[1])
			p, sources := startNotifier(t, ports)
			var zones []peer.Zone
			for _, s := range sources {
				zones = append(zones, s.Zone)
			}
			secondary := peer.StartNotified(t, software, ports[1], ports[2], ports[0], zones)
			for _, s := range sources {
				holds(t, secondary, s, p.want[s.Origin], 1)
			}
			p.awaitSettled(t, sources)
			for _, s := range sources {
				p.want[s.Origin] = s.write(t, 2)
			}
			began := time.Now()
			for i, s := range sources {
				if notified[i].alg != "" {
					secondary.AwaitSerial(t, s.Origin, 2, 12*time.Second) // a reload, a look at the serial, a transfer; UDP in vain
				}
			}
			t.Logf("%s followed within %v", software.Name, time.Since(began).Round(time.Millisecond))
			for i, s := range sources {
				n := p.awaitNotice(t, s.Origin, 2)
				t.Logf("%s %s: %s %s over %s, %d tries, %s %s", software.Name, s.Origin, n.Action, n.Reason, n.Transport, n.Tries, n.Algorithm, n.Error)
				if notified[i].alg != "" {
					holds(t, secondary, s, p.want[s.Origin], 2)
				}
				judge(t, n, notified[i].alg, overTLS)
				if serial, err := peer.Serial(t.Context(), secondary.Addr(), s.Origin); notified[i].alg == "" && (err != nil || serial != 1) {
					t.Errorf("%s has serial %d of %s (%v), and only a NOTIFY that it must not take can have told it", software.Name, serial, s.Origin, err)
				}
			}
		})
	}
}

// judge checks the event of a NOTIFY that should be taken with that algorithm, or not
// at all.
func judge(t *testing.T, n notice, alg string, overTLS bool) {
	t.Helper()
	if alg == "" {
		if n.Action != "zone-notify-failed" || n.Outcome != "failure" {
			t.Errorf("want a failure: %s", n.Line)
		}
		return
	}
	if n.Action != "zone-notify-accepted" || n.Algorithm != alg || n.Status != "valid" {
		t.Errorf("want a NOTIFY taken and answered with %s: %s", alg, n.Line)
	}
	want := map[string]string{"tcp.test.": "tcp"}[n.Zone]
	if n.Zone == "tls.test." && overTLS {
		want = "tls"
	}
	if n.Transport != cmp.Or(want, "udp") {
		t.Errorf("over %s, want %s: %s", n.Transport, cmp.Or(want, "udp"), n.Line)
	}
}

// awaitSettled waits for the end of the NOTIFYs that a start sends.
func (p *primary) awaitSettled(t *testing.T, sources []*source) {
	t.Helper()
	for i, s := range sources {
		if notified[i].alg != "" {
			p.awaitNotice(t, s.Origin, 1)
		}
	}
}

// startNotifier serves the notified zones; ports are the primary's, the secondary's,
// and the secondary's with TLS, 0 when it has none.
func startNotifier(t *testing.T, ports [3]int) (*primary, []*source) {
	t.Helper()
	dir := t.TempDir()
	p := &primary{want: map[string]rrset.Set{}}
	var b strings.Builder
	var sources []*source
	to := strings.NewReplacer("TLSPORT", fmt.Sprint(ports[2]), "PORT", fmt.Sprint(ports[1]))
	for _, n := range notified {
		if n.origin == "tls.test." && ports[2] == 0 {
			n.notify = "notify 127.0.0.1:PORT key " + n.key.Name
		}
		s := bulk(n.origin, n.key)
		s.path = filepath.Join(dir, s.Origin+"db")
		p.want[s.Origin] = s.write(t, 1)
		sources = append(sources, s)
		whom := "*"
		if n.notify == "" {
			whom = peer.Loopback(ports[1])
		}
		fmt.Fprintf(&b, "%s:%d {\n\tbind 127.0.0.1\n\terrors\n\ttsig {\n\t\tsecret %s %s\n\t\tsecret %s %s\n\t}\n",
			s.Origin, ports[0], sha256Key.Name, sha256Key.Secret, sha512Key.Name, sha512Key.Secret)
		fmt.Fprintf(&b, "\txfrguard {\n\t\tallow net 127.0.0.1 key %s\n\t\t%s\n\t}\n", n.key.Name, to.Replace(n.notify))
		fmt.Fprintf(&b, "\ttransfer {\n\t\tto %s\n\t\tsource %s\n\t}\n\tfile %s {\n\t\treload 500ms\n\t}\n}\n", whom, peer.Notifier, s.path)
	}
	p.CoreDNS = peer.StartCoreDNS(t, coreDNS, ports[0], sources[0].Origin, b.String())
	return p, sources
}
