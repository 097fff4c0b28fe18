// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
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

func runReplayScript(t *testing.T, m *ReplayMemory, steps []replayStep) {
	t.Helper()
	for i, s := range steps {
		got := m.Accept(s.key, replayMAC(s.mac), time.Unix(s.signed, 0), time.Unix(s.now, 0))
		if got != s.want {
			t.Errorf("step %d (%s): got %t", i, s.text, got)
		}
	}
}

func TestReplayWindow(t *testing.T) {
	runReplayScript(t, NewReplayMemory(10, 10), []replayStep{
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
		{1301, "k.", 1, 1000, false, "expired, and remembered: there is room"},
		{1302, "k.", 5, 1301, false, "what was signed ahead, too"},
		{1302, "k.", 9, 1302, true, "new"},
		{1302, "k.", 12, 1302, true, "new"},
		{1302, "k.", 10, 1302, true, "new: the oldest that has expired goes"},
		{1302, "k.", 4, 701, false, "forgotten, and not accepted"},
		{1302, "k.", 11, 701, false, "nor is anything else signed then"},
		{1302, "k.", 1, 1000, false, "the others stay"},
		{1000, "k.", 1, 1000, false, "a clock that is set back opens nothing"},
		{1000, "k.", 3, 999, false, "for anybody"},
	})
}

// TestReplayAfterClockStep: the clock was an hour ahead and is set right. Fresh
// requests are accepted at once, what was accepted before is not, whatever its age.
func TestReplayAfterClockStep(t *testing.T) {
	const ahead = 100_000 + 3600
	m := NewReplayMemory(4, 6)
	runReplayScript(t, m, []replayStep{
		{ahead - 900, "k.", 1, ahead - 900, true, "new"},
		{ahead - 800, "k.", 2, ahead - 800, true, "new"},
		{ahead - 700, "j.", 3, ahead - 700, true, "new"},
		{ahead - 600, "k.", 4, ahead - 600, true, "new"},
		{ahead, "k.", 5, ahead, true, "new, and the oldest is forgotten"},
		{ahead, "k.", 1, ahead - 900, false, "and not accepted"},
	})
	m.SetBack()
	runReplayScript(t, m, []replayStep{
		{100_000, "k.", 6, 100_000, true, "a fresh request of a known key"},
		{100_000, "j.", 7, 99_990, true, "of another one"},
		{100_000, "k.", 6, 100_000, false, "once"},
		{ahead, "k.", 5, ahead, false, "the last ones of the repeated time are remembered"},
		{ahead - 600, "k.", 4, ahead - 600, false, "as many as there is room for"},
	})
	m.SetBack() // and back once more
	runReplayScript(t, m, []replayStep{
		{90_000, "k.", 8, 90_000, true, "new"},
		{90_000, "k.", 6, 100_000, false, "remembered"},
		{100_000, "k.", 6, 100_000, false, "also when its time comes again"},
	})
	for n := range 8 { // fewer are kept from before, the more there are of today
		at := int64(90_001 + n)
		m.Accept("k.", replayMAC(100+n), time.Unix(at, 0), time.Unix(at, 0))
	}
	if len(m.past.has) != 0 || len(m.past.order) != 0 || m.signatures > 6 {
		t.Errorf("%d signatures and %d of the past", m.signatures, len(m.past.has))
	}
}

// TestReplayKeepsTheLast: as many as are to be kept are remembered whatever their age.
func TestReplayKeepsTheLast(t *testing.T) {
	m := NewReplayMemory(65_536, 262_144)
	const n = 80_000
	for i := range n { // one each second: all but 301 have expired
		at := time.Unix(int64(1_000_000+i), 0)
		if !m.Accept("k.", replayMAC(i), at, at) {
			t.Fatalf("request %d is refused", i)
		}
	}
	if m.signatures < 65_536 || m.signatures > 65_536+65_536/8+1 {
		t.Errorf("%d signatures are remembered", m.signatures)
	}
	for _, back := range []bool{false, true} {
		if back {
			m.SetBack()
		}
		for i := n - 65_536; i < n; i++ {
			if at := time.Unix(int64(1_000_000+i), 0); m.Accept("k.", replayMAC(i), at, at) {
				t.Fatalf("request %d is accepted again, set back: %v", i, back)
			}
		}
	}
}

func TestReplayTruncatedAndShortMACs(t *testing.T) {
	m := NewReplayMemory(10, 10)
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
	m := NewReplayMemory(3, 3)
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

	m = NewReplayMemory(2, 2)
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

// TestReplayManyKeys: any number of keys may be used within one second. None of them
// counts as a replay for that.
func TestReplayManyKeys(t *testing.T) {
	m := NewReplayMemory(65_536, 262_144)
	const keys = 10_000
	at := time.Unix(1000, 0)
	for round := range 2 {
		for k := range keys {
			if !m.Accept(fmt.Sprintf("k%d.", k), replayMAC(round), at, at) {
				t.Fatalf("request %d of key %d is refused", round, k)
			}
		}
	}
	for k := range keys {
		if m.Accept(fmt.Sprintf("k%d.", k), replayMAC(1), at, at) {
			t.Fatalf("key %d: accepted twice", k)
		}
	}
	// Keys that a reload has taken away do not stay for ever.
	small := NewReplayMemory(4, 8)
	for i := range 1000 {
		at := time.Unix(int64(10_000+100*i), 0)
		small.Accept(fmt.Sprintf("k%d.", i), replayMAC(0), at, at)
	}
	if len(small.keys) > 64 || small.signatures > 8 {
		t.Errorf("%d keys, %d signatures", len(small.keys), small.signatures)
	}
}

// A thousand connections of one secondary, in any order within the window.
func TestReplayOutOfOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := NewReplayMemory(1000, 1000)
		for i := range 200 {
			signed := time.Unix(10_000+rapid.Int64Range(-ReplayWindow, ReplayWindow).Draw(t, "signed"), 0)
			if !m.Accept("k.", replayMAC(i), signed, time.Unix(10_000, 0)) {
				t.Fatalf("request %d signed at %v is refused", i, signed)
			}
		}
	})
}

