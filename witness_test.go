// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/xfrguard/xfrguard/internal/trail"
)

// Every event that any test of this package gives to a sink is kept, and held against the schema
// as the line that it becomes. (The tests from outside look at what was written: interop.)
func TestMain(m *testing.M) {
	var mu sync.Mutex
	var events [][]byte
	witness = func(event []byte) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, event)
	}
	code := m.Run()
	mu.Lock()
	defer mu.Unlock()
	witness = nil
	if wrong := notOfSchema(events); wrong > 0 && code == 0 {
		code = 1
	}
	os.Exit(code)
}

// notOfSchema prints the first few lines that are not of the schema, and returns how many there are.
func notOfSchema(events [][]byte) int {
	chain, err := trail.NewChain()
	if err != nil {
		panic(err)
	}
	wrong := 0
	for _, event := range events {
		line, err := chain.Seal(event)
		var v any
		if err == nil {
			v, err = jsonschema.UnmarshalJSON(bytes.NewReader(line))
		}
		if err == nil {
			err = eventSchema().Validate(v)
		}
		if err == nil {
			continue
		}
		if wrong++; wrong <= 5 {
			fmt.Printf("not of the schema: %v\n%s\n", err, event)
		}
	}
	fmt.Printf("%d of %d events are of the schema\n", len(events)-wrong, len(events))
	return wrong
}
