// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// followRounds is how often TestFollowStorm changes everything.
func followRounds() int {
	n, _ := strconv.Atoi(os.Getenv("XFRGUARD_FOLLOW_ROUNDS"))
	return cmp.Or(n, 2)
}

// whole reports what is wrong with a transfer of the whole zone with the nth secret.
func (f *followed) whole(t testing.TB, n int) error {
	t.Helper()
	rrs, err := peer.Transfer(t.Context(), f.addr(), auditZone, &peer.Key{Name: followKey, Algorithm: dns.HmacSHA256, Secret: followSecret(n)})
	if err == nil && len(rrs) < auditRecords {
		err = fmt.Errorf("%d records", len(rrs))
	}
	return err
}

// running counts goroutines of CoreDNS in which a function runs.
func (f *followed) running(functions ...string) (counts []int, err error) {
	c := http.Client{Timeout: auditPatience, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := c.Get("http://" + peer.Loopback(f.debug) + "/debug/pprof/goroutine?debug=2")
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	for _, name := range functions {
		counts = append(counts, strings.Count(string(text), name+"("))
	}
	return counts, err
}

// TestFollowStorm: the key file, the Corefile and a SIGUSR1 all at once, again and again,
// now and then with a broken key file before: after each round the new key is the only one
// and opens the whole zone, and in the end one instance lives, and follows. Without the
// signal it is the reload plugin that takes the Corefile.
func TestFollowStorm(t *testing.T) {
	for name, signal := range map[string]bool{"with SIGUSR1": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			followStorm(t, signal)
		})
	}
}

func followStorm(t *testing.T, signal bool) {
	t.Helper()
	f := startFollowed(t, byRename, "", map[string]string{"keys": followKeys(0)})
	tool := operatorTool(t)
	rounds := followRounds()
	var longest time.Duration
	for n := 1; n <= rounds; n++ {
		how := []replace{byRename, inPlace}[rand.IntN(2)]
		steps := []func(){
			func() { how(t, f.files, map[string]string{"keys": followKeys(n)}) },
			func() { f.edit(t, n) },
			func() {
				if signal {
					must(t, f.Signal(syscall.SIGUSR1))
				}
			},
		}
		if n%5 == 0 {
			how(t, f.files, map[string]string{"keys": "key half"})
			time.Sleep(rand.N(followInterval)) // anywhere between the looks
		}
		begin := time.Now()
		for _, i := range rand.Perm(len(steps)) {
			steps[i]()
			// Anywhere in a restart of another cause, or in one by the follower.
			time.Sleep(rand.N([]time.Duration{20 * time.Millisecond, followInterval / 3}[rand.IntN(2)]))
		}
		eventually(t, fmt.Sprintf("key %d to be the only one", n), func() error { return f.only(n, n-1) })
		longest = max(longest, time.Since(begin))
		eventually(t, "the whole zone", func() error { return f.whole(t, n) }) // a restart may cut one
	}
	if signal { // nobody else takes the last edit
		must(t, f.Signal(syscall.SIGUSR1))
	}
	f.pending(t, 0)
	want := fmt.Sprint([]int{1, 1, 1})
	eventually(t, "one instance", func() error {
		got, err := f.running("xfrguard.(*follower).run", "dnsserver.(*Server).Serve", "dnsserver.(*Server).ServePacket")
		if fmt.Sprint(got) != want {
			return fmt.Errorf("%v %w", got, err)
		}
		return nil
	})
	for range 20 {
		must(t, f.whole(t, rounds))
	}
	f.Stop()
	var events []peer.Event
	starts := 0
	for _, l := range readAudit(t, f.log) {
		events = append(events, l.Event)
		switch l.Action {
		case "audit-start":
			starts++
		case "audit-stop":
			starts--
		}
	}
	if _, err := peer.Paired(events); err != nil || starts != 0 {
		t.Errorf("%v, %d more audit-start than audit-stop", err, starts)
	}
	wantVerified(t, tool, f.log)
	said := map[string]int{}
	for _, s := range f.said(t) {
		said[s]++
	}
	t.Logf("%d rounds, the longest %v: %v", rounds, longest.Round(time.Millisecond), said)
}
