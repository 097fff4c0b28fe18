// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

// replayMAC is the n-th of as many MACs as anybody needs, as long as hmac-sha256's.
func replayMAC(n int) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 0, 32), uint64(n))[:32]
}

// replayStep is one request: what it says, when it comes, and whether it is new.
type replayStep struct {
	now    int64
	key    string
	mac    int
	signed int64
	want   bool
	text   string
}

func runReplayScript(t *testing.T, m *replayMemory, steps []replayStep) {
	t.Helper()
	for i, s := range steps {
		got := m.Accept(s.key, replayMAC(s.mac), time.Unix(s.signed, 0), time.Unix(s.now, 0))
		if got != s.want {
			t.Errorf("step %d (%s): got %t", i, s.text, got)
		}
	}
}

func TestReplayWindow(t *testing.T) {
	runReplayScript(t, newReplayMemory(10, 10), []replayStep{
		{1000, "k.", 1, 1000, true, "new"},
		{1000, "k.", 1, 1000, false, "the same at once"},
		{1000, "k.", 2, 1000, true, "another in the same second"},
		{1001, "k.", 3, 999, true, "signed before, arrives after: RFC 8945 §5.2.3's mark would refuse it"},
		{1001, "k.", 4, 701, true, "another clock that is five minutes behind"},
		{1001, "k.", 5, 1301, true, "another clock that is five minutes ahead"},
		{1001, "k.", 6, 1302, false, "ahead of every window"},
		{1001, "j.", 1, 1000, true, "the same MAC under another key is another signature"},
		{1300, "k.", 1, 1000, false, "the last second of its window"},
		{1300, "k.", 7, 1000, true, "in which others of that second are still new"},
		{1301, "k.", 8, 1301, true, "new"},
		{1301, "k.", 1, 1000, false, "forgotten, and not accepted"},
		{1301, "k.", 9, 1000, false, "nor is anything else signed then"},
		{1301, "k.", 10, 1001, true, "what can still be good is"},
		{1302, "k.", 5, 1301, false, "what was signed ahead is remembered longer"},
		{1000, "k.", 1, 1000, false, "a clock that is set back opens nothing"},
		{1000, "k.", 3, 999, false, "for anybody"},
	})
}

func TestReplayTruncatedAndShortMACs(t *testing.T) {
	m := newReplayMemory(10, 10)
	now := time.Unix(1000, 0)
	mac := replayMAC(1)
	if m.Seen("k.", mac) || !m.Accept("k.", mac, now, now) {
		t.Fatal("a new one is not accepted")
	}
	for n := 0; n <= len(mac); n++ {
		if !m.Seen("k.", mac[:n]) || m.Accept("k.", mac[:n], now, now) {
			t.Errorf("the same request with its MAC cut to %d octets is new", n)
		}
	}
	if m.Seen("other.", mac) || m.Seen("k.", replayMAC(2)) {
		t.Error("seen what never was")
	}
	if short := replayMAC(3)[:10]; m.Seen("k.", short) || !m.Accept("k.", short, now, now) {
		t.Error("ten octets are a MAC") // RFC 8945 §5.2.2.1
	}
	if short := replayMAC(4)[:9]; !m.Seen("k.", short) || m.Accept("k.", short, now, now) {
		t.Error("nine are none")
	}
	if !m.Seen("other.", nil) || m.Accept("other.", nil, now, now) {
		t.Error("no MAC is no replay")
	}
}

