// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/notify"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// withNotifyOptions changes the times of NOTIFY for one test.
func withNotifyOptions(t *testing.T, o notify.Options) {
	t.Helper()
	saved := notifyOptions
	notifyOptions = o
	t.Cleanup(func() { notifyOptions = saved })
}

// seriesOf returns the values of a metric by the value of one of its labels.
func seriesBy(c prometheus.Collector, label string) map[string]float64 {
	ch := make(chan prometheus.Metric, 100)
	c.Collect(ch)
	close(ch)
	values := map[string]float64{}
	for m := range ch {
		var d dto.Metric
		_ = m.Write(&d)
		for _, l := range d.GetLabel() {
			if l.GetName() == label {
				values[l.GetValue()] = d.GetGauge().GetValue()
			}
		}
	}
	return values
}

// watched waits until the guard has read this serial of example.org., and told of it.
func watched(t *testing.T, s *xfrtest.Server, serial int) {
	t.Helper()
	audittest.Eventually(t, func() bool {
		n := latestInstance().sorted()[0].notifier
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.past["example.org."].last == uint32(serial)
	})
}

func serialled(serial int) string {
	return strings.Replace(xfrtest.ZoneOrg, " 7 ", fmt.Sprintf(" %d ", serial), 1)
}

// A secondary that never answers is on record by its address, in the log and in the
// metrics, though its zone changes more often than a NOTIFY can fail; once, across a
// reload, until it answers again.
func TestDeadTargetIsTold(t *testing.T) {
	withNotifyOptions(t, notify.Options{Wait: 200 * time.Millisecond, DownAfter: time.Second})
	logged := xfrtest.CaptureLog(t)
	l := xfrtest.NewListener(t)
	l.Mute.Store(true)
	corefile := xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.\n notify 127.0.0.1:"+l.Port()+" key a.example.net.", "")
	corefile = strings.Replace(corefile, "file DIR/db", "file DIR/db {\n reload 100ms\n }", 1)
	s := xfrtest.Serve(t, corefile, map[string]string{"db": xfrtest.ZoneOrg})
	serial := 7
	edit := func() { // when the one before has been superseded, or is about to be
		serial++
		s.Replace(t, "db", serialled(serial))
		watched(t, s, serial)
	}
	down := func() (n int) {
		for _, e := range audittest.Lines(t, filepath.Join(s.Dir, "audit.log")) {
			if e["event.action"] == "zone-notify-target-down" {
				n++
			}
		}
		return n
	}
	for range 12 {
		if down() > 0 {
			break
		}
		edit()
	}
	target := "127.0.0.1:" + l.Port()
	e := s.Await(t, "zone-notify-target-down", 1)[0]
	if e["event.code"] != "XFR142" || e["event.reason"] != "timeout" || e["log.level"] != "warn" || e["destination.ip"] != "127.0.0.1" ||
		fmt.Sprint(e["destination.port"]) != l.Port() || e["coredns.xfr.secondary"] != "127.0.0.1" || e["rule.name"] != "ns2" ||
		e["coredns.zone"] != "example.org." || e["error.message"] == nil || e["coredns.xfr.notify.since"] == nil {
		t.Errorf("the event is %v", e)
	}
	if up, ok := seriesBy(notifyUp, "target")[target]; !ok || up != 0 {
		t.Errorf("notify_up is %v, %v", up, ok)
	}
	if text := "NOTIFY to " + target + " has had no answer since"; strings.Count(logged(), text) != 1 {
		t.Errorf("the log does not say %q once:\n%s", text, logged())
	}
	if err := s.Reload(strings.Replace(corefile, "audit file", "rate 100/1m\n audit file", 1)); err != nil {
		t.Fatal(err)
	}
	edit()
	edit()
	if n := down(); n != 1 {
		t.Errorf("%d events that it is down, want 1", n)
	}
	l.Mute.Store(false)
	edit()
	e = s.Await(t, "zone-notify-target-up", 1)[0]
	if e["event.code"] != "XFR143" || e["event.reason"] != "accepted" || e["log.level"] != "info" || e["destination.ip"] != "127.0.0.1" || e["coredns.xfr.secondary"] != "127.0.0.1" {
		t.Errorf("the event is %v", e)
	}
	if up := seriesBy(notifyUp, "target")[target]; up != 1 {
		t.Errorf("notify_up is %v", up)
	}
	if last := seriesBy(notifyLastAnswer, "target")[target]; time.Since(time.Unix(int64(last), 0)) > time.Minute {
		t.Errorf("the last answer is of %v", last)
	}
	if text := "NOTIFY to " + target + " is answered again"; strings.Count(logged(), text) != 1 {
		t.Errorf("the log does not say %q once:\n%s", text, logged())
	}
	if err := s.Reload(xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", "")); err != nil { // it is no target any more
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); len(seriesBy(notifyUp, "target")) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the series stay: %v", seriesBy(notifyUp, "target"))
		}
	}
}

