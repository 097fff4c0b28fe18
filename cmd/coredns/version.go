// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime/debug"
	"strings"
)

// version returns CoreDNS's version with the guard's as semantic versioning's build metadata, as in
// "1.15.0+xfrguard.0.1.0"; a build that knows no version of its own says "1.15.0+xfrguard".
func version(core string) string {
	v := core + "+" + guard
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	return v + suffix(info.Main.Version)
}

// suffix turns a Go module version into the identifiers after the guard's name: build metadata
// has no second plus sign.
func suffix(module string) string {
	if !strings.HasPrefix(module, "v") {
		return "" // "(devel)", or nothing at all
	}
	return "." + strings.ReplaceAll(module[1:], "+", ".")
}
