// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"os"
	"sync"
	"testing"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
)

// Every event that any test of this package gives to a sink is kept, and held against the
// schema as the line that it becomes. Paths are those of the module's root.
func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		panic(err)
	}
	var mu sync.Mutex
	var events [][]byte
	Witness = func(event []byte) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, event)
	}
	code := m.Run()
	mu.Lock()
	defer mu.Unlock()
	Witness = nil
	if wrong := audittest.NotOfSchema(events); wrong > 0 && code == 0 {
		code = 1
	}
	os.Exit(code)
}
