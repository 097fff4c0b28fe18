// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/rrset"
)

// from are zones of server blocks that listen in several ways. Their secondary has its
// primary at 127.0.0.2, and takes no NOTIFY from elsewhere.
var from = []struct {
	origin, bind, notify string
	taken                bool
}{
	{"several.test.", "127.0.0.1 127.0.0.2", "notify 127.0.0.1:PORT", false}, // the system's choice is 127.0.0.1
	{"source.test.", "127.0.0.1 127.0.0.2", "notify 127.0.0.1:PORT source 127.0.0.2", true},
	{"bind.test.", "127.0.0.2", "notify 127.0.0.1:PORT", true},
}

// A secondary that knows its primary by its address takes a NOTIFY that leaves from the
// address of bind or from source, and follows at once; where neither decides, the NOTIFY is
// refused, which is on record, and was a finding at the start. Then a serial goes back: no
// secondary follows, and that is a finding on record.
func TestNotifyFrom(t *testing.T) {
	t.Parallel()
	for _, software := range peer.Secondaries() {
		t.Run(software.Name, func(t *testing.T) {
			t.Parallel()
			port, own := peer.Port(t), peer.Port(t)
			dir := t.TempDir()
			p := &primary{want: map[string]rrset.Set{}}
			var corefile strings.Builder
			var sources []*source
			var zones []peer.Zone
			for _, f := range from {
				s := bulk(f.origin, sha256Key)
				s.path = filepath.Join(dir, s.Origin+"db")
				p.want[s.Origin] = s.write(t, 50)
				sources, zones = append(sources, s), append(zones, s.Zone)
				fmt.Fprintf(&corefile, "%s:%d {\n\tbind %s\n\terrors\n\ttsig {\n\t\tsecret %s %s\n\t}\n\txfrguard {\n\t\tallow as ns2 net 127.0.0.1 key %s\n\t\t%s\n\t}\n\tfile %s {\n\t\treload 500ms\n\t}\n}\n",
					f.origin, port, f.bind, sha256Key.Name, sha256Key.Secret, sha256Key.Name, strings.ReplaceAll(f.notify, "PORT", fmt.Sprint(own)), s.path)
			}
			p.CoreDNS = startGuarded(t, port, from[0].origin, corefile.String())
			secondary := peer.StartSecondaryOf(t, software, own, "127.0.0.2", port, zones)
			for i, s := range sources {
				holds(t, secondary, s, p.want[s.Origin], 50)
				if from[i].taken {
					p.awaitNotice(t, s.Origin, 50)
				}
			}
			for _, s := range sources {
				p.want[s.Origin] = s.write(t, 51)
			}
			for i, s := range sources {
				n := p.awaitNotice(t, s.Origin, 51)
				t.Logf("%s %s: %s %s %s", software.Name, s.Origin, n.Action, n.Reason, n.Error)
				if from[i].taken {
					secondary.AwaitSerial(t, s.Origin, 51, 12*time.Second)
				}
				if taken := n.Action == "zone-notify-accepted"; taken != from[i].taken || !strings.Contains(n.Line, `"coredns.xfr.secondary":"127.0.0.1"`) {
					t.Errorf("want it taken %v, and the secondary named: %s", from[i].taken, n.Line)
				}
			}
			if log := strings.Join(p.Stdout.Lines(), "\n"); strings.Count(log, "notify-source: ") != 1 {
				t.Errorf("want one finding notify-source:\n%s", log)
			}
			back := sources[len(sources)-1]
			back.write(t, 40)
			n := p.awaitNotice(t, back.Origin, 40)
			if serial, err := peer.Serial(t.Context(), secondary.Addr(), back.Origin); err != nil || serial != 51 {
				t.Errorf("%s has serial %d (%v) after %s, want 51", software.Name, serial, err, n.Line)
			}
			if log := strings.Join(p.Stdout.Lines(), "\n"); !strings.Contains(log, `"event.reason":"serial-backwards"`) {
				t.Errorf("no event of the serial that went back:\n%s", log)
			}
		})
	}
}
