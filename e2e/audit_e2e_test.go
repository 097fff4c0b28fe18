// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/trail"
	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

// wireSink is the name under which TestAuditFaultsOnTheWire puts its own sink.
const wireSink = "unix /faulty"

// serveWith starts a server whose only sink writes to the one given.
func serveWith(t *testing.T, s *audittest.FaultyWriter, failure corefile.AuditFailure) *xfrtest.Server {
	t.Helper()
	name := corefile.Sink{Kind: "syslog", Network: "unix", Address: "/faulty"}.Name()
	_, release, err := audit.SinkPool.Acquire(name,
		func() (*audit.WatchedSink, error) {
			return audit.WatchSink(name, audit.ToLines(s.Write), audit.DefaultDeadline, audit.TellOthers)
		}, (*audit.WatchedSink).Close)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := release(); err != nil {
			t.Error(err)
		}
	})
	corefile := xfrtest.Guarded(xfrtest.UnsignedRule+"\n\t\taudit_failure "+string(failure), "")
	return xfrtest.Serve(t, strings.Replace(corefile, "audit file DIR/audit.log", "audit syslog "+wireSink, 1), map[string]string{"db": xfrtest.ZoneOrg})
}

// Whatever befalls the only sink: with refuse a client gets SERVFAIL and nothing
// else, with serve it gets the zone and the gap is told; ordinary queries go on.
func TestAuditFaultsOnTheWire(t *testing.T) {
	faults := map[string]func([]byte) error{
		"ENOSPC":      func([]byte) error { return &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC} },
		"EIO":         func([]byte) error { return &os.PathError{Op: "sync", Path: "x", Err: syscall.EIO} },
		"EPIPE":       func([]byte) error { return fmt.Errorf("write: %w", syscall.EPIPE) },
		"short write": func([]byte) error { return io.ErrShortWrite },
		"panic":       func([]byte) error { panic("disk on fire") },
		"hang":        nil,
	}
	for _, name := range audittest.SortedKeys(faults) {
		for _, failure := range []corefile.AuditFailure{corefile.AuditRefuse, corefile.AuditServe} {
			t.Run(name+"/"+string(failure), func(t *testing.T) { faultOnTheWire(t, name, faults[name], failure) })
		}
	}
}

func faultOnTheWire(t *testing.T, name string, fault func([]byte) error, failure corefile.AuditFailure) {
	audittest.NoLeak(t)
	sink := &audittest.FaultyWriter{}
	s := serveWith(t, sink, failure)
	var hang chan struct{}
	if name == "hang" {
		hang = make(chan struct{})
	}
	sink.Set(hang, fault)
	const n = 3
	for i := range n {
		start := time.Now()
		got := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)))
		refused := got.Rcode == dns.RcodeServerFailure && len(got.Answer) == 0
		served := got.Rcode == dns.RcodeSuccess && len(got.Answer) == 6
		if failure == corefile.AuditRefuse && !refused || failure == corefile.AuditServe && !served {
			t.Errorf("request %d: %v", i, got)
		}
		if took := time.Since(start); took > audit.DefaultDeadline+time.Second || i > 0 && took > time.Second {
			t.Errorf("request %d was answered after %s", i, took)
		}
		www := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
		if m := xfrtest.Ask1(t, "udp", s.Addr(t, "udp", 0), "", xfrtest.Packed(t, www)); len(m.Answer) != 1 {
			t.Errorf("an ordinary query got %v", m)
		}
	}
	if hang != nil {
		close(hang)
	}
	sink.Set(nil, nil)
	awaitGap(t, sink, n)
	if got := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))); len(got.Answer) != 6 {
		t.Errorf("the sink is back, and a transfer got %v", got)
	}
	audittest.ValidateEvents(t, sink.Take()...)
}

// awaitGap waits until the gap events of the sink tell of so many lost allow decisions.
func awaitGap(t *testing.T, s *audittest.FaultyWriter, allowed int64) {
	t.Helper()
	var told int64
	for range 1000 {
		told = 0
		audittest.Count(t, s.Take(), audit.ActionGap, func(m map[string]any) { told += audittest.Number(m[audit.ExtraLostAllowed]) })
		if told == allowed {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("the gap events tell of %d lost allow decisions, want %d", told, allowed)
}

// Reloads more often than ten times a second, under load: one sequence, every transfer with its end,
// and no goroutine left. (Thirty seconds of it, from outside: interop.)
func TestAuditReloadLeavesNothing(t *testing.T) {
	audittest.NoLeak(t)
	path := filepath.Join(t.TempDir(), "audit.log")
	corefile := strings.Replace(xfrtest.Guarded("allow as all net 127.0.0.0/8 unsigned\n\t\trate 1000000/1s burst 1000000", ""), "DIR/audit.log", path, 1)
	t.Run("storm", func(t *testing.T) { reloadStorm(t, corefile) })
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := audittest.SplitLines(b)
	audittest.ValidateEvents(t, lines...)
	ids := map[any]int{}
	for i, l := range lines {
		m := audittest.Members(t, l)
		if audittest.Number(m["event.sequence"]) != int64(i+1) {
			t.Fatalf("line %d has sequence %v", i+1, m["event.sequence"])
		}
		switch m["event.action"] {
		case string(audit.ActionDecision):
			// The first reload moves the listener from port 0, so that what is waiting for
			// the zone then is refused.
			if m["event.outcome"] == "success" {
				ids[m["coredns.xfr.id"]]++
			}
		case string(audit.ActionEnd):
			ids[m["coredns.xfr.id"]]--
		}
	}
	for id, n := range ids {
		if n != 0 {
			t.Errorf("id %v is not a pair", id)
		}
	}
	r, err := trail.Verify([]trail.Source{trail.FileSource(path)}, trail.VerifyOptions{})
	if err != nil || !r.OK() || len(r.Findings) > 0 {
		t.Errorf("%v %v", err, r.Findings)
	}
	t.Logf("%d reloads, %d transfers, %d lines", audittest.Count(t, lines, audit.ActionReload, nil), len(ids), len(lines))
}

func reloadStorm(t *testing.T, corefile string) {
	s := xfrtest.Serve(t, corefile, map[string]string{"db": xfrtest.ZoneOrg})
	addr := s.Addr(t, "tcp", 0)
	// Port 0 would be another one after each reload.
	_, port, _ := strings.Cut(addr, ":")
	corefile = strings.Replace(corefile, "example.org:0", "example.org:"+port, 1)
	// A server that is stopped before its goroutines have begun to serve goes on for ever
	// (miekg/dns says that it was not started): wait for both.
	serving := func() {
		www := xfrtest.Packed(t, new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA))
		xfrtest.Ask1(t, "udp", s.Addr(t, "udp", 0), "", www)
		xfrtest.Ask1(t, "tcp", addr, "", www)
	}
	serving()
	var transfers atomic.Int64
	quit := make(chan struct{})
	var clients sync.WaitGroup
	for range 3 {
		clients.Go(func() {
			for {
				select {
				case <-quit:
					return
				default:
					if rrs, err := xfrtest.TransferIn(t, addr, xfrtest.Question(dns.TypeAXFR), "", ""); err == nil && len(rrs) == 6 {
						transfers.Add(1)
					}
				}
			}
		})
	}
	for start := time.Now(); time.Since(start) < 3*time.Second; time.Sleep(25 * time.Millisecond) {
		if err := s.Reload(corefile); err != nil {
			t.Error(err)
			break
		}
		serving()
	}
	close(quit)
	clients.Wait()
	if transfers.Load() == 0 {
		t.Error("no transfer came through")
	}
}
