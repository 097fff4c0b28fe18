// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
)

const (
	// guard is the plugin's directive.
	guard = "xfrguard"
	// door is the directive that the guard follows. Those up to it only watch, so they see
	// refusals too; those behind it may answer, alter, or strip what a decision rests on.
	door = "dnstap"
)

var (
	// watchers have to stay in front of the guard, so that they see refusals too.
	watchers = []string{"prometheus", "errors", "log"}
	// changers have to stay behind the guard: each can answer, relay or rewrite a transfer, or
	// (tsig, acl) hide the request that an audit has to show.
	changers = []string{
		"local", "any", "chaos", "tsig", "rewrite", "autopath", "acl", "cache", "dnssec", "minimal",
		"template", "transfer", "file", "auto", "secondary", "forward", "grpc", "erratic",
	}
)

// directives returns CoreDNS's directives in core, with xfrguard right after dnstap; core is left
// as it is. It returns an error when core does not have the order that the guard relies on: a guard
// in a wrong place would be passed by, and no guard is better seen than one that does not guard.
func directives(core []string) ([]string, error) {
	if slices.Contains(core, guard) {
		return nil, fmt.Errorf("directive order: %q is in CoreDNS's own list already; build that CoreDNS without this command", guard)
	}
	place := slices.Index(core, door)
	if place < 0 {
		return nil, missing(door)
	}
	for _, name := range watchers {
		switch at := slices.Index(core, name); {
		case at < 0:
			return nil, missing(name)
		case at > place:
			return nil, fmt.Errorf("directive order: %q comes after %q, so it would not see what %q refuses", name, door, guard)
		}
	}
	for _, name := range changers {
		switch at := slices.Index(core, name); {
		case at < 0:
			return nil, missing(name)
		case at < place:
			return nil, fmt.Errorf("directive order: %q comes before %q, so it would meet transfers before %q does", name, door, guard)
		}
	}
	return slices.Insert(slices.Clone(core), place+1, guard), nil
}

func missing(name string) error {
	return fmt.Errorf("directive order: CoreDNS has no directive %q, so the place of %q is unknown; use the CoreDNS version in go.mod", name, guard)
}
