// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// TestRestartsAtOnce: two restarts of one instance at once, as the reload plugin and a
// signal begin them, while a transfer keeps the first one from its end: the second gives
// up, touches nothing, and the guard serves on.
func TestRestartsAtOnce(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded(xfrtest.UnsignedRule, ""), map[string]string{"db": xfrtest.SlowZone()})
	slow, records := xfrtest.SlowTransfer(t, s, dns.TypeAXFR)
	old := latestInstance()
	s.AwaitServing()
	inst := s.Inst
	first := make(chan error, 1)
	go func() {
		next, err := inst.Restart(s.Input(xfrtest.Guarded("allow as two net 127.0.0.0/8 unsigned", "")))
		s.Inst = next
		first <- err
	}()
	audittest.Eventually(t, func() bool { return restarts.holder() == old })
	if _, err := inst.Restart(s.Input(xfrtest.Guarded("allow as three net 127.0.0.0/8 unsigned", ""))); err == nil {
		t.Error("the second restart of a replaced instance succeeds")
	}
	const whole = xfrtest.SlowHosts + 6
	if records = xfrtest.Rest(slow, records, whole); records != whole {
		t.Errorf("the transfer under way ended after %d of %d records", records, whole)
	}
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	wantAnyZone(t, s)
	s.WantLifecycle(t, "policy-load", "policy-reload")
	if restarts.holder() != nil {
		t.Error("the lock is still held")
	}
}

// TestRestartsTakeTurns: where the restart that another one waits for fails, the other
// goes on.
func TestRestartsTakeTurns(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded(xfrtest.UnsignedRule, ""), map[string]string{"db": xfrtest.ZoneOrg})
	breaks.Lock()
	breaks.began, breaks.wait = make(chan struct{}), make(chan struct{})
	began, wait := breaks.began, breaks.wait
	breaks.Unlock()
	s.AwaitServing()
	inst := s.Inst
	first := make(chan error, 1)
	go func() {
		_, err := inst.Restart(s.Input(xfrtest.Guarded(xfrtest.UnsignedRule, "breaks wait") + xfrtest.CannotListen(t)))
		first <- err
	}()
	<-began
	second := make(chan error, 1)
	go func() { second <- s.Reload(xfrtest.Guarded(xfrtest.UnsignedRule, "")) }()
	select {
	case err := <-second:
		t.Fatalf("the second restart does not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(wait)
	if err := <-first; err == nil {
		t.Fatal("the first reload does not fail")
	}
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	wantAnyZone(t, s)
	s.WantLifecycle(t, "policy-load", "policy-reload-failed listen", "policy-reload")
}

// TestRestartThatNeverBegan: a plugin before the guard may fail a second restart of an
// instance while the first is under way. What the first one has opened is none of its
// business.
func TestRestartThatNeverBegan(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded(xfrtest.UnsignedRule, ""), map[string]string{"db": xfrtest.ZoneOrg})
	breaks.Lock()
	breaks.began, breaks.wait = make(chan struct{}), make(chan struct{})
	began, wait := breaks.began, breaks.wait
	breaks.Unlock()
	s.AwaitServing()
	old, inst := latestInstance(), s.Inst
	first := make(chan error, 1)
	go func() {
		next, err := inst.Restart(s.Input(xfrtest.Guarded(xfrtest.UnsignedRule, "breaks wait")))
		s.Inst = next
		first <- err
	}()
	<-began
	for _, failed := range inst.OnRestartFailed { // as Caddy does
		if err := failed(); err != nil {
			t.Error(err)
		}
	}
	if restarts.holder() != old {
		t.Error("the lock of the restart under way is gone")
	}
	close(wait)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	wantAnyZone(t, s)
	s.WantLifecycle(t, "policy-load", "policy-reload")
}

