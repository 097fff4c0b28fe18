// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"

	"github.com/xfrguard/xfrguard/internal/coredns"
)

const (
	// guard is the plugin's directive.
	guard = "xfrguard"
	// door is the directive that the guard follows. Those up to it only watch, so they see
	// refusals too; those behind it may answer, alter, or strip what a decision rests on.
	door = "dnstap"
)

// directives returns CoreDNS's directives in core, with xfrguard right after dnstap; core is left
// as it is. It returns an error when core does not have the order that the guard relies on: a guard
// in a wrong place would be passed by, and no guard is better seen than one that does not guard.
func directives(core []string) ([]string, error) {
	if slices.Contains(core, guard) {
		return nil, fmt.Errorf("directive order: %q is in CoreDNS's own list already; build that CoreDNS without this command", guard)
	}
	for _, name := range slices.Concat([]string{door}, coredns.Harmless, coredns.Answering) {
		if name != guard && !slices.Contains(core, name) {
			return nil, fmt.Errorf("directive order: CoreDNS has no directive %q, so the place of %q is unknown; use the CoreDNS version in go.mod", name, guard)
		}
	}
	list := slices.Insert(slices.Clone(core), slices.Index(core, door)+1, guard)
	if err := coredns.CheckOrder(list); err != nil {
		return nil, fmt.Errorf("directive order: %q %w", guard, err)
	}
	return list, nil
}
