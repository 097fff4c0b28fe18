// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/zonegen"
)

// xotSecondary pulls the zone over TLS as the machine of that name, with the
// certificate and the CA that it finds on disk each time it connects.
type xotSecondary struct {
	dir    string // of ca.pem, NAME.pem and NAME.key
	name   string // of its certificate
	source string // its address
	server string // HOST:PORT
}

// config reads what is on disk now.
func (s xotSecondary) config() (*tls.Config, error) {
	ca, err := os.ReadFile(filepath.Join(s.dir, "ca.pem"))
	if err != nil {
		return nil, err
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(s.dir, s.name+".pem"), filepath.Join(s.dir, s.name+".key"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("no CA in ca.pem")
	}
	return &tls.Config{
		RootCAs: roots, Certificates: []tls.Certificate{cert},
		ServerName: "ns1.example.org", NextProtos: []string{"dot"}, MinVersion: tls.VersionTLS13,
	}, nil
}

// errUnasked is a connection that ended before the primary can have read the request.
var errUnasked = errors.New("closed before the first answer")

// pull gets the zone over a connection of its own, and returns the serial number of the
// primary's certificate.
func (s xotSecondary) pull(c *tls.Config) (serial string, err error) {
	d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(s.source)}}
	raw, err := d.Dial("tcp", s.server)
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(60 * time.Second))
	conn := tls.Client(raw, c)
	if err := conn.Handshake(); err != nil {
		return "", fmt.Errorf("handshake: %w: %w", errUnasked, err)
	}
	serial = conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	if err := (&dns.Conn{Conn: conn}).WriteMsg(new(dns.Msg).SetAxfr(xotZone)); err != nil {
		return serial, fmt.Errorf("ask: %w: %w", errUnasked, err)
	}
	frame := make([]byte, 2+dns.MaxMsgSize)
	if _, err := io.ReadFull(conn, frame[:1]); err != nil {
		return serial, fmt.Errorf("first answer: %w: %w", errUnasked, err)
	}
	from := 1
	for records := 0; records < xotRecords+1; {
		if _, err := io.ReadFull(conn, frame[from:2]); err != nil {
			return serial, fmt.Errorf("after %d records: %w", records, err)
		}
		from = 0
		m := frame[2 : 2+binary.BigEndian.Uint16(frame)]
		if _, err := io.ReadFull(conn, m); err != nil {
			return serial, fmt.Errorf("after %d records: %w", records, err)
		}
		if m[3]&15 != dns.RcodeSuccess {
			return serial, fmt.Errorf("%s after %d records", dns.RcodeToString[int(m[3]&15)], records)
		}
		records += int(binary.BigEndian.Uint16(m[6:]))
	}
	return serial, nil
}

// xotLoad is secondaries that pull over and over.
type xotLoad struct {
	quit   chan struct{}
	wg     sync.WaitGroup
	mu     sync.Mutex
	whole  int
	newest map[string]string // serial of the certificate last seen, by secondary
	again  int               // connections that ended unasked, and whose next one got the zone
	failed []error
}

func startXoTLoad(secondaries ...xotSecondary) *xotLoad {
	l := &xotLoad{quit: make(chan struct{}), newest: map[string]string{}}
	for _, s := range secondaries {
		l.wg.Go(func() { l.run(s) })
	}
	return l
}

