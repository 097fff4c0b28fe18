// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

// A NOTIFY leaves from the address of bind, from that of transfer where it has one, or
// from the one that the line gives.
func TestNotifyLeavesFrom(t *testing.T) {
	for _, tt := range []struct{ line, extra, want string }{
		{"", "", "127.0.0.2"},
		{"", "transfer {\n to 127.0.0.9:9\n source 127.0.0.4\n }", "127.0.0.4"},
		{" source 127.0.0.3", "transfer {\n to 127.0.0.9:9\n source 127.0.0.4\n }", "127.0.0.3"},
	} {
		l := xfrtest.NewListener(t)
		corefile := xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.\n notify 127.0.0.1:"+l.Port()+" key a.example.net."+tt.line, tt.extra)
		xfrtest.Serve(t, strings.Replace(corefile, "bind 127.0.0.1", "bind 127.0.0.2", 1), map[string]string{"db": xfrtest.ZoneOrg})
		l.Wait(t, "example.org. 7 a.example.net. hmac-sha256.")
		l.Mu.Lock()
		if got := strings.Join(l.From, " "); got != tt.want {
			t.Errorf("%q beside %q: NOTIFY came from %s, want %s", tt.line, tt.extra, got, tt.want)
		}
		l.Mu.Unlock()
	}
}

// What a start has to tell one secondary comes at 20 a second, however many zones it has.
func TestNotifyAtStartKeepsAPace(t *testing.T) {
	const zones = 50
	l := xfrtest.NewListener(t)
	var keys, files strings.Builder
	want := make([]string, zones)
	for i := range zones {
		name := fmt.Sprintf("z%d.example.org", i)
		fmt.Fprintf(&keys, "%s:0 ", name)
		fmt.Fprintf(&files, "file DIR/db %s\n", name)
		want[i] = name + ". 7 a.example.net. hmac-sha256."
	}
	corefile := xfrtest.Guarded("allow net 127.0.0.1 key a.example.net.\n notify 127.0.0.1:"+l.Port()+" key a.example.net.", files.String())
	corefile = strings.Replace(corefile, "example.org:0", keys.String(), 1)
	corefile = strings.Replace(corefile, "file DIR/db\n", "", 1)
	db := "@ 3600 IN SOA ns hostmaster 7 7200 1800 1209600 300\n@ 3600 IN NS ns\nns 3600 IN A 192.0.2.1\n"
	xfrtest.Serve(t, corefile, map[string]string{"db": db})
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		l.Mu.Lock()
		n := len(l.Came)
		l.Mu.Unlock()
		if n == zones {
			break
		}
	}
	l.Mu.Lock()
	at := l.At
	l.Mu.Unlock()
	l.Wait(t, want...)
	if len(at) == zones && at[zones-1].Sub(at[0]) < (zones-2)*time.Second/20 {
		t.Errorf("%d NOTIFYs came within %v", zones, at[zones-1].Sub(at[0]))
	}
}
