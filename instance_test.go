// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/limit"
	"github.com/xfrguard/xfrguard/internal/trail"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// TestClockSetBackLocksNobodyOut: the clock was an hour ahead, the memory has forgotten
// requests of that hour, and the clock is set right.
func TestClockSetBackLocksNobodyOut(t *testing.T) {
	fake := &audittest.FakeClock{At: trail.ReadClock()}
	beforeClock := audit.Clock
	audit.Clock = audit.NewProcessClock(fake.Read)
	t.Cleanup(func() { audit.Clock = beforeClock })
	watchClock(audit.Clock)
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), map[string]string{"db": xfrtest.ZoneOrg})
	tcp := s.Addr(t, "tcp", 0)
	hour := limit.NewReplayMemory(1, 1)
	before := replays
	replays = hour
	t.Cleanup(func() { replays = before })
	ahead := time.Now().Add(time.Hour)
	for n := range 2 { // the first is forgotten and leaves a floor an hour ahead
		if !hour.Accept(xfrtest.KeyA, clockMAC(n), ahead.Add(time.Duration(n)*time.Second), ahead) {
			t.Fatal("not accepted")
		}
	}
	if m := xfrtest.Ask1(t, "tcp", tcp, "", xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)); len(m.Answer) > 0 {
		t.Fatal("the floor of a time ahead refuses nobody: this test shows nothing")
	}
	fake.Pass(0, -time.Hour)
	fresh := xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
	if m := xfrtest.Ask1(t, "tcp", tcp, "", fresh); len(m.Answer) == 0 {
		t.Fatalf("a fresh request after the step: %v", m)
	}
	xfrtest.WantRefused(t, xfrtest.Ask(t, "tcp", tcp, "", fresh, 1), dns.RcodeNotAuth)
}

func clockMAC(n int) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 0, 32), uint64(n))[:32]
}

// TestLeaving: a request that a replaced instance still answers says so.
func TestLeaving(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded(xfrtest.KeyRule, ""), map[string]string{"db": xfrtest.ZoneOrg})
	old := latestInstance().guards[0]
	if old.leaving() {
		t.Error("leaving at once")
	}
	if err := s.Reload(xfrtest.Guarded(xfrtest.KeyRule, "")); err != nil {
		t.Fatal(err)
	}
	if !old.leaving() || latestInstance().guards[0].leaving() {
		t.Errorf("after a reload the old one is leaving: %v, the new one: %v", old.leaving(), latestInstance().guards[0].leaving())
	}
}
