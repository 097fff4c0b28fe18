// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// The timers of the zone in seconds. Each stage of the test is longer than its expire.
const (
	heldRefresh = 1
	heldExpire  = 4
	heldStage   = heldExpire*time.Second + 2*time.Second
)

// heldZone is the zone with a serial and so many hosts.
func heldZone(serial, hosts int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "$ORIGIN %s\n$TTL 60\n@ SOA ns1 hostmaster %d %d %d %d 1\n@ NS ns1\nns1 A 127.0.0.1\n",
		refusedZone, serial, heldRefresh, heldRefresh, heldExpire)
	for i := range hosts {
		fmt.Fprintf(&b, "h%d A 192.0.2.%d\n", i, i+1)
	}
	return b.String()
}

// follower is a secondary of the zone.
type follower struct {
	puller
	*peer.Process
	port int
}

// has asks for the serial and one host of the zone.
func (f *follower) has(ctx context.Context, host string) (serial uint32, there bool, err error) {
	c := dns.Client{Timeout: time.Second}
	serial, err = peer.Serial(ctx, peer.Loopback(f.port), refusedZone)
	if err != nil {
		return 0, false, err
	}
	r, _, err := c.ExchangeContext(ctx, new(dns.Msg).SetQuestion(host+"."+refusedZone, dns.TypeA), peer.Loopback(f.port))
	if err != nil {
		return serial, false, err
	}
	if r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError {
		return serial, false, errors.New(dns.RcodeToString[r.Rcode])
	}
	return serial, len(r.Answer) == 1, nil
}

// stays watches a secondary, which must have all of one version at every look.
func (f *follower) stays(ctx context.Context, serial uint32, until time.Time) error {
	lost := 0
	for time.Now().Before(until) {
		got, there, err := f.has(ctx, "h39")
		switch {
		case err != nil && strings.Contains(err.Error(), "timeout") && lost < 3:
			lost++ // the machine is busy
		case err != nil:
			return fmt.Errorf("%s: %w", f.name, err)
		case got != serial || !there:
			return fmt.Errorf("%s has serial %d, its last host: %t", f.name, got, there)
		}
		time.Sleep(200 * time.Millisecond)
	}
	return nil
}

// TestHeldFollowed: while a truncated zone is held back, all secondaries keep the last good
// version whole past its expire, also when the primary is killed meanwhile; they have the
// next good one within 5 s, by NOTIFY.
func TestHeldFollowed(t *testing.T) {
	t.Parallel()
	dir, port := t.TempDir(), peer.Port(t)
	zone, corefile, log := filepath.Join(dir, "db"), filepath.Join(dir, "Corefile"), filepath.Join(dir, "audit.log")
	peer.WriteFile(t, zone, heldZone(10, 40))
	var followers []*follower
	for _, p := range pullers() {
		followers = append(followers, &follower{puller: p, port: peer.Port(t)})
	}
	var ports []string
	for _, f := range followers {
		ports = append(ports, peer.Loopback(f.port))
	}
	peer.WriteFile(t, corefile, fmt.Sprintf(`%[1]s:%[2]d {
	bind 127.0.0.1
	errors
	tsig {
		secret %[3]s %[4]s
	}
	xfrguard {
		allow as signed net 127.0.0.1 key %[3]s
		allow as plain net 127.0.0.1 unsigned
		rate 6000/1m burst 1000
		notify %[5]s
		journal %[6]s
		hold shrink 20%%
		audit file %[7]s
	}
	file %[8]s {
		reload 200ms
	}
}
`, refusedZone, port, sha256Key.Name, sha256Key.Secret, strings.Join(ports, " "), filepath.Join(dir, "journal"), log, zone))
	start := func(serial uint32) *peer.Process {
		p := peer.Run(t, "coredns", dir, coreDNS, "-conf", corefile)
		awaitSerial(t, p, port, serial, 30*time.Second)
		return p
	}
	primary := start(10)
	for _, f := range followers {
		f.Process = f.start(t, f.port, port)
	}
	for _, f := range followers {
		awaitSerial(t, f.Process, f.port, 10, 60*time.Second)
	}
	// each runs in all secondaries at once.
	each := func(what string, fn func(*follower) error) {
		t.Helper()
		failed := make(chan error)
		for _, f := range followers {
			go func() { failed <- fn(f) }()
		}
		for range followers {
			if err := <-failed; err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	holding := func(times int) {
		t.Helper()
		eventually(t, "an event zone-held", func() error {
			text, err := os.ReadFile(log)
			if n := strings.Count(string(text), `"event.action":"zone-held"`); err == nil && n < times {
				err = fmt.Errorf("%d events", n)
			}
			return err
		})
	}

	peer.WriteFile(t, zone, heldZone(11, 10))
	holding(1)
	stays := func(f *follower) error { return f.stays(t.Context(), 10, time.Now().Add(heldStage)) }
	each("held", stays)
	primary.Kill()
	start(11)
	holding(2)
	each("held after a kill", stays)

	peer.WriteFile(t, zone, heldZone(12, 41))
	eventually(t, "an event zone-released", func() error {
		if text, err := os.ReadFile(log); err != nil || !strings.Contains(string(text), `"event.action":"zone-released"`) {
			return fmt.Errorf("not yet (%w)", err)
		}
		return nil
	})
	released := time.Now()
	each("released", func(f *follower) error {
		for {
			serial, there, err := f.has(t.Context(), "h40")
			if err == nil && serial == 12 && there {
				t.Logf("%s: %v", f.name, time.Since(released).Round(time.Millisecond))
				return nil
			}
			if time.Since(released) > 5*time.Second {
				return fmt.Errorf("%s has serial %d after 5 s (%w)", f.name, serial, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
}
