// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// TestSerialsMeanTheSame: a serial has one content before and another after a restart, the
// file having gone back between, or been changed while the server was down. Whoever has
// either is never told what changed since the other.
func TestSerialsMeanTheSame(t *testing.T) {
	const rule = "allow as lan net 127.0.0.0/29 unsigned\n"
	for _, journal := range []string{"", "journal DIR/journal\n"} {
		for _, back := range []bool{false, true} { // the file goes back before the restart
			for _, polled := range []bool{false, true} { // the secondary asks between
				t.Run(fmt.Sprintf("journal %v, back %v, polled %v", journal != "", back, polled), func(t *testing.T) {
					corefile := xfrtest.Guarded(rule+journal, "")
					zone := func(serial int, only string) string {
						return strings.Replace(xfrtest.ManyHosts(30), " 7 7200", fmt.Sprintf(" %d 7200", serial), 1) + only + " IN TXT \"only here\"\n"
					}
					s := xfrtest.Serve(t, corefile, map[string]string{"db": zone(7, "only-x")})
					write := func(content string) {
						t.Helper()
						if err := os.WriteFile(filepath.Join(s.Dir, "db"), []byte(content), 0o600); err != nil {
							t.Fatal(err)
						}
					}
					get := func(from string, m *dns.Msg) string {
						t.Helper()
						return xfrtest.Unpack(t, xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), from, xfrtest.Packed(t, m), 1)[0]).String()
					}
					whole := func(from string, m *dns.Msg, only string) {
						t.Helper()
						if got := get(from, m); !strings.Contains(got, only) || !strings.Contains(got, "h17.") {
							t.Fatalf("%s got, not the whole zone with %s, %s", from, only, got)
						}
					}
					whole("127.0.0.1", xfrtest.Question(dns.TypeAXFR), "only-x")
					if back {
						write(zone(5, "only-x"))
						if err := s.Reload(corefile); err != nil {
							t.Fatal(err)
						}
						whole("127.0.0.2", xfrtest.Question(dns.TypeAXFR), "only-x")
					}
					write(zone(7, "only-y"))
					s.Restart(t, corefile)
					whole("127.0.0.2", xfrtest.Question(dns.TypeAXFR), "only-y")
					if polled {
						got := get("127.0.0.1", xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(7)))
						if known := journal != ""; strings.Contains(got, "only-y") != known {
							t.Errorf("what the serial meant is known %v, and it got %s", known, got)
						}
						if journal != "" {
							return // it has the other content now
						}
					}
					write(zone(8, "only-y"))
					if err := s.Reload(corefile); err != nil {
						t.Fatal(err)
					}
					whole("127.0.0.1", xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(7)), "only-y")
					if got := get("127.0.0.2", xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(7))); journal == "" && strings.Contains(got, "h17.") {
						t.Errorf("who was sent serial 7 by this process got the whole zone: %s", got)
					}
				})
			}
		}
	}
}
