// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/corefile"
)

// place returns what answers for a name: its directive, and the audit log.
func (g *guard) place(name string) (*corefile.Config, *audit.Auditor) {
	if a := g.each[name]; a != nil {
		return g.configs[name], a
	}
	return g.configs[name], g.audit
}
