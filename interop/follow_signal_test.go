// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
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
		if n := strings.Count(strings.Join(append(f.Stdout.Lines(), f.Stderr.Lines()...), "\n"), what); n < times {
			return fmt.Errorf("%d times", n)
		}
		return nil
	})
}