func TestReplayOverflow(t *testing.T) {
	m := newReplayMemory(3, 10)
	runReplayScript(t, m, []replayStep{
		{1000, "honest.", 1, 1000, true, "new"},
		{1000, "flood.", 1, 1000, true, "new"},
		{1001, "flood.", 2, 1001, true, "new"},
		{1002, "flood.", 3, 1002, true, "one too many"},
		{1002, "flood.", 1, 1000, false, "forgotten, and not accepted"},
		{1002, "flood.", 9, 1000, false, "nor anything as old"},
		{1002, "flood.", 2, 1001, false, "remembered"},
		{1002, "honest.", 1, 1000, false, "remembered: the key that floods pays"},
		{1002, "honest.", 2, 999, true, "and is refused nothing"},
		{1002, "flood.", 2, 1001, false, "pushed out by that, and not accepted"},
		{1003, "flood.", 4, 1003, true, "new"},
	})
	if len(m.keys["honest."].macs) == 0 || m.signatures > 3 {
		t.Errorf("%d signatures, %d of them honest", m.signatures, len(m.keys["honest."].macs))
	}

	m = newReplayMemory(2, 10)
	runReplayScript(t, m, []replayStep{
		{1000, "k.", 1, 1000, true, "new"},
		{1000, "k.", 2, 1000, true, "new"},
		{1000, "k.", 3, 1000, true, "a whole second too many: accepted, once"},
		{1000, "k.", 3, 1000, false, "its second is over"},
		{1000, "k.", 4, 1000, false, "for everybody"},
		{1000, "k.", 5, 1001, true, "the next one is not"},
		{1400, "j.", 1, 1400, true, "new"},
		{1400, "j.", 2, 1400, true, "expired signatures of other keys go before good ones"},
		{1400, "j.", 3, 1399, true, "new"},
		{1400, "j.", 1, 1400, false, "remembered"},
	})
}

func TestReplayManyKeys(t *testing.T) {
	m := newReplayMemory(100, 3)
	runReplayScript(t, m, []replayStep{
		{1000, "a.", 1, 1000, true, "new"},
		{1000, "b.", 1, 1001, true, "new"},
		{1000, "c.", 1, 1002, true, "new"},
		{1000, "d.", 1, 1003, true, "one key too many"},
		{1000, "a.", 1, 1000, false, "forgotten, and not accepted"},
		{1000, "e.", 1, 1000, false, "nor anything as old under a key that is not known"},
		{1000, "b.", 2, 1000, true, "known keys are as before"},
		{1000, "a.", 2, 1001, true, "and newer ones are accepted"},
	})
	if len(m.keys) != 3 {
		t.Errorf("%d keys, want 3", len(m.keys))
	}
	total := 0
	for _, k := range m.keys {
		total += len(k.macs)
	}
	if total != m.signatures {
		t.Errorf("%d signatures are counted, %d are there", m.signatures, total)
	}
}

// A thousand connections of one secondary, in any order within the window.
func TestReplayOutOfOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newReplayMemory(1000, 10)
		for i := range 200 {
			signed := time.Unix(10_000+rapid.Int64Range(-replayWindow, replayWindow).Draw(t, "signed"), 0)
			if !m.Accept("k.", replayMAC(i), signed, time.Unix(10_000, 0)) {
				t.Fatalf("request %d signed at %v is refused", i, signed)
			}
		}
	})
}

// naiveReplays is the memory as a plain list that is searched from end to end.
type naiveReplays struct {
	list   []replayStep
	floors map[string]int64
	rest   int64
}

func (n *naiveReplays) floor(key string) int64 {
	if f, ok := n.floors[key]; ok {
		return f
	}
	return n.rest
}

// forget drops what the function picks, and raises its key's floor.
func (n *naiveReplays) forget(pick func(replayStep) bool) {
	n.list = slices.DeleteFunc(n.list, func(s replayStep) bool {
		if !pick(s) {
			return false
		}
		n.floors[s.key] = max(n.floors[s.key], s.signed)
		return true
	})
}

func (n *naiveReplays) accept(s replayStep, maxSignatures, maxKeys int) bool {
	if s.signed > s.now+300 || s.signed <= n.floor(s.key) ||
		slices.ContainsFunc(n.list, func(o replayStep) bool { return o.key == s.key && o.mac == s.mac }) {
		return false
	}
	n.floors[s.key] = n.floor(s.key)
	n.list = append(n.list, s)
	expired := func(o replayStep) bool { return s.now > o.signed+300 }
	n.forget(func(o replayStep) bool { return o.key == s.key && expired(o) })
	if len(n.list) > maxSignatures {
		n.forget(expired)
	}
	for len(n.list) > maxSignatures {
		count, oldest := map[string]int{}, map[string]int64{}
		for _, o := range n.list {
			count[o.key]++
			if at, ok := oldest[o.key]; !ok || o.signed < at {
				oldest[o.key] = o.signed
			}
		}
		most := slices.MinFunc(slices.Sorted(maps.Keys(count)), func(a, b string) int { return cmp.Compare(count[b], count[a]) })
		n.forget(func(o replayStep) bool { return o.key == most && o.signed == oldest[most] })
	}
	for len(n.floors) > maxKeys {
		latest := maps.Clone(n.floors)
		for _, o := range n.list {
			latest[o.key] = max(latest[o.key], o.signed)
		}
		idle := slices.MinFunc(slices.Sorted(maps.Keys(latest)), func(a, b string) int { return cmp.Compare(latest[a], latest[b]) })
		n.forget(func(o replayStep) bool { return o.key == idle })
		delete(n.floors, idle)
		n.rest = max(n.rest, latest[idle])
	}
	return true
}

func TestReplayOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		maxSignatures := rapid.IntRange(1, 12).Draw(t, "signatures")
		maxKeys := rapid.IntRange(1, 4).Draw(t, "keys")
		m := newReplayMemory(maxSignatures, maxKeys)
		naive := &naiveReplays{floors: map[string]int64{}, rest: math.MinInt64}
		accepted := make(map[string]bool)
		now := int64(10_000)
		for i := range rapid.IntRange(1, 80).Draw(t, "requests") {
			now += rapid.SampledFrom([]int64{0, 0, 1, 1, 50, 299, 301, -1, -400}).Draw(t, "step") // clocks are set back, too
			mac := rapid.IntRange(0, 30).Draw(t, "mac")
			s := replayStep{now: now, key: fmt.Sprint("k", rapid.IntRange(0, 5).Draw(t, "key")), mac: mac}
			s.signed = 10_000 + int64(mac%7)*60 // a MAC is of one moment
			if rapid.Bool().Draw(t, "recent") {
				s.mac, s.signed = 100+i, now-rapid.Int64Range(-301, 310).Draw(t, "age")
			}
			want := naive.accept(s, maxSignatures, maxKeys)
			id := fmt.Sprint(s.key, s.mac)
			seen := m.Seen(s.key, replayMAC(s.mac))
			got := m.Accept(s.key, replayMAC(s.mac), time.Unix(s.signed, 0), time.Unix(now, 0))
			switch {
			case got != want:
				t.Fatalf("request %d %+v: got %t, want %t", i, s, got, want)
			case got && accepted[id]:
				t.Fatalf("request %d %+v is accepted twice", i, s)
			case got && seen:
				t.Fatalf("request %d %+v was seen, and accepted", i, s)
			case m.signatures > maxSignatures || len(m.keys) > maxKeys || m.signatures != len(naive.list):
				t.Fatalf("%d signatures of %d keys, want %d", m.signatures, len(m.keys), len(naive.list))
			}
			accepted[id] = accepted[id] || got
		}
	})
}

// Of any number of the same requests at once, one gets through.
func TestReplayRace(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	m := newReplayMemory(1000, 10)
	now := time.Unix(1000, 0)
	var got [50]atomic.Int64
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			for i := range got {
				m.Seen("k.", replayMAC(i))
				if m.Accept("k.", bytes.Clone(replayMAC(i)), now, now) {
					got[i].Add(1)
				}
			}
		})
	}
	clients.Wait()
	for i := range got {
		if n := got[i].Load(); n != 1 {
			t.Errorf("request %d is accepted %d times", i, n)
		}
	}
}

func BenchmarkReplay(b *testing.B) {
	now := time.Unix(1_000_000, 0)
	b.Run("accept", func(b *testing.B) { // 500 a second, so that the memory is always full
		m := newReplayMemory(100_000, 4096)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			at := now.Add(time.Duration(i) * 2 * time.Millisecond)
			m.Accept("key.example.org.", replayMAC(i), at, at)
		}
	})
	b.Run("seen", func(b *testing.B) {
		m := newReplayMemory(100_000, 4096)
		mac := replayMAC(1)
		m.Accept("key.example.org.", mac, now, now)
		b.ReportAllocs()
		for b.Loop() {
			m.Seen("key.example.org.", mac)
		}
	})
}
