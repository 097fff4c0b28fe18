// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/evidence"
	"github.com/xfrguard/xfrguard/internal/evidence/catest"
	"github.com/xfrguard/xfrguard/internal/limit"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// tight connects from an address as a client that takes next to nothing without reading:
// its buffer is as small as can be, and so are its segments unless they are to be large,
// for which the server's kernel takes much more than the client does.
func tight(t *testing.T, from, addr string, large bool) net.Conn {
	t.Helper()
	d := net.Dialer{
		LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)},
		Timeout:   5 * time.Second,
		Control: func(_, _ string, c syscall.RawConn) (err error) {
			cerr := c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1)
				if !large {
					err = errors.Join(err, unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 536))
				}
			})
			return errors.Join(cerr, err)
		},
	}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// unreadWay is a way to a server for a client that does not read.
type unreadWay struct {
	name    string
	scheme  string
	proxied bool
}

var unreading = []unreadWay{{"tcp", "dns", false}, {"tls", "tls", false}, {"tcp behind a proxy", "dns", true}, {"tls behind a proxy", "tls", true}}

// unread runs f with a server of the rules and a client of 127.0.0.2 that comes that way
// and has not read anything yet.
func unread(t *testing.T, way *unreadWay, rules, db string, f func(t *testing.T, s *xfrtest.Server, c net.Conn, block func(rules string) string)) {
	t.Helper()
	block := func(rules string) string {
		extra := ""
		if way.proxied {
			extra = "proxyproto {\n\t\tallow 127.0.0.0/8\n\t}"
		}
		b := xfrtest.XoTBlock(rules, "", extra)
		if way.scheme == "tls" { // proxyproto is of the first listener alone
			b = strings.Replace(b, "dns://example.org:0 tls://example.org:0", "tls://example.org:0 dns://example.org:0", 1)
		}
		return b
	}
	files := xfrtest.XoTFiles(t, catest.New(t))
	files["db"] = db
	s := xfrtest.Serve(t, block(rules), files)
	c := tight(t, "127.0.0.2", s.ListenerAddr(t, way.scheme), db != xfrtest.ZoneOrg)
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	if way.proxied {
		if _, err := io.WriteString(c, "PROXY TCP4 127.0.0.2 127.0.0.1 4711 53\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	if way.scheme == "tls" {
		secure := tls.Client(c, xfrtest.ClientTLS("dot"))
		if err := secure.Handshake(); err != nil {
			t.Fatal(err)
		}
		c = secure
	}
	f(t, s, c, block)
}

// eachUnreading is unread for every way.
func eachUnreading(t *testing.T, rules, db string, f func(t *testing.T, s *xfrtest.Server, c net.Conn, block func(rules string) string)) {
	t.Helper()
	for i := range unreading {
		t.Run(unreading[i].name, func(t *testing.T) { unread(t, &unreading[i], rules, db, f) })
	}
}

// pour writes the query again and again, until the connection breaks or is closed at the
// end of the test: a server that writes answers nobody reads reads no queries either.
// It says how that ended.
func pour(c net.Conn, query []byte) (end chan error) {
	end = make(chan error, 1)
	framed := append([]byte{byte(len(query) >> 8), byte(len(query))}, query...)
	batch := bytes.Repeat(framed, 50)
	go func() {
		for {
			if _, err := c.Write(batch); err != nil {
				end <- err
				return
			}
		}
	}()
	return end
}

// held is how many places the limiter has given away.
func held() int { return limit.OfProcess.Held() }

// untilTrue waits until it is true, but no longer than that.
func untilTrue(t *testing.T, atMost time.Duration, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(atMost); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", atMost, what)
		}
	}
}

// wantReset reads what there is, and fails if the end is a regular one. Who writes gets to
// know of it instead, if somebody does.
func wantReset(t *testing.T, c net.Conn, writes chan error, less int64) {
	t.Helper()
	n, err := io.Copy(io.Discard, c)
	if writes != nil {
		err = errors.Join(err, <-writes)
	}
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("after %d octets the connection ends with %v", n, err)
	}
	if n >= less {
		t.Errorf("%d octets came, of %d", n, less)
	}
}

