// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrtest

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/audit/audittest"
)

// Main runs the tests of a package in the root of the repository. Every event that any of
// them gives to a sink is kept, and held against the schema as the line that it becomes.
// (Where the binary runs, interop looks at what was written.)
func Main(m *testing.M) (code int) {
	for range 4 {
		if _, err := os.Stat("event.schema.json"); err == nil { // a test that starts itself is there already
			break
		}
		if err := os.Chdir(".."); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	var mu sync.Mutex
	var events [][]byte
	audit.Witness = func(event []byte) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, event)
	}
	code = m.Run()
	mu.Lock()
	defer mu.Unlock()
	audit.Witness = nil
	if wrong := audittest.NotOfSchema(events); wrong > 0 && code == 0 {
		code = 1
	}
	return code
}
