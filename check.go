// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/lint"
)

// checkAndExit is for a CoreDNS that was started with XFRGUARD_CHECK: the setup of every
// plugin has run, and nothing has started. It prints what is found and ends the process
// with 0, or 1 where something warns. An error is CoreDNS's own end, with 1 too.
func (in *instance) checkAndExit() error {
	code, err := in.checkOnly(os.Stdout, os.Getenv(lint.CheckVariable) == "json")
	if err != nil {
		return err
	}
	os.Exit(code)
	return nil
}

// checkOnly writes the findings of all server blocks.
func (in *instance) checkOnly(out io.Writer, forPrograms bool) (code int, err error) {
	guards := in.sorted()
	if err := in.check(guards); err != nil {
		return 0, err
	}
	count := 0
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for _, g := range guards {
		if g.auditOf != nil {
			continue
		}
		fs := g.lint(in)
		count += len(fs)
		for i := range fs {
			warns := fs[i].Level() == finding.Warn
			if warns {
				code = 1
			}
			if forPrograms {
				err = enc.Encode(fs[i].Tell(warns && g.findings == corefile.FindingsFail))
			} else {
				_, err = fmt.Fprintln(out, &fs[i])
			}
			if err != nil {
				return 0, fmt.Errorf("tell of a finding: %w", err)
			}
		}
	}
	if forPrograms {
		err = enc.Encode(lint.Checked{Checked: true, Findings: count})
	} else {
		_, err = fmt.Fprintf(out, "xfrguard: the Corefile can be loaded; %d findings\n", count)
	}
	return code, err
}
