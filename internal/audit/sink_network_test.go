// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	_ "unsafe"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/policy" // for journalSocket

	syslog "github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/octetcounting"
	"github.com/leodido/go-syslog/v4/rfc5424"
)

// receiver is a syslog server that parses what it gets with a library.
type receiver struct {
	t        testing.TB
	mu       sync.Mutex
	messages []*rfc5424.SyslogMessage
	errs     []error
	conns    []net.Conn
	listener net.Listener
	wg       sync.WaitGroup
	parsers  atomic.Int32
}

func receive(t *testing.T, l net.Listener) *receiver {
	t.Helper()
	r := &receiver{t: t, listener: l}
	r.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.conns = append(r.conns, conn)
			r.mu.Unlock()
			r.parsers.Add(1)
			r.wg.Go(func() {
				defer r.parsers.Add(-1)
				octetcounting.NewParser(syslog.WithListener(r.got)).Parse(conn)
			})
		}
	})
	t.Cleanup(r.stop)
	return r
}

func (r *receiver) got(res *syslog.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if res.Error != nil {
		r.errs = append(r.errs, res.Error)
		return
	}
	m := res.Message.(*rfc5424.SyslogMessage)
	*m.Message = strings.Clone(*m.Message) // the parser uses its buffer again
	r.messages = append(r.messages, m)
}

// hangUp closes all connections, as a server that is restarted does.
func (r *receiver) hangUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.conns = nil
}

func (r *receiver) stop() {
	_ = r.listener.Close()
	audittest.Eventually(r.t, func() bool { r.hangUp(); return r.parsers.Load() == 0 })
	r.wg.Wait()
}

func (r *receiver) lines() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines [][]byte
	for _, m := range r.messages {
		lines = append(lines, []byte(*m.Message))
	}
	return lines
}

func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// syslogTo opens a syslog sink that trusts the test's CA.
func syslogTo(network, address string, ca *x509.CertPool) Opener {
	return func(name string, state func(error)) (Sink, error) {
		s, err := newSyslogSink(name, network, address, state)
		if ca != nil && err == nil {
			s.(*lineSink).out.(*syslogWriter).config = &tls.Config{RootCAs: ca, MinVersion: tls.VersionTLS12}
		}
		return s, err
	}
}

