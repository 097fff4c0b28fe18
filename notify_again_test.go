// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// scripted is a notifier that notes when it tells.
type scripted struct {
	client  netip.Addr
	unknown bool // there is no serial yet
	began   time.Time

	mu   sync.Mutex
	told []time.Duration
}

func (s *scripted) tells(k reminderKey) bool { return k.client == s.client }

func (s *scripted) knows(string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.unknown
}

func (s *scripted) again(string, netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, time.Since(s.began).Round(time.Second))
}

func (s *scripted) expect(t *testing.T, want ...int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var got []int
	for _, at := range s.told {
		got = append(got, int(at/time.Second))
	}
	if !slices.Equal(got, want) {
		t.Errorf("told after %v seconds, want %v", got, want)
	}
	s.told = nil
}

// TestReminders: who is owed a NOTIFY gets one soon, one in ten seconds and no more, none
// once it has the zone, and none without end.
func TestReminders(t *testing.T) {
	client := netip.MustParseAddr("192.0.2.53")
	k := reminderKey{apex: "example.org.", client: client}
	run := func(name string, f func(t *testing.T, l *reminderList, n *scripted)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newReminderList()
				l.first = time.Second - 1
				n := &scripted{client: client, began: time.Now()}
				l.enter(n)
				f(t, l, n)
				time.Sleep(5 * time.Minute)
				l.mu.Lock()
				defer l.mu.Unlock()
				if len(l.owed) > 0 {
					t.Error("something is kept for ever")
				}
			})
		})
	}
	second := func(n int) { time.Sleep(time.Duration(n) * time.Second) }
	run("until it gives up", func(t *testing.T, l *reminderList, n *scripted) {
		l.first = time.Nanosecond
		l.owe(k)
		second(300)
		n.expect(t, 0, 10, 20, 30, 40, 50)
	})
	run("until it has the zone", func(t *testing.T, l *reminderList, n *scripted) {
		l.first = time.Nanosecond
		l.owe(k)
		second(15)
		l.settled(k)
		second(100)
		n.expect(t, 0, 10)
	})
	run("it has the zone at once", func(t *testing.T, l *reminderList, n *scripted) {
		l.owe(k)
		l.settled(k)
		second(100)
		n.expect(t)
	})
	run("refused all the time", func(t *testing.T, l *reminderList, n *scripted) {
		l.first = time.Nanosecond
		for range 100 {
			l.owe(k)
			second(1)
		}
		l.settled(k)
		n.expect(t, 0, 10, 20, 30, 40, 50, 60, 70, 80, 90)
	})
	run("refused, served, refused", func(t *testing.T, l *reminderList, n *scripted) {
		l.first = time.Nanosecond
		l.owe(k)
		second(2)
		l.settled(k)
		l.owe(k)
		second(9)
		l.settled(k)
		n.expect(t, 0, 10)
	})
	run("soon after the refusal", func(t *testing.T, l *reminderList, n *scripted) {
		l.owe(k)
		time.Sleep(l.first * 2)
		synctest.Wait()
		l.settled(k)
		n.mu.Lock()
		defer n.mu.Unlock()
		if len(n.told) != 1 {
			t.Errorf("told %v", n.told)
		}
	})
	run("not a target", func(t *testing.T, l *reminderList, n *scripted) {
		l.owe(reminderKey{apex: "example.org.", client: netip.MustParseAddr("192.0.2.54")})
		l.mu.Lock()
		if len(l.owed) > 0 {
			t.Error("something is owed")
		}
		l.mu.Unlock()
		second(100)
		n.expect(t)
	})
	run("a reload", func(t *testing.T, l *reminderList, n *scripted) {
		l.first = time.Nanosecond
		l.owe(k)
		second(5)
		next := &scripted{client: client, began: n.began}
		l.enter(next)
		l.leave(n)
		l.owe(k)
		second(7)
		l.settled(k)
		n.expect(t, 0)
		next.expect(t, 10)
	})
	run("a reload that removes the target", func(t *testing.T, l *reminderList, n *scripted) {
		l.first = time.Nanosecond
		l.owe(k)
		second(5)
		l.leave(n)
		second(100)
		n.expect(t, 0)
	})
	run("a zone that is not there yet", func(t *testing.T, l *reminderList, n *scripted) {
		l.first = time.Nanosecond
		n.unknown = true
		l.owe(k)
		second(125)
		n.mu.Lock()
		n.unknown = false
		n.mu.Unlock()
		second(6)
		l.settled(k)
		n.expect(t, 130)
	})
}

// TestReasonsThatPass: of the reasons to refuse, those that say nothing against the client.
func TestReasonsThatPass(t *testing.T) {
	var got []policy.Reason
	for r := range policy.Verdicts {
		if r.Passes() {
			got = append(got, r)
		}
	}
	for _, r := range got {
		if policy.Verdicts[r].Rcode != dns.RcodeServerFailure {
			t.Errorf("%s passes, and is told %s", r, dns.RcodeToString[policy.Verdicts[r].Rcode])
		}
	}
	for r, v := range policy.Verdicts {
		if v.Rcode == dns.RcodeServerFailure && !slices.Contains(got, r) {
			t.Errorf("%s is told SERVFAIL, and does not pass", r)
		}
	}
}

// TestNotifyAgain: a secondary that is refused for a passing cause is told again, signed
// with its key, once the cause has gone and at the promised pace before; and no more once
// it has the zone. It is told by the next instance when a reload comes between.
func TestNotifyAgain(t *testing.T) {
	first, apart := reminders.first, reminders.apart
	reminders.first, reminders.apart = 100*time.Millisecond, time.Second
	t.Cleanup(func() { reminders.first, reminders.apart = first, apart })
	for _, reload := range []bool{false, true} {
		t.Run(fmt.Sprint("reload ", reload), func(t *testing.T) {
			l := xfrtest.NewListener(t)
			corefile := func(extra string) string {
				return xfrtest.Guarded("allow net 127.0.0.1 key a.example.net.\n notify 127.0.0.1:"+l.Port()+" key a.example.net.\n "+extra, "")
			}
			s := xfrtest.Serve(t, corefile(""), map[string]string{"db": xfrtest.ZoneOrg})
			const notice = "example.org. 7 a.example.net. hmac-sha256."
			l.Wait(t, notice)

			limits.Shutdown() // the cause
			t.Cleanup(limits.Resume)
			ask := func() error {
				_, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), new(dns.Msg).SetAxfr("example.org."), "a.example.net.", xfrtest.SecretA)
				return err
			}
			if err := ask(); err == nil {
				t.Fatal("not refused")
			}
			refused := time.Now()
			l.Wait(t, notice)
			if reload {
				if err := s.Reload(corefile("rate 100/1m")); err != nil {
					t.Fatal(err)
				}
			} else {
				limits.Resume()
			}
			l.Wait(t, notice) // it has not come back yet
			if took := time.Since(refused); took < reminders.apart {
				t.Errorf("told twice within %v", took)
			}
			if err := ask(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * reminders.apart)
			l.Wait(t)
		})
	}
}
