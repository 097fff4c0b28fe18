// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"maps"
	"slices"
	"strings"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/lint"
)

// lintUnnamed finds zones in the lists of the block's backends that no directive names, and
// says what to write: a pattern where the list may change, else their names.
func (g *guard) lintUnnamed(fs *lint.Findings) {
	listed := g.roster.list()
	byBackend := make(map[string][]string)
	for _, apex := range slices.Sorted(maps.Keys(listed)) {
		if g.covering(apex) == nil {
			byBackend[listed[apex]] = append(byBackend[listed[apex]], apex)
		}
	}
	for _, backend := range slices.Sorted(maps.Keys(byBackend)) {
		zones := byBackend[backend]
		write := corefile.Everything
		if backend != "auto" && backend != "secondary" && len(zones) <= maxNamed {
			write = strings.Join(zones, " ")
		}
		fs.Add(finding.ZonesUnguarded, g.pos, "no xfrguard of this server block names %s, of %s, so that transfers are refused: write 'xfrguard %s' with the rules for them",
			fewOf(zones), backend, write)
	}
}