// endOf returns the first end event of that reason, once it is on record.
func endOf(t *testing.T, s *xfrtest.Server, atMost time.Duration, reason string) (end map[string]any) {
	t.Helper()
	untilTrue(t, atMost, "an end with "+reason, func() bool {
		for _, e := range xfrtest.TransferEvents(t, filepath.Join(s.Dir, "audit.log")) {
			if e["event.action"] == "zone-transfer-end" && e["event.reason"] == reason {
				end = e
			}
		}
		return end != nil
	})
	return end
}

const (
	forSlow   = "allow as slow net 127.0.0.2 unsigned"
	impatient = "\n\t\ttimeout 1h stall 500ms"
)

// TestUnreadSOAs: a client that is up to date, asks all the time and reads no answer,
// loses its connection and keeps no place.
func TestUnreadSOAs(t *testing.T) {
	eachUnreading(t, forSlow+impatient, xfrtest.ZoneOrg, func(t *testing.T, s *xfrtest.Server, c net.Conn, _ func(string) string) {
		end := pour(c, xfrtest.Packed(t, xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(7))))
		endOf(t, s, 30*time.Second, "write-timeout")
		untilTrue(t, 5*time.Second, "its place is free", func() bool { return held() == 0 })
		wantReset(t, c, end, 1<<20)
	})
}

// TestUnreadRefusals: nor does one that reads no refusals, whatever they are for: they are
// written when the place is free.
func TestUnreadRefusals(t *testing.T) {
	for i, tt := range []struct{ name, rules string }{
		{"a stranger", "allow as other net 127.0.0.3 unsigned" + impatient},
		{"a key needed", "allow as slow net 127.0.0.2 key a.example.net." + impatient},
		{"over the rate", forSlow + " rate 1/1h" + impatient},
		{"not this type", "allow as slow type IXFR net 127.0.0.2 unsigned" + impatient},
	} {
		t.Run(tt.name, func(t *testing.T) {
			unread(t, &unreading[i], tt.rules, xfrtest.ZoneOrg, func(t *testing.T, _ *xfrtest.Server, c net.Conn, _ func(string) string) {
				pour(c, xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)))
				untilTrue(t, 30*time.Second, "the connection is cut", func() bool { return !alive(c) })
				if n := held(); n != 0 {
					t.Errorf("%d places are held", n)
				}
			})
		})
	}
}

// placeWriter notes how many places are held when an answer is written.
type placeWriter struct {
	dns.ResponseWriter
	held int
}

func (w *placeWriter) WriteMsg(m *dns.Msg) error {
	w.held = held()
	return w.ResponseWriter.WriteMsg(m)
}

// TestRefusalKeepsNoPlace: what is refused when it has a place already, such as a whole
// zone to who may have differences only, gives it back before the refusal is written.
func TestRefusalKeepsNoPlace(t *testing.T) {
	xfrtest.Serve(t, xfrtest.Guarded("allow as one type IXFR net 127.0.0.1 unsigned", ""), map[string]string{"db": xfrtest.ZoneOrg})
	ctx, c := xfrtest.LateRequest(t, "127.0.0.1")
	w := &placeWriter{ResponseWriter: c.ResponseWriter, held: -1}
	if _, err := latestInstance().sorted()[0].answer(ctx, w, xfrtest.Question(dns.TypeIXFR)); err != nil {
		t.Fatal(err)
	}
	if m := c.Got(t); m == nil || m.Rcode != dns.RcodeRefused || w.held != 0 {
		t.Errorf("%d places were held while this was written: %v", w.held, m)
	}
}

// alive reports whether the connection is open, without reading from it.
func alive(c net.Conn) bool {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return false
	}
	open := false
	_ = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		open = err == nil && info.State == 1 // TCP_ESTABLISHED
	})
	return open
}

// TestUnreadZone: the kernel takes all of a zone, the client nothing. It has not got it.
func TestUnreadZone(t *testing.T) {
	db := xfrtest.ZoneOfTexts(1000, 80)
	eachUnreading(t, forSlow+impatient, db, func(t *testing.T, s *xfrtest.Server, c net.Conn, _ func(string) string) {
		if _, err := (&dns.Conn{Conn: c}).Write(xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))); err != nil {
			t.Fatal(err)
		}
		e := endOf(t, s, 30*time.Second, "write-timeout")
		sent, _ := e["server.bytes"].(float64)
		acked, known := e["coredns.xfr.bytes_acked"].(float64)
		if e["coredns.xfr.complete"] != false || sent < 80_000 || !known || acked > sent-64<<10 {
			t.Errorf("on record: %v", e)
		}
		untilTrue(t, 5*time.Second, "its place is free", func() bool { return held() == 0 })
		wantReset(t, c, nil, int64(sent))
	})
}