// naiveReplays is the memory as a plain list that is searched from end to end.
type naiveReplays struct {
	list   []replayStep
	past   []replayStep
	floors map[string]int64
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

func (n *naiveReplays) setBack() {
	n.past, n.list, n.floors = append(n.past, n.list...), nil, map[string]int64{}
}

func (n *naiveReplays) accept(s replayStep, most int) bool {
	same := func(o replayStep) bool { return o.key == s.key && o.mac == s.mac }
	if s.signed > s.now+300 || s.signed <= n.floors[s.key] || slices.ContainsFunc(n.list, same) || slices.ContainsFunc(n.past, same) {
		return false
	}
	n.list = append(n.list, s)
	expired := slices.DeleteFunc(slices.Clone(n.list), func(o replayStep) bool { return s.now <= o.signed+300 })
	slices.SortFunc(expired, func(a, b replayStep) int {
		return cmp.Or(cmp.Compare(a.signed, b.signed), cmp.Compare(a.key, b.key))
	})
	for _, e := range expired {
		second := func(o replayStep) bool { return o.key == e.key && o.signed == e.signed }
		if left := len(slices.DeleteFunc(slices.Clone(n.list), second)); left < most {
			break
		}
		n.forget(second)
	}
	for len(n.list) > most {
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
	return true
}

// TestReplayOracle: what expires is forgotten only beyond what is kept, so that a
// memory which keeps all that it may hold is as the naive list; and one that keeps less
// accepts nothing twice either, unless the clock is set back further than it remembers.
func TestReplayOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 12).Draw(t, "signatures")
		m := NewReplayMemory(most, most)
		less := NewReplayMemory(rapid.IntRange(1, most).Draw(t, "kept"), most)
		naive := &naiveReplays{floors: map[string]int64{}}
		accepted := make(map[string]bool)
		now, steps := int64(10_000), 0
		for i := range rapid.IntRange(1, 80).Draw(t, "requests") {
			if steps == 0 && rapid.IntRange(0, 39).Draw(t, "set back") == 0 {
				steps++
				now -= 3600
				m.SetBack()
				less.SetBack()
				naive.setBack()
			}
			now += rapid.SampledFrom([]int64{0, 0, 1, 1, 50, 299, 301, -1}).Draw(t, "step")
			mac := rapid.IntRange(0, 30).Draw(t, "mac")
			s := replayStep{now: now, key: fmt.Sprint("k", rapid.IntRange(0, 5).Draw(t, "key")), mac: mac}
			s.signed = 10_000 + int64(mac%7)*60 // a MAC is of one moment
			if rapid.Bool().Draw(t, "recent") {
				s.mac, s.signed = 100+i, now-rapid.Int64Range(-301, 310).Draw(t, "age")
			}
			if s.signed < now-longGone { // its signature was good when it came
				continue
			}
			id := fmt.Sprint(s.key, s.mac)
			seen := m.Seen(s.key, replayMAC(s.mac))
			got := m.Accept(s.key, replayMAC(s.mac), time.Unix(s.signed, 0), time.Unix(now, 0))
			short := less.Accept(s.key, replayMAC(s.mac), time.Unix(s.signed, 0), time.Unix(now, 0))
			if steps == 0 {
				if want := naive.accept(s, most); got != want {
					t.Fatalf("request %d %+v: got %t, want %t", i, s, got, want)
				}
				if (got || short) && accepted[id] {
					t.Fatalf("request %d %+v is accepted twice", i, s)
				}
				accepted[id] = accepted[id] || got && short
			}
			switch {
			case got && seen:
				t.Fatalf("request %d %+v was seen, and accepted", i, s)
			case m.signatures > most || less.signatures > most || m.signatures+len(m.past.has) > 2*most:
				t.Fatalf("%d signatures, %d of the past, %d where less are kept", m.signatures, len(m.past.has), less.signatures)
			}
		}
	})
}

// Of any number of the same requests at once, one gets through.
func TestReplayRace(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	m := NewReplayMemory(1000, 1000)
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
		m := NewReplayMemory(65_536, 262_144)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			at := now.Add(time.Duration(i) * 2 * time.Millisecond)
			m.Accept("key.example.org.", replayMAC(i), at, at)
		}
	})
	b.Run("seen", func(b *testing.B) {
		m := NewReplayMemory(65_536, 262_144)
		mac := replayMAC(1)
		m.Accept("key.example.org.", mac, now, now)
		b.ReportAllocs()
		for b.Loop() {
			m.Seen("key.example.org.", mac)
		}
	})
}
