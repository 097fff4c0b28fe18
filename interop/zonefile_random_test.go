// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/rrset"
	"github.com/xfrguard/xfrguard/interop/zonegen"
)

// randomZones is how many zone files TestRandomZoneFiles writes, unless
// XFRGUARD_ZONES says otherwise; batch is how many go into one start of the servers.
const (
	randomZones = 100
	batch       = 500
)

// Random zone files, as somebody may have written them by hand, are the same zone in an AXFR
// of CoreDNS with the guard, of BIND and of Knot DNS, but for the differences in
// knownDifferences, which docs/COMPATIBILITY.md lists.
func TestRandomZoneFiles(t *testing.T) {
	t.Parallel()
	n := randomZones
	if s := os.Getenv("XFRGUARD_ZONES"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil || n < 1 {
			t.Fatalf("XFRGUARD_ZONES is %q", s)
		}
	}
	seed := ixfrSeed(t)
	total := make(tally)
	for first := 0; first < n; first += batch {
		compareRandom(t, seed+uint64(first), min(batch, n-first), total)
		if t.Failed() {
			return
		}
	}
	t.Logf("seed %d, %d zones: %v", seed, n, total)
	if n < 2000 {
		return
	}
	for quirk, peers := range knownDifferences {
		for name := range peers {
			if total[fmt.Sprintf("%s of %s", quirk, name)] == 0 {
				t.Errorf("in %d zones %s made no difference to %s: take it off the list", n, quirk, name)
			}
		}
	}
}

// tally is how often something was seen.
type tally map[string]int

// compareRandom compares n zones of all servers, started once.
func compareRandom(t *testing.T, seed uint64, n int, total tally) {
	dir := t.TempDir()
	var origins []string
	zones := make(map[string]*zonegen.Random)
	for i := range n {
		z := zonegen.NewRandom(fmt.Sprintf("z%d.test.", i), dir, seed+uint64(i))
		peer.WriteFile(t, filepath.Join(dir, fileOf(z.Origin)), z.Text)
		for path, text := range z.Included {
			peer.WriteFile(t, path, text)
		}
		origins, zones[z.Origin] = append(origins, z.Origin), z
		for kind, n := range z.Kinds {
			total[kind] += n
		}
	}
	r := startReaders(t, dir, origins[0], origins, "named", "knotd")
	var mu sync.Mutex
	var wg sync.WaitGroup
	queue := make(chan string)
	for range 4 {
		wg.Go(func() {
			for origin := range queue {
				got := r.read(t, origin)
				mu.Lock()
				r.compare(t, zones[origin], got, total)
				mu.Unlock()
			}
		})
	}
	for _, origin := range origins {
		queue <- origin
	}
	close(queue)
	wg.Wait()
}

// compare compares one zone as all servers send it.
func (r *readers) compare(t *testing.T, z *zonegen.Random, got map[string][]dns.RR, total tally) {
	t.Helper()
	text := func() string {
		var b strings.Builder
		b.WriteString(z.Text)
		for name, text := range z.Included {
			b.WriteString("---- " + name + "\n" + text)
		}
		return b.String()
	}
	for _, name := range []string{guardName, "named", "knotd"} {
		if got[name] == nil && (name != "knotd" || z.Plain) {
			t.Errorf("%s does not read %s: %s\n%s", name, z.Origin, r.said(name, z.Origin), text())
			return
		}
	}
	ours, err := rrset.FromTransfer(got[guardName])
	if err != nil {
		t.Errorf("%s of %s: %v\n%s", z.Origin, guardName, err, text())
		return
	}
	total["records"] += len(ours)
	for _, name := range []string{"named", "knotd"} {
		if got[name] == nil {
			continue
		}
		theirs, err := rrset.FromTransfer(got[name])
		if err != nil {
			t.Errorf("%s of %s: %v\n%s", z.Origin, name, err, text())
			continue
		}
		ours := explain(z, name, ours, theirs, total)
		if diff := rrset.Diff(theirs, ours); diff != "" {
			t.Errorf("%s is another zone than %s has, and no known difference: %s\n%s", z.Origin, name, diff, text())
		}
	}
}

// explain returns our zone with what is known to differ, at the owners where it may, made
// as the other server has it.
func explain(z *zonegen.Random, name string, ours, theirs rrset.Set, total tally) rrset.Set {
	if rrset.Diff(theirs, ours) == "" {
		return ours
	}
	for _, odd := range z.Odd {
		mend := knownDifferences[odd.Quirk][name]
		if mend == nil {
			continue
		}
		owner, read := wireName(odd.Owner), wireName(strings.ToLower(odd.Owner))
		at := func(s rrset.Set, owners ...string) rrset.Set {
			found := rrset.Set{}
			for key, rr := range s {
				if slices.Contains(owners, wireName(rr.Header().Name)) {
					found[key] = rr
				}
			}
			return found
		}
		before, want := at(ours, owner, read), at(theirs, owner)
		if rrset.Diff(want, before) == "" {
			continue
		}
		var mended []dns.RR
		for _, rr := range before.Records() {
			mended = append(mended, dns.Copy(rr))
		}
		mend(mended, want.Records())
		after, err := rrset.FromRecords(mended)
		if err != nil {
			continue
		}
		if rrset.Diff(want, after) == "" {
			total[fmt.Sprintf("%s of %s", odd.Quirk, name)]++
		}
		ours = maps.Clone(ours)
		for key := range before {
			delete(ours, key)
		}
		maps.Copy(ours, after)
	}
	return ours
}

// wireName is a name in the one form in which it is read from a message, its ASCII letters
// in lower case.
func wireName(name string) string {
	var b [256]byte
	n, err := dns.PackDomainName(name, b[:], 0, nil, false)
	if err != nil {
		return name
	}
	for i := range n { // no length of a label is a letter
		if 'A' <= b[i] && b[i] <= 'Z' && b[i] > 63 {
			b[i] += 'a' - 'A'
		}
	}
	name, _, err = dns.UnpackDomainName(b[:n], 0)
	if err != nil {
		return ""
	}
	return name
}