// TestReloadWithoutGuard: a Corefile without xfrguard takes the policy out of force, and
// gives the lock back; a later one has it again.
func TestReloadWithoutGuard(t *testing.T) {
	audittest.NoLeak(t)
	s := xfrtest.Serve(t, xfrtest.Guarded(xfrtest.UnsignedRule, ""), map[string]string{"db": xfrtest.ZoneOrg})
	if err := s.Reload("example.org:0 {\n\tbind 127.0.0.1\n\tfile DIR/db\n}\n"); err != nil {
		t.Fatal(err)
	}
	if got := policiesInForce(); len(got) != 0 || restarts.holder() != nil {
		t.Errorf("said to be in force: %q", got)
	}
	audittest.Eventually(t, func() bool { return latestInstance() == nil })
	if err := s.Reload(xfrtest.Guarded(xfrtest.UnsignedRule, "")); err != nil {
		t.Fatal(err)
	}
	wantAnyZone(t, s)
	s.WantLifecycle(t, "policy-load", "policy-load")
}

// TestPolicyBeforeOldServersStop: what the new listeners meet is decided by the new policy
// and on record after it, while the old server still waits for its connections; and a
// transfer that the new policy does not allow ends without waiting for that server.
func TestPolicyBeforeOldServersStop(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as one net 127.0.0.1 127.0.0.2 unsigned", ""), map[string]string{"db": xfrtest.SlowZone()})
	keeper, records := xfrtest.SlowTransfer(t, s, dns.TypeAXFR) // keeps the old server from stopping
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	addr := s.Addr(t, "tcp", 0)
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	gone := &dns.Conn{Conn: conn}
	if _, err := gone.Write(xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))); err != nil {
		t.Fatal(err)
	}
	if _, err := gone.ReadMsg(); err != nil {
		t.Fatal(err)
	}
	s.AwaitServing()
	inst, done := s.Inst, make(chan error, 1)
	go func() {
		next, err := inst.Restart(s.Input(xfrtest.Guarded("allow as one net 127.0.0.1 unsigned", "")))
		s.Inst = next
		done <- err
	}()
	revoked := s.When(t, "zone-transfer-end", "policy-revoked")
	if d := revoked.Sub(s.When(t, "policy-reload", "enforce")); d > time.Second {
		t.Errorf("the transfer ends %s after the new policy is in force", d)
	}
	select {
	case <-done:
		t.Fatal("the old server did not wait: this shows nothing")
	default:
	}
	if m := xfrtest.Unpack(t, xfrtest.Ask(t, "tcp", addr, "127.0.0.2", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)), 1)[0]); m.Rcode != dns.RcodeRefused {
		t.Errorf("who lost the permission is told %s", dns.RcodeToString[m.Rcode])
	}
	xfrtest.Rest(keeper, records, xfrtest.SlowHosts+6)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s.WantLifecycle(t, "policy-load", "policy-reload")
}

// unreadWriter is a connection whose client reads nothing: writing waits until it is let go.
type unreadWriter struct {
	dns.ResponseWriter
	writes, letGo chan struct{}
}

func (w *unreadWriter) WriteMsg(*dns.Msg) error {
	close(w.writes)
	<-w.letGo
	return net.ErrClosed
}

func (w *unreadWriter) Write([]byte) (int, error) { return 0, w.WriteMsg(nil) }

// TestUnreadRefusalKeepsNoLog: a denial is on record before it is answered. A client that
// does not read the answer keeps no instance, and no audit file, open.
func TestUnreadRefusalKeepsNoLog(t *testing.T) {
	block := xfrtest.Guarded("allow as one net 192.0.2.1 unsigned", "")
	s := xfrtest.Serve(t, block, map[string]string{"db": xfrtest.ZoneOrg})
	old := latestInstance()
	ctx, c := xfrtest.LateRequest(t, "127.0.0.9")
	w := &unreadWriter{ResponseWriter: c.ResponseWriter, writes: make(chan struct{}), letGo: make(chan struct{})}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = old.sorted()[0].answer(ctx, w, xfrtest.Question(dns.TypeAXFR))
	}()
	<-w.writes
	if err := s.Reload(strings.Replace(block, "audit.log", "other.log", 1)); err != nil {
		t.Fatal(err)
	}
	audittest.Eventually(t, func() bool {
		lines := audittest.Lines(t, s.Dir+"/audit.log")
		return lines[len(lines)-1]["event.action"] == "audit-closed"
	})
	close(w.letGo)
	<-answered
}