// TestUnreadRest: so little is left that the place is free at once, and the record says
// how much of it has arrived.
func TestUnreadRest(t *testing.T) {
	db := xfrtest.ZoneOfTexts(400, 80)
	eachUnreading(t, forSlow+"\n\t\ttimeout 1h stall 1m", db, func(t *testing.T, s *xfrtest.Server, c net.Conn, _ func(string) string) {
		begin := time.Now()
		if _, err := (&dns.Conn{Conn: c}).Write(xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))); err != nil {
			t.Fatal(err)
		}
		e := endOf(t, s, 20*time.Second, "complete")
		sent, _ := e["server.bytes"].(float64)
		acked, known := e["coredns.xfr.bytes_acked"].(float64)
		if !known || acked >= sent || sent > 64<<10 {
			t.Errorf("on record: %v", e)
		}
		if took := time.Since(begin); took < confirmation {
			t.Errorf("the end is on record after %v", took)
		}
		if d, _ := e["event.duration"].(float64); time.Duration(d) >= confirmation {
			t.Errorf("its place was held for %v", time.Duration(d))
		}
	})
}

// TestRevocationReachesEveryHolder: one that waits for a client to take a single message,
// the rest of a zone that the kernel has taken, or a large one. What is in the kernel is
// dropped, whatever wraps the connection.
func TestRevocationReachesEveryHolder(t *testing.T) {
	patient := "\n\t\ttimeout 1h stall 1h"
	for _, tt := range []struct {
		name, db string
		query    *dns.Msg
		pour     bool
	}{
		{"a single message", xfrtest.ZoneOrg, xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(7)), true},
		{"a small zone", xfrtest.ZoneOfTexts(1000, 80), xfrtest.Question(dns.TypeAXFR), false},
		{"a large zone", xfrtest.ZoneOfTexts(20_000, 240), xfrtest.Question(dns.TypeAXFR), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachUnreading(t, forSlow+patient, tt.db, func(t *testing.T, s *xfrtest.Server, c net.Conn, block func(string) string) {
				q := xfrtest.Packed(t, tt.query)
				var end chan error
				if tt.pour {
					end = pour(c, q)
				} else if _, err := (&dns.Conn{Conn: c}).Write(q); err != nil {
					t.Fatal(err)
				}
				blocked(t)
				if err := s.Reload(block("allow as good net 127.0.0.3 unsigned" + patient)); err != nil {
					t.Fatal(err)
				}
				endOf(t, s, 30*time.Second, "policy-revoked")
				wantReset(t, c, end, 1<<20)
				// The old instance's audit log ends before the directory does.
				untilTrue(t, 30*time.Second, "the old instance is gone", func() bool {
					live.Lock()
					defer live.Unlock()
					return len(live.instances) == 1
				})
			})
		})
	}
}

// blocked waits until one request has held its place for a while, and nothing moves.
func blocked(t *testing.T) {
	t.Helper()
	var last *underWay
	since := time.Now()
	untilTrue(t, 30*time.Second, "a request that is stuck", func() bool {
		transfers.mu.Lock()
		defer transfers.mu.Unlock()
		for u := range transfers.running {
			if u == last {
				return time.Since(since) > 500*time.Millisecond
			}
			last, since = u, time.Now()
		}
		return false
	})
}

// TestLateAnswer: a request that has waited for longer than a transfer may take still gets
// its answer, which takes a moment to sign and to write.
func TestLateAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client := tight(t, "127.0.0.2", l.Addr().String(), true)
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	x := &exchange{
		Evidence: &evidence.Evidence{Req: policy.Request{Now: time.Now().Add(-5 * time.Second)}},
		cfg:      &corefile.Config{Limits: policy.Limits{Timeout: 4 * time.Second, Stall: 2 * time.Second}},
		conn:     server,
	}
	err = x.within(t.Context(), func() error {
		time.Sleep(20 * time.Millisecond)
		_, err := server.Write([]byte("answer"))
		return err //nolint:wrapcheck // as it is
	})
	b := make([]byte, 6)
	if n, rerr := io.ReadFull(client, b); err != nil || rerr != nil {
		t.Errorf("%q came: %v, %v", b[:n], err, rerr)
	}
}
