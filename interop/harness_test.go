// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/rrset"
	"github.com/xfrguard/xfrguard/interop/zonegen"
)

// guarded is false only where the harness itself is tried on stock CoreDNS.
var guarded = os.Getenv("XFRGUARD_INTEROP_STOCK") == ""

var (
	sha256Key = peer.Key{Name: "ns-256.key.", Algorithm: "hmac-sha256.", Secret: "aW50ZXJvcC10ZXN0LWtleS1mb3ItaG1hYy1zaGEyNTY="}
	sha512Key = peer.Key{Name: "ns-512.key.", Algorithm: "hmac-sha512.", Secret: "aW50ZXJvcC10ZXN0LWtleS1mb3ItaG1hYy1zaGE1MTIsIHdoaWNoIGlzIGxvbmdlciBhcyBpdCBzaG91bGQgYmU="}
)

// source is a zone whose file a test writes and changes.
type source struct {
	peer.Zone
	text func(t testing.TB, serial uint32) string
	path string
}

const bulkRecords = 5000

func bulk(origin string, key peer.Key) *source {
	return &source{Zone: peer.Zone{Origin: origin, Key: key}, text: func(_ testing.TB, serial uint32) string {
		return zonegen.Bulk(origin, serial, bulkRecords)
	}}
}

func awkward(origin string, key peer.Key) *source {
	return &source{Zone: peer.Zone{Origin: origin, Key: key, Large: true}, text: func(_ testing.TB, serial uint32) string {
		return zonegen.Awkward(origin, serial)
	}}
}

func signed(t testing.TB, origin string, key peer.Key, mixedCase bool) *source {
	signer := &zonegen.Signer{Dir: t.TempDir(), Origin: origin, MixedCase: mixedCase}
	return &source{Zone: peer.Zone{Origin: origin, Key: key}, text: func(t testing.TB, serial uint32) string {
		t.Helper()
		text, err := signer.Sign(t.Context(), serial)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}}
}

// write puts the zone with serial into its file and returns its content.
func (s *source) write(t testing.TB, serial uint32) rrset.Set {
	t.Helper()
	text := s.text(t, serial)
	want, err := rrset.Parse(strings.NewReader(text), s.Origin, s.path)
	if err != nil {
		t.Fatal(err)
	}
	peer.WriteFile(t, s.path, text)
	return want
}

// primary is a CoreDNS that serves sources, each to its own key from 127.0.0.1.
type primary struct {
	*peer.CoreDNS
	want map[string]rrset.Set // by origin, as last written
}

// startPrimary writes each source with serial 1 and serves them; NOTIFY goes to
// the ports of 127.0.0.1 given.
func startPrimary(t testing.TB, port int, notify []int, sources ...*source) *primary {
	t.Helper()
	dir := t.TempDir()
	p := &primary{want: map[string]rrset.Set{}}
	for _, s := range sources {
		s.path = filepath.Join(dir, s.Origin+"db")
		p.want[s.Origin] = s.write(t, 1)
	}
	p.CoreDNS = startGuarded(t, port, sources[0].Origin, corefile(port, notify, sources))
	return p
}

// startGuarded is peer.StartCoreDNS with every event on standard output held against the
// schema at the end of the test.
func startGuarded(t testing.TB, port int, zone, corefile string) (c *peer.CoreDNS) {
	t.Helper()
	wantAllOfSchema(t, func() *peer.Process {
		if c == nil {
			return nil
		}
		return c.Process
	})
	c = peer.StartCoreDNS(t, coreDNS, port, zone, corefile)
	return c
}

func corefile(port int, notify []int, sources []*source) string {
	var b strings.Builder
	for _, s := range sources {
		fmt.Fprintf(&b, "%s:%d ", s.Origin, port)
	}
	fmt.Fprintf(&b, "{\n\tbind 127.0.0.1\n\terrors\n\ttsig {\n\t\tsecret %s %s\n\t\tsecret %s %s\n\t}\n",
		sha256Key.Name, sha256Key.Secret, sha512Key.Name, sha512Key.Secret)
	if guarded {
		for _, s := range sources {
			fmt.Fprintf(&b, "\txfrguard %s {\n\t\tallow as ns-of-%s net 127.0.0.1 key %s\n\t}\n", s.Origin, s.Origin, s.Key.Name)
		}
	}
	to := ""
	for _, port := range notify {
		to += " " + peer.Loopback(port)
	}
	if !guarded {
		to += " *"
	}
	if to != "" {
		fmt.Fprintf(&b, "\ttransfer {\n\t\tto%s\n\t}\n", to)
	}
	for _, s := range sources {
		fmt.Fprintf(&b, "\tfile %s %s {\n\t\treload 500ms\n\t}\n", s.path, s.Origin)
	}
	b.WriteString("}\n")
	return b.String()
}

// pairs waits until every allowed transfer of p has ended and returns the pairs
// of decision and end.
func (p *primary) pairs(t testing.TB) [][2]peer.Event {
	t.Helper()
	var pairs [][2]peer.Event
	var err error
	for range 200 { // an end is written after the client has its last octet
		var events []peer.Event
		if events, err = peer.Events(p.Stdout.Lines()); err != nil {
			t.Fatal(err)
		}
		if pairs, err = peer.Paired(events); err == nil {
			return pairs
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatal(err)
	return nil
}

// compare fails t when got, the records of an AXFR, is not want.
func compare(t testing.TB, where string, want, got rrset.Set) {
	t.Helper()
	if diff := rrset.Diff(want, got); diff != "" {
		t.Errorf("%s is not the zone file: %s", where, diff)
	}
}
