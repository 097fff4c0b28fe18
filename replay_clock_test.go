// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/limit"
	"github.com/xfrguard/xfrguard/internal/trail"
)

// TestClockSetBackLocksNobodyOut: the clock was an hour ahead, the memory has forgotten
// requests of that hour, and the clock is set right.
func TestClockSetBackLocksNobodyOut(t *testing.T) {
	fake := &audittest.FakeClock{At: trail.ReadClock()}
	beforeClock := audit.Clock
	audit.Clock = audit.NewProcessClock(fake.Read)
	t.Cleanup(func() { audit.Clock = beforeClock })
	watchClock(audit.Clock)
	s := serve(t, guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), map[string]string{"db": zoneOrg})
	tcp := s.addr(t, "tcp", 0)
	hour := limit.NewReplayMemory(1, 1)
	before := replays
	replays = hour
	t.Cleanup(func() { replays = before })
	ahead := time.Now().Add(time.Hour)
	for n := range 2 { // the first is forgotten and leaves a floor an hour ahead
		if !hour.Accept(keyA, clockMAC(n), ahead.Add(time.Duration(n)*time.Second), ahead) {
			t.Fatal("not accepted")
		}
	}
	if m := ask1(t, "tcp", tcp, "", signed(t, question(dns.TypeAXFR), keyA, dns.HmacSHA256, secretA)); len(m.Answer) > 0 {
		t.Fatal("the floor of a time ahead refuses nobody: this test shows nothing")
	}
	fake.Pass(0, -time.Hour)
	fresh := signed(t, question(dns.TypeAXFR), keyA, dns.HmacSHA256, secretA)
	if m := ask1(t, "tcp", tcp, "", fresh); len(m.Answer) == 0 {
		t.Fatalf("a fresh request after the step: %v", m)
	}
	wantRefused(t, ask(t, "tcp", tcp, "", fresh, 1), dns.RcodeNotAuth)
}

func clockMAC(n int) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 0, 32), uint64(n))[:32]
}
