// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/rrset"
)

// Every secondary pulls every kind of zone with either algorithm, and follows a
// new serial. The SOA's refresh is ten days, so only a NOTIFY, that of CoreDNS's
// transfer plugin or the guard's, can have told it.
func TestSecondaryFollows(t *testing.T) {
	t.Parallel()
	for _, software := range peer.Secondaries() {
		t.Run(software.Name, func(t *testing.T) {
			t.Parallel()
			sources := []*source{
				bulk("bulk256.test.", sha256Key),
				bulk("bulk512.test.", sha512Key),
				awkward("awkward256.test.", sha256Key),
				awkward("awkward512.test.", sha512Key),
				signed(t, "signed.test.", sha256Key, !software.LowersNSEC),
			}
			ports := [2]int{peer.Port(t), peer.Port(t)}
			primary := startPrimary(t, ports[0], ports[1:], sources...)
			var zones []peer.Zone
			for _, s := range sources {
				zones = append(zones, s.Zone)
			}
			secondary := peer.StartSecondary(t, software, ports[1], ports[0], zones)

			for _, s := range sources {
				holds(t, secondary, s, primary.want[s.Origin], 1)
			}
			for _, s := range sources {
				primary.want[s.Origin] = s.write(t, 2)
			}
			for _, s := range sources {
				holds(t, secondary, s, primary.want[s.Origin], 2)
			}
			if guarded {
				onRecord(t, primary, sources)
			}
		})
	}
}

// holds checks that the secondary comes to serve want as that serial of s.
func holds(t *testing.T, secondary *peer.Secondary, s *source, want rrset.Set, serial uint32) {
	t.Helper()
	secondary.AwaitSerial(t, s.Origin, serial, 30*time.Second)
	got := secondary.Content(t, s.Zone, serial)
	compare(t, s.Origin+" of "+secondary.Name, want, got)
	if strings.HasPrefix(s.Origin, "signed") {
		verifySignatures(t, s.Origin, got.Records())
	}
}

// verifySignatures has BIND check every signature and the NSEC chain of a zone.
func verifySignatures(t *testing.T, origin string, rrs []dns.RR) {
	t.Helper()
	var b strings.Builder
	for _, rr := range rrs {
		b.WriteString(rr.String() + "\n")
	}
	path := filepath.Join(t.TempDir(), "received.db")
	peer.WriteFile(t, path, b.String())
	out, err := exec.CommandContext(t.Context(), peer.Binary(t, "dnssec-verify"), "-o", origin, path).CombinedOutput()
	if err != nil {
		t.Errorf("dnssec-verify of %s as received: %v\n%s", origin, err, out)
	}
}

// onRecord checks that both serials of every zone left under the right rule and
// key, whole or as a difference, and that each transfer has one decision and one end.
func onRecord(t *testing.T, primary *primary, sources []*source) {
	t.Helper()
	type transfer struct {
		zone   string
		serial uint32
	}
	seen := map[transfer]bool{}
	for _, pair := range primary.pairs(t) {
		decision, end := pair[0], pair[1]
		if end.Reason != "complete" || !end.Complete {
			continue // what the peer broke off, or an answer that nothing has changed
		}
		if end.Outcome != "success" || decision.Client != "127.0.0.1" {
			t.Errorf("odd pair:\n%s\n%s", decision.Line, end.Line)
		}
		for _, s := range sources {
			if decision.Zone == s.Origin && decision.Key == s.Key.Name && decision.Rule == "ns-of-"+s.Origin {
				seen[transfer{s.Origin, end.Serial}] = true
				if end.Serial == 2 && end.Served != "ixfr" && end.Records != int64(len(primary.want[s.Origin]))+1 {
					t.Errorf("%d records on record, want the zone's %d and the closing SOA:\n%s", end.Records, len(primary.want[s.Origin]), end.Line)
				}
			}
		}
	}
	for _, s := range sources {
		for serial := range uint32(2) {
			if !seen[transfer{s.Origin, serial + 1}] {
				t.Errorf("no complete transfer of %s with serial %d under its rule and key on record", s.Origin, serial+1)
			}
		}
	}
	if t.Failed() {
		for _, pair := range primary.pairs(t) {
			t.Logf("%s\n%s", pair[0].Line, pair[1].Line)
		}
	}
}
