// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/zonegen"
)

// TestSignalEndsReload: a SIGUSR1 ends CoreDNS's reload plugin. It is said, and that an edit
// of the Corefile is in force nowhere; keys are followed all the same.
func TestSignalEndsReload(t *testing.T) {
	t.Parallel()
	f := startFollowed(t, byRename, "", map[string]string{"keys": followKeys(0)})
	must(t, f.Signal(syscall.SIGUSR1))
	f.logged(t, "Reloading complete", 1)
	f.logged(t, "reload-after-signal", 1)
	f.edit(t, 1)
	f.says(t, "policy-files-changed no-reload", 1)
	f.pending(t, 1)
	f.replace(t, f.files, map[string]string{"keys": followKeys(1)})
	f.says(t, "policy-files-changed loaded", 1)
	must(t, f.only(1, 0))
	f.pending(t, 1)
	must(t, f.Signal(syscall.SIGUSR1))
	f.pending(t, 0)
}

// TestSignalUnderFindingsFail: where findings fail, such a signal changes nothing: the
// reload plugin goes on.
func TestSignalUnderFindingsFail(t *testing.T) {
	t.Parallel()
	f := startFollowed(t, byRename, "findings fail", map[string]string{"keys": followKeys(0)})
	must(t, f.Signal(syscall.SIGUSR1))
	f.says(t, "policy-reload-failed finding", 1)
	f.edit(t, 1)
	f.says(t, "policy-reload", 1)
	f.pending(t, 0)
	f.replace(t, f.files, map[string]string{"keys": followKeys(1)})
	f.says(t, "policy-files-changed loaded", 1)
	must(t, f.only(1, 0))
}

// edit changes a number in the Corefile that the policy takes note of.
func (f *followed) edit(t testing.TB, n int) {
	t.Helper()
	text, err := os.ReadFile(f.corefile())
	must(t, err)
	before, rest, _ := strings.Cut(string(text), "rate ")
	_, rest, _ = strings.Cut(rest, "/1s")
	byRename(t, f.dir, map[string]string{"Corefile": fmt.Sprintf("%srate %d/1s%s", before, 999999-n, rest)})
}

func (f *followed) logged(t testing.TB, what string, times int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%q in CoreDNS's log", what), func() error {
		if n := f.count(what); n < times {
			return fmt.Errorf("%d times", n)
		}
		return nil
	})
}

// count is how often CoreDNS's log has something.
func (f *followed) count(what string) int {
	return strings.Count(strings.Join(append(f.Stdout.Lines(), f.Stderr.Lines()...), "\n"), what)
}

// TestSignalWhileFollowing: a SIGUSR1 while the follower's own restart is under way is
// refused, and removes CoreDNS's event hooks until then. The instance that comes up
// meanwhile is followed all the same, and the reload plugin goes on.
func TestSignalWhileFollowing(t *testing.T) {
	t.Parallel()
	t.Run("keys", func(t *testing.T) {
		t.Parallel()
		f, n := signalWhileFollowing(t)
		f.replace(t, f.files, map[string]string{"keys": followKeys(n + 1)})
		f.says(t, "policy-files-changed loaded", n+1)
		must(t, f.only(n+1, n))
	})
	t.Run("Corefile", func(t *testing.T) {
		t.Parallel()
		f, n := signalWhileFollowing(t)
		if n > 1 {
			return // a signal has ended the reload plugin
		}
		f.edit(t, 1)
		f.says(t, "policy-reload", n+1)
		f.pending(t, 0)
	})
}

// signalWhileFollowing returns after such a signal, with the number of the key in force.
func signalWhileFollowing(t *testing.T) (f *followed, n int) {
	t.Helper()
	f = startFollowed(t, byRename, "", map[string]string{"keys": followKeys(0)})
	// A zone that takes seconds to read holds the restart up between the setups and the end.
	db := zonegen.Bulk(auditZone, 1, auditRecords) + strings.Repeat("many A 127.0.0.1\n", 400_000)
	byRename(t, f.dir, map[string]string{"db": db})
	for f.count("another reload has replaced this server") == 0 {
		// On a busy machine the signal may come late, and is a restart of its own.
		n++
		f.replace(t, f.files, map[string]string{"keys": followKeys(n)})
		f.logged(t, "Changed on disk", n)
		must(t, f.Signal(syscall.SIGUSR1))
		f.says(t, "policy-files-changed loaded", n)
		eventually(t, "the end of the signal's restart", func() error {
			if f.count("SIGUSR1: Reloading") > f.count("SIGUSR1: plugin")+f.count("Reloading complete")-n {
				return errors.New("not yet")
			}
			return nil
		})
	}
	must(t, f.only(n, n-1))
	return f, n
}

// TestSignalBringsReload: a reload that the Corefile has since a SIGUSR1 for the first time
// works: no finding is made of it, which could keep the Corefile from being loaded.
func TestSignalBringsReload(t *testing.T) {
	t.Parallel()
	f := startFollowed(t, byRename, "findings fail except reload-missing", map[string]string{"keys": followKeys(0)})
	f.Stop()
	whole, err := os.ReadFile(f.corefile())
	must(t, err)
	without := strings.Replace(string(whole), "reload", "# reload", 1)
	byRename(t, f.dir, map[string]string{"Corefile": without})
	f.Process = peer.Run(t, "coredns", f.dir, coreDNS, "-conf", f.corefile())
	f.ready(t)
	byRename(t, f.dir, map[string]string{"Corefile": string(whole)})
	must(t, f.Signal(syscall.SIGUSR1))
	f.says(t, "policy-reload", 1)
	f.edit(t, 1)
	f.says(t, "policy-reload", 2)
	f.pending(t, 0)
}
