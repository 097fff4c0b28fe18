// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package e2e tests a whole CoreDNS with the plugin from outside: over sockets of loopback,
// by what it answers, writes down and counts.
package e2e

import (
	"os"
	"testing"

	_ "github.com/xfrguard/xfrguard"
	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

func TestMain(m *testing.M) { os.Exit(xfrtest.Main(m)) }
