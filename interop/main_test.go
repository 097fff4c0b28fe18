// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package interop runs CoreDNS with the guard against the servers and clients of
// others, as Debian ships them, on loopback.
package interop

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// coreDNS is the binary under test, built once.
var coreDNS string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv("XFRGUARD_SKIP_PEERS") == "1" {
		fmt.Println("interop: nothing is tested, because XFRGUARD_SKIP_PEERS=1 says so")
		return 0
	}
	dir, err := os.MkdirTemp("", "xfrguard-interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute) // a cold build
	defer cancel()
	if coreDNS, err = peer.Build(ctx, dir); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		return 1
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "interop:", err)
			return 1
		}
	}
	return code
}