func TestSyslogStreams(t *testing.T) {
	cert, ca := selfSigned(t)
	for _, network := range []string{"tcp", "tls", "unix"} {
		t.Run(network, func(t *testing.T) {
			audittest.NoLeak(t)
			var l net.Listener
			var err error
			switch network {
			case "tls":
				l, err = tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
			case "tcp":
				l, err = net.Listen("tcp", "127.0.0.1:0")
			case "unix":
				l, err = net.Listen("unix", filepath.Join(t.TempDir(), "log"))
			}
			if err != nil {
				t.Fatal(err)
			}
			r := receive(t, l)
			a := recordTo(t, corefile.AuditRefuse, 2*time.Second, map[string]Opener{"syslog": syslogTo(network, l.Addr().String(), ca)})
			const n = 50
			for range n {
				e := allowed()
				if err := a.Decision(t.Context(), e); err != nil {
					t.Fatal(err)
				}
				a.End(ended(e))
			}
			a.Denied(denied("198.51.100.1"))
			audittest.Eventually(t, func() bool { return len(r.lines()) == 2*n+1 })
			r.hangUp() // the server is restarted: the sink connects anew
			audittest.Eventually(t, func() bool { return r.parsers.Load() == 0 })
			audittest.Eventually(t, func() bool { // what a connection took just before it broke may be lost: syslog has no answer
				e := allowed()
				err := a.Decision(t.Context(), e)
				time.Sleep(10 * time.Millisecond)
				lines := r.lines()
				return err == nil && len(lines) > 0 && bytes.Contains(lines[len(lines)-1], []byte(e.ID))
			})
			closeAuditor(t, a)
			audittest.Eventually(t, func() bool { return audittest.Count(t, r.lines(), ActionStop, nil) == 1 })
			lines := r.lines()
			audittest.ValidateEvents(t, lines...)
			if got := audittest.Count(t, lines, ActionDecision, nil); got < n {
				t.Errorf("%d decisions arrived, want at least %d", got, n)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			m := r.messages[0]
			if *m.Facility != syslogFacility || *m.Severity != 6 || *m.Appname != "coredns" || *m.MsgID != "XFR100" || m.Timestamp == nil {
				t.Errorf("header %+v", m)
			}
		})
	}
}

// A server that nobody trusts, one that is not there, and one that does not read.
func TestSyslogFaults(t *testing.T) {
	cert, _ := selfSigned(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	r := receive(t, l)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	for name, spec := range map[string]corefile.Sink{
		"untrusted":   {Network: "tls", Address: l.Addr().String()},
		"not there":   {Network: "tcp", Address: gone.Addr().String()},
		"no such dir": {Network: "unix", Address: filepath.Join(t.TempDir(), "missing")},
	} {
		a := recordTo(t, corefile.AuditRefuse, 2*time.Second, map[string]Opener{"syslog": syslogTo(spec.Network, spec.Address, nil)})
		if err := a.Decision(t.Context(), allowed()); err == nil {
			t.Errorf("%s: no error", name)
		}
		_ = a.Close()
	}
	if len(r.lines()) != 0 {
		t.Error("an untrusted server got events")
	}
	if _, err := newSyslogSink("syslog", "udp", "127.0.0.1:514", up); err == nil {
		t.Error("syslog over UDP loses events without a word: it must be refused")
	}
}

func TestSyslogServerThatDoesNotRead(t *testing.T) {
	audittest.NoLeak(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a := recordTo(t, corefile.AuditRefuse, 100*time.Millisecond, map[string]Opener{"syslog": syslogTo("tcp", l.Addr().String(), nil)})
	start := time.Now()
	for a.Decision(t.Context(), allowed()) == nil {
		if time.Since(start) > 15*time.Second {
			t.Skip("this kernel buffers too much")
		}
		for range 200 {
			a.End(ended(allowed()))
		}
	}
	begin := time.Now()
	if err := a.Decision(t.Context(), allowed()); err == nil || time.Since(begin) > time.Second {
		t.Errorf("%v after %s", err, time.Since(begin))
	}
	_ = a.Close()
}

// Datagrams to the local socket are one message each.
func TestSyslogDatagrams(t *testing.T) {
	audittest.NoLeak(t)
	path := filepath.Join(t.TempDir(), "log")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s, err := syslogTo("unix", path, nil)("syslog", up)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), allowedEvent()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 8192)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	m, err := rfc5424.NewParser().Parse(buf[:n])
	if err != nil {
		t.Fatalf("%v: %s", err, buf[:n])
	}
	audittest.ValidateEvents(t, []byte(*m.(*rfc5424.SyslogMessage).Message))
	_ = s.Close()
}

func allowedEvent() []byte {
	e := allowed()
	e.ID = NewID()
	Stamp(e)
	return e.Encode()
}

// journalSocket is where the library looks for journald.
//
//go:linkname journalSocket github.com/coreos/go-systemd/v22/journal.journalSocket
var journalSocket string

func TestJournald(t *testing.T) {
	audittest.NoLeak(t)
	saved := journalSocket
	defer func() { journalSocket = saved }()
	journalSocket = filepath.Join(t.TempDir(), "missing")
	if _, err := newJournalSink("journald", up); err == nil {
		t.Error("no journald, no error")
	}
	journalSocket = filepath.Join(t.TempDir(), "socket")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: journalSocket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s, err := newJournalSink("journald", up)
	if err != nil {
		t.Fatal(err)
	}
	e := denied("198.51.100.1")
	e.QueryName = "evil\nPRIORITY=0\n.example.org."
	e.ID = NewID()
	Stamp(e)
	if err := s.Append(t.Context(), e.Encode()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16384)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(buf[:n])) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if _, twice := fields[name]; twice {
			t.Errorf("field %s twice", name)
		}
		fields[name] = value
	}
	audittest.ValidateEvents(t, []byte(fields["MESSAGE"]))
	for name, want := range map[string]string{
		"PRIORITY": "4", "SYSLOG_IDENTIFIER": "xfrguard", "XFR_CODE": "XFR100", "XFR_CLIENT_IP": "198.51.100.1",
		"XFR_REASON": string(policy.ReasonTSIGBadSignature), "XFR_QUERY_NAME": "evil PRIORITY=0 .example.org.", "XFR_SEQUENCE": "1",
	} {
		if fields[name] != want {
			t.Errorf("%s=%q, want %q", name, fields[name], want)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if bytes.Contains(buf[:n], []byte("\nPRIORITY=0")) {
		t.Error("a client made a journal field")
	}
}
