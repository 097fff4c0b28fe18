// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"os"
	"sync"
	"testing"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/audit/audittest"
)

// Every event that any test of this package gives to a sink is kept, and held against the schema
// as the line that it becomes. (The tests from outside look at what was written: interop.)
func TestMain(m *testing.M) {
	var mu sync.Mutex
	var events [][]byte
	audit.Witness = func(event []byte) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, event)
	}
	code := m.Run()
	mu.Lock()
	defer mu.Unlock()
	audit.Witness = nil
	if wrong := audittest.NotOfSchema(events); wrong > 0 && code == 0 {
		code = 1
	}
	os.Exit(code)
}
