// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestRestartsAtOnce: two restarts of one instance at once, as the reload plugin and a
// signal begin them, while a transfer keeps the first one from its end: the second gives
// up, touches nothing, and the guard serves on.
func TestRestartsAtOnce(t *testing.T) {
	s := serve(t, guarded(unsignedRule, ""), map[string]string{"db": slowZone()})
	slow, records := slowTransfer(t, s, dns.TypeAXFR)
	old := latestInstance()
	s.awaitServing()
	inst := s.inst
	first := make(chan error, 1)
	go func() {
		next, err := inst.Restart(s.input(guarded("allow as two net 127.0.0.0/8 unsigned", "")))
		s.inst = next
		first <- err
	}()
	eventually(t, func() bool { return restarts.holder() == old })
	if _, err := inst.Restart(s.input(guarded("allow as three net 127.0.0.0/8 unsigned", ""))); err == nil {
		t.Error("the second restart of a replaced instance succeeds")
	}
	const whole = slowHosts + 6
	if records = rest(slow, records, whole); records != whole {
		t.Errorf("the transfer under way ended after %d of %d records", records, whole)
	}
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	s.wantZone(t)
	s.wantLifecycle(t, "policy-load", "policy-reload")
	if restarts.holder() != nil {
		t.Error("the lock is still held")
	}
}

// TestRestartsTakeTurns: where the restart that another one waits for fails, the other
// goes on.
func TestRestartsTakeTurns(t *testing.T) {
	s := serve(t, guarded(unsignedRule, ""), map[string]string{"db": zoneOrg})
	breaks.Lock()
	breaks.began, breaks.wait = make(chan struct{}), make(chan struct{})
	began, wait := breaks.began, breaks.wait
	breaks.Unlock()
	s.awaitServing()
	inst := s.inst
	first := make(chan error, 1)
	go func() {
		_, err := inst.Restart(s.input(guarded(unsignedRule, "breaks wait") + cannotListen(t)))
		first <- err
	}()
	<-began
	second := make(chan error, 1)
	go func() { second <- s.reload(guarded(unsignedRule, "")) }()
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
	s.wantZone(t)
	s.wantLifecycle(t, "policy-load", "policy-reload-failed listen", "policy-reload")
}

// TestReloadWithoutGuard: a Corefile without xfrguard takes the policy out of force, and
// gives the lock back; a later one has it again.
func TestReloadWithoutGuard(t *testing.T) {
	noLeak(t)
	s := serve(t, guarded(unsignedRule, ""), map[string]string{"db": zoneOrg})
	if err := s.reload("example.org:0 {\n\tbind 127.0.0.1\n\tfile DIR/db\n}\n"); err != nil {
		t.Fatal(err)
	}
	if got := policiesInForce(); len(got) != 0 || restarts.holder() != nil {
		t.Errorf("said to be in force: %q", got)
	}
	eventually(t, func() bool { return latestInstance() == nil })
	if err := s.reload(guarded(unsignedRule, "")); err != nil {
		t.Fatal(err)
	}
	s.wantZone(t)
	s.wantLifecycle(t, "policy-load", "policy-load")
}

// TestPolicyBeforeOldServersStop: what the new listeners meet is decided by the new policy
// and on record after it, while the old server still waits for its connections; and a
// transfer that the new policy does not allow ends without waiting for that server.
func TestPolicyBeforeOldServersStop(t *testing.T) {
	s := serve(t, guarded("allow as one net 127.0.0.1 127.0.0.2 unsigned", ""), map[string]string{"db": slowZone()})
	keeper, records := slowTransfer(t, s, dns.TypeAXFR) // keeps the old server from stopping
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	addr := s.addr(t, "tcp", 0)
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	gone := &dns.Conn{Conn: conn}
	if _, err := gone.Write(packed(t, question(dns.TypeAXFR))); err != nil {
		t.Fatal(err)
	}
	if _, err := gone.ReadMsg(); err != nil {
		t.Fatal(err)
	}
	s.awaitServing()
	inst, done := s.inst, make(chan error, 1)
	go func() {
		next, err := inst.Restart(s.input(guarded("allow as one net 127.0.0.1 unsigned", "")))
		s.inst = next
		done <- err
	}()
	revoked := s.when(t, "zone-transfer-end", "policy-revoked")
	if d := revoked.Sub(s.when(t, "policy-reload", "enforce")); d > time.Second {
		t.Errorf("the transfer ends %s after the new policy is in force", d)
	}
	select {
	case <-done:
		t.Fatal("the old server did not wait: this shows nothing")
	default:
	}
	if m := unpack(t, ask(t, "tcp", addr, "127.0.0.2", packed(t, question(dns.TypeAXFR)), 1)[0]); m.Rcode != dns.RcodeRefused {
		t.Errorf("who lost the permission is told %s", dns.RcodeToString[m.Rcode])
	}
	rest(keeper, records, slowHosts+6)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s.wantLifecycle(t, "policy-load", "policy-reload")
}
