// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

// The findings fail a start where findings fail is set, those of transfer's addresses too;
// they are none in observe mode, which notifies nobody.
func TestNotifyFindingsFail(t *testing.T) {
	files := map[string]string{"db": xfrtest.ZoneOrg}
	rule := "allow as ns2 net 127.0.0.53 key a.example.net.\n findings fail\n "
	for _, line := range []string{"notify [fe80::2]:5300", "notify 2001:db8::53:5300"} {
		if _, err := xfrtest.TryServe(t, xfrtest.Guarded(rule+line, ""), files); err == nil || !strings.Contains(err.Error(), "notify-ambiguous: Corefile:10: ") {
			t.Errorf("%s: %v", line, err)
		}
	}
	several := strings.Replace(xfrtest.Guarded(rule+"notify 127.0.0.53:9", ""), "bind 127.0.0.1", "bind 127.0.0.1 127.0.0.2", 1)
	if _, err := xfrtest.TryServe(t, several, files); err == nil || !strings.Contains(err.Error(), "notify-source: Corefile:10: ") {
		t.Error(err)
	}
	to := strings.Replace(xfrtest.Guarded(rule, "transfer {\n to 127.0.0.53:9\n }"), "bind 127.0.0.1", "bind 127.0.0.1 127.0.0.2", 1)
	if _, err := xfrtest.TryServe(t, to, files); err == nil || !strings.Contains(err.Error(), "notify-source: ") || !strings.Contains(err.Error(), "write 'source ADDRESS' into transfer") {
		t.Error(err)
	}
	xfrtest.Serve(t, xfrtest.Guarded(rule+"notify 127.0.0.53:9 source 127.0.0.2", ""), files)
}

// TestNotifyNewFirstKey: another key in front of the block's first one is no reason to tell
// every secondary again.
func TestNotifyNewFirstKey(t *testing.T) {
	l := xfrtest.NewListener(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.Addr().String())
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	block := func(keys, zone string) string {
		return strings.NewReplacer("example.org:0 {", keys+" {", "file DIR/db", "file DIR/db example.org").Replace(
			xfrtest.Guarded("allow net 127.0.0.1 key a.example.net.\nnotify 127.0.0.1:"+l.Port()+" key a.example.net.", "# "+zone))
	}
	s := xfrtest.Serve(t, block("example.org:0", "7"), map[string]string{"db": xfrtest.ZoneOrg})
	l.Wait(t, "example.org. 7 a.example.net. hmac-sha256.")
	if err := s.Reload(block("example.org:"+port+" example.org:0", "again")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "db"), []byte(strings.Replace(xfrtest.ZoneOrg, " 7 ", " 8 ", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(block("example.org:"+port+" example.org:0", "and again")); err != nil {
		t.Fatal(err)
	}
	l.Wait(t, "example.org. 8 a.example.net. hmac-sha256.")
}

// A NOTIFY that is refused is on record, with a warning.
func TestNotifyRefused(t *testing.T) {
	l := xfrtest.NewListener(t)
	s := xfrtest.Serve(t, xfrtest.Guarded("allow net 127.0.0.1 key a.example.net.\n notify 127.0.0.1:"+l.Port(), ""), map[string]string{"db": xfrtest.ZoneOrg})
	l.Wait(t, "example.org. 7 unsigned")
	var events []map[string]any
	for deadline := time.Now().Add(30 * time.Second); len(events) < 1 && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		events = xfrtest.NotifyEvents(t, filepath.Join(s.Dir, "audit.log"))
	}
	if len(events) != 1 || events[0]["event.code"] != "XFR141" || events[0]["event.reason"] != "refused" || events[0]["log.level"] != "warn" ||
		events[0]["error.message"] == nil || events[0]["coredns.xfr.secondary"] != "127.0.0.1" || events[0]["coredns.xfr.tsig.key"] != nil {
		t.Errorf("events %v", events)
	}
}

func TestNotifyUnknownKey(t *testing.T) {
	_, err := xfrtest.TryServe(t, xfrtest.Guarded("allow net 127.0.0.1 key a.example.net.\n notify 127.0.0.1:1 key c.example.net.", ""), map[string]string{"db": xfrtest.ZoneOrg})
	const want = "Corefile:9: notify wants TSIG key c.example.net., which is not in the tsig plugin of this server block"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}