// A serial that goes back is on record and in the log, with what to do: with NOTIFY, and
// without where a client has the zone. What follows below it is not told again.
func TestSerialBackwards(t *testing.T) {
	for name, line := range map[string]string{"notified": "\n notify 127.0.0.1:PORT key a.example.net.", "asked for": ""} {
		t.Run(name, func(t *testing.T) {
			logged := xfrtest.CaptureLog(t)
			l := xfrtest.NewListener(t)
			corefile := xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net."+strings.ReplaceAll(line, "PORT", l.Port()), "")
			corefile = strings.Replace(corefile, "file DIR/db", "file DIR/db {\n reload 100ms\n }", 1)
			s := xfrtest.Serve(t, corefile, map[string]string{"db": serialled(50)})
			awaitServed := func(serial int) { // the guard has this serial, and has told of it
				t.Helper()
				if line != "" {
					l.Wait(t, fmt.Sprintf("example.org. %d a.example.net. hmac-sha256.", serial))
				}
				deadline := time.Now().Add(10 * time.Second)
				for {
					rrs, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR), "a.example.net.", xfrtest.SecretA)
					if err == nil && int(rrs[0].(*dns.SOA).Serial) == serial {
						break
					}
					if time.Now().After(deadline) {
						t.Fatalf("no transfer of serial %d: %v", serial, err)
					}
					time.Sleep(50 * time.Millisecond)
				}
				watched(t, s, serial)
			}
			change := func(serial int) {
				t.Helper()
				s.Replace(t, "db", serialled(serial))
				awaitServed(serial)
			}
			backwards := func(n int) (events []map[string]any) { // there are findings of other codes too
				t.Helper()
				audittest.Eventually(t, func() bool {
					events = slices.DeleteFunc(s.Await(t, "policy-finding", 1), func(e map[string]any) bool {
						return e["event.reason"] != "serial-backwards"
					})
					return len(events) >= n
				})
				return events
			}
			awaitServed(50)
			change(40)
			e := backwards(1)[0]
			const text = "zone example.org. went back from serial 50 to 40: secondaries that have 50 follow no serial up to that, nor a NOTIFY of it; write 51 or more"
			if e["event.code"] != "XFR215" || e["event.reason"] != "serial-backwards" || e["message"] != text || e["log.level"] != "warn" ||
				e["coredns.xfr.finding.code"] != "serial-backwards" || e["coredns.zone"] != "example.org." || fmt.Sprint(e["coredns.xfr.serial.served"]) != "40" {
				t.Errorf("the event is %v", e)
			}
			if strings.Count(logged(), "serial-backwards: Corefile:7: "+text) != 1 {
				t.Errorf("the log does not say it once:\n%s", logged())
			}
			change(41)
			change(51)
			change(52)
			if got := backwards(1); len(got) != 1 {
				t.Errorf("events %v", got)
			}
			s.Replace(t, "db", serialled(49)) // and across a reload
			if err := s.Reload(corefile); err != nil {
				t.Fatal(err)
			}
			awaitServed(49)
			if e := backwards(2)[1]; !strings.Contains(fmt.Sprint(e["message"]), "from serial 52 to 49") {
				t.Errorf("the event is %v", e)
			}
		})
	}
}

// What goes back, in the arithmetic of serials.
func TestFollowSerials(t *testing.T) {
	for _, tt := range []struct {
		serials []uint32
		back    string
	}{
		{[]uint32{1, 2, 3}, ""},
		{[]uint32{7, 7, 7}, ""},
		{[]uint32{50, 40}, "50>40"},
		{[]uint32{50, 40, 41, 49, 50, 51}, "50>40"},
		{[]uint32{50, 40, 60, 59}, "50>40 60>59"},
		{[]uint32{50, 40, 50, 40}, "50>40 50>40"},
		{[]uint32{1<<32 - 1, 0, 5}, ""},
		{[]uint32{5, 1<<32 - 1}, "5>4294967295"},
		{[]uint32{1, 1 << 31, 1<<31 + 5}, ""},
		{[]uint32{1, 1<<31 + 2}, "1>2147483650"},
	} {
		n := &notifier{past: map[string]serialPast{}}
		var got []string
		for _, serial := range tt.serials {
			if past := n.followLocked("example.org.", serial); past != nil {
				got = append(got, fmt.Sprintf("%d>%d", past.high, serial))
			}
		}
		if strings.Join(got, " ") != tt.back {
			t.Errorf("%v: went back %q, want %q", tt.serials, got, tt.back)
		}
	}
}