func (l *xotLoad) run(s xotSecondary) {
	unasked := 0
	for {
		if c, err := s.config(); err == nil { // key and certificate are two files: not while one is new
			serial, err := s.pull(c)
			l.mu.Lock()
			switch {
			case errors.Is(err, errUnasked) && unasked == 0:
				unasked++
			case err != nil:
				l.failed = append(l.failed, fmt.Errorf("%s: %w", s.name, err))
			default:
				l.whole++
				l.again += unasked
				unasked = 0
				l.newest[s.name] = serial
			}
			l.mu.Unlock()
		}
		select {
		case <-l.quit:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// more waits until n more zones have come over.
func (l *xotLoad) more(t *testing.T, n int) {
	t.Helper()
	whole := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.whole
	}
	want := whole() + n
	eventually(t, fmt.Sprintf("%d more transfers", n), func() error {
		if have := whole(); have < want {
			return fmt.Errorf("%d of %d", have, want)
		}
		return nil
	})
}

// rotation is a CoreDNS whose certificates change while it serves.
type rotation struct {
	*peer.CoreDNS
	dir     string
	blocks  xotBlocks
	reloads int
}

// run runs the lines of the document with that name, which end with a reload, and
// waits for its end.
func (r *rotation) run(t *testing.T, block string) {
	t.Helper()
	shellIn(t, r.dir, strings.ReplaceAll(r.blocks.take(t, block), "$(pidof coredns)", fmt.Sprint(r.PID())))
	r.reloaded(t, "Reloading complete")
}

func (r *rotation) reloaded(t *testing.T, says string) {
	t.Helper()
	r.reloads++
	eventually(t, fmt.Sprintf("reload %d", r.reloads), func() error {
		n := 0
		for _, line := range append(r.Stdout.Lines(), r.Stderr.Lines()...) {
			if strings.Contains(line, "Reloading complete") || strings.Contains(line, "could not load TLS cert") {
				n++
			}
		}
		if n < r.reloads {
			return fmt.Errorf("%d reloads", n)
		}
		return nil
	})
	if all := strings.Join(append(r.Stdout.Lines(), r.Stderr.Lines()...), "\n"); !strings.Contains(all, says) {
		t.Fatalf("CoreDNS does not say %q", says)
	}
}

// Certificates and CA change as docs/XOT.md says, while secondaries keep pulling: no
// transfer fails, what began before a reload ends whole, and afterwards only the new
// ones count: also for a transfer under way when the old CA goes.
func TestXoTRotation(t *testing.T) {
	t.Parallel()
	if !guarded {
		t.Skip("stock CoreDNS")
	}
	r, port, paced := startRotation(t)
	machine := func(name, address string) xotSecondary {
		return xotSecondary{dir: r.dir, name: name, source: xotAddress(address), server: peer.Loopback(port)}
	}
	load := startXoTLoad(machine("ns2.example.net", ns2), machine("ns3.example.net", ns3))
	load.more(t, 10)
	slow, began := machine("ns4.example.net", ns4), make(chan error, 1)
	slow.server = peer.Loopback(paced)
	old, err := slow.config()
	if err != nil {
		t.Fatal(err)
	}
	begin := func(n int) {
		go func() {
			_, err := slow.pull(old)
			began <- err
		}()
		eventually(t, "the slow transfer to begin", func() error {
			if r.slowOnRecord(peer.ActionDecision) < n {
				return errors.New("not yet")
			}
			return nil
		})
	}
	begin(1)
	before := certificateSerial(t, filepath.Join(r.dir, "ns1.example.org.pem"))
	for step := 1; step <= 2; step++ {
		r.run(t, fmt.Sprintf("sh rotate %d", step))
		load.more(t, 10)
	}
	r.brokenReload(t)
	load.more(t, 10)
	if r.slowOnRecord(peer.ActionEnd) > 0 {
		t.Error("the slow transfer was over before the reloads were: this shows nothing")
	}
	if err := <-began; err != nil {
		t.Errorf("the transfer that began before the reloads: %v", err)
	}
	old.RootCAs = nil
	old.InsecureSkipVerify = true // it trusts the old CA only; here it is the primary that must not trust it
	begin(2)                      // it has an old certificate when the old CA goes
	r.run(t, "sh rotate 3")
	if err := <-began; err == nil {
		t.Error("a transfer with a certificate of a CA that no longer counts goes on")
	}
	load.more(t, 10)
	close(load.quit)
	load.wg.Wait()
	r.nothingLost(t, load)

	want := certificateSerial(t, filepath.Join(r.dir, "ns1.example.org.pem"))
	for name, got := range load.newest {
		if got != want || got == before {
			t.Errorf("%s last saw the primary's certificate %s, want the new one, %s (the old one is %s)", name, got, want, before)
		}
	}
	if _, err := slow.pull(old); err == nil {
		t.Error("a certificate of the old CA still gets the zone")
	}
}

// slowOnRecord counts the events of ns4, the slow one.
func (r *rotation) slowOnRecord(action string) int {
	n := 0
	for _, line := range r.Stdout.Lines() {
		if strings.Contains(line, `"tls.client.subject":"CN=ns4.example.net"`) && strings.Contains(line, fmt.Sprintf("%q:%q", "event.action", action)) {
			n++
		}
	}
	return n
}

// brokenReload reloads with a key that is not the certificate's, which must change nothing.
func (r *rotation) brokenReload(t *testing.T) {
	t.Helper()
	shellIn(t, r.dir, fmt.Sprintf(`cp ns1.example.org.key right.key
cp ns2.example.net.key wrong.key
mv wrong.key ns1.example.org.key
kill -USR1 %d`, r.PID()))
	r.reloaded(t, "could not load TLS cert")
	shellIn(t, r.dir, "mv right.key ns1.example.org.key")
}

// nothingLost checks that every request that the guard has seen was answered with the
// whole zone. CoreDNS closes a connection at a reload that it has accepted and on which
// nobody has asked yet, at most one for each secondary and reload here; such a
// secondary must get the zone when it connects again.
func (r *rotation) nothingLost(t *testing.T, load *xotLoad) {
	t.Helper()
	for _, err := range load.failed {
		t.Errorf("a transfer failed: %v", err)
	}
	pairs := (&primary{CoreDNS: r.CoreDNS}).pairs(t)
	revoked := 0
	for _, pair := range pairs {
		switch end := pair[1]; {
		case end.Reason == "policy-revoked":
			revoked++
		case !end.Complete || end.Records != xotRecords+1:
			t.Errorf("not whole: %s", end.Line)
		}
	}
	if pairs = pairs[:len(pairs)-revoked]; revoked != 1 {
		t.Errorf("%d transfers were revoked, want the one with the old certificate", revoked)
	}
	if len(pairs) != load.whole+1 { // and the slow one
		t.Errorf("%d transfers on record, %d came over", len(pairs), load.whole+1)
	}
	t.Logf("%d whole transfers, %d reloads, %d connections closed unasked", load.whole, r.reloads, load.again)
	if limit := len(load.newest) * r.reloads; load.again > limit {
		t.Errorf("%d connections closed before they could ask, want at most %d", load.again, limit)
	}
}

// startRotation serves the zone by the document's mutual recipe at port, and again at
// paced, where a transfer takes 48 s: longer than all reloads, and than the five seconds
// that CoreDNS waits when it stops.
func startRotation(t *testing.T) (r *rotation, port, paced int) {
	t.Helper()
	blocks := readXOT(t)
	dir, pins := xotCertificates(t, blocks)
	db := filepath.Join(dir, "db.example.org")
	peer.WriteFile(t, db, zonegen.Bulk(xotZone, 1, xotRecords))
	plain := peer.Port(t)
	port, paced = peer.Port(t), peer.Port(t)
	block := strings.Replace(blocks.take(t, "corefile mutual"), "xfrguard {\n", "xfrguard {\n        rate 1000000/1s burst 1000000\n", 1)
	slow := strings.Replace(block, " burst 1000000\n", " burst 1000000\n        bandwidth 64KiB\n", 1)
	r = &rotation{dir: dir, blocks: blocks}
	r.CoreDNS = startGuarded(t, plain, xotZone,
		placeCorefile(t, block, dir, port, pins)+placeCorefile(t, slow, dir, paced, pins)+
			fmt.Sprintf("example.org:%d {\n    bind 127.0.0.1\n    file %s\n}\n", plain, db))
	return r, port, paced
}

func certificateSerial(t *testing.T, path string) string {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(path, strings.TrimSuffix(path, ".pem")+".key")
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf.SerialNumber.String()
}
