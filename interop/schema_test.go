// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// wantAllOfSchema has every audit line that is there at the end of the test held against
// the schema: those in the files of the patterns, and those on the standard output of p.
// Call it before the server is started: what is registered first runs last, after it has stopped.
func wantAllOfSchema(t testing.TB, p func() *peer.Process, patterns ...string) {
	t.Helper()
	t.Cleanup(func() {
		for _, pattern := range patterns {
			paths, err := filepath.Glob(pattern)
			must(t, err)
			for _, path := range paths {
				if st, err := os.Lstat(path); err == nil && st.Mode().IsRegular() {
					readAudit(t, path)
				}
			}
		}
		if p == nil || p() == nil || !guarded {
			return
		}
		var events strings.Builder
		for _, line := range p().Stdout.Lines() {
			if strings.HasPrefix(line, `{"@timestamp"`) {
				events.WriteString(line + "\n")
			}
		}
		parseAudit(t, []byte(events.String()))
	})
}
