// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/xfrguard/xfrguard/internal/check"
	"github.com/xfrguard/xfrguard/internal/finding"
)

// checkOptions are the flags of `xfrguard check`.
type checkOptions struct {
	format       string
	print        bool
	digest       bool
	failLevel    string
	coredns      string
	except       []string
	policyTables bool
	coverage     bool
}

func checkCommand() *cobra.Command {
	var o checkOptions
	c := &cobra.Command{
		Use:   "check [flags] COREFILE",
		Short: "Say what is wrong with a Corefile, and what its policy is",
		Long: `Read a Corefile as the plugin does, and say what is wrong with it: every mistake,
not the first, with file, line and what was expected, and every finding of
docs/FINDINGS.md that needs the text alone. Nothing is started, opened or sent.

The findings that need CoreDNS's other plugins are told by the CoreDNS that will
run the file: --coredns PATH starts it with XFRGUARD_CHECK=1, which runs the
setup of every plugin and ends before anything listens.

Exit codes: 0 nothing at the level of --fail-level or above; 1 something; 2
wrong use, or the Corefile cannot be read.`,
		Example: `  xfrguard check /etc/coredns/Corefile
  xfrguard check --coredns /usr/bin/coredns /etc/coredns/Corefile
  xfrguard check --policy Corefile          # who may have which zone
  xfrguard check --format sarif Corefile > xfrguard.sarif`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCheck(cmd.OutOrStdout(), args[0], &o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.format, "format", "text", "`FORM` of the report: text, json or sarif")
	f.BoolVar(&o.policyTables, "policy", false, "print the policy of every directive as a table too")
	f.BoolVar(&o.coverage, "coverage", false, "name the rules that no expect line is decided by, and nothing else; some make the exit code 1")
	f.BoolVar(&o.print, "print", false, "print the directives as they are understood, every default written out, and nothing else")
	f.BoolVar(&o.digest, "digest", false, "print each zone with the digest of its policy, as events and metrics have it, and nothing else")
	f.StringVar(&o.failLevel, "fail-level", string(check.Warn), "the lightest `LEVEL` that makes the exit code 1: info, warn or error")
	f.StringVar(&o.coredns, "coredns", "", "let this CoreDNS `BINARY` check the file too, with all of its plugins")
	f.StringSliceVar(&o.except, "except", nil, "`CODES` of findings to leave out")
	return c
}

func runCheck(out io.Writer, path string, o *checkOptions) error {
	failLevel, err := levelOf(o.failLevel)
	if err != nil {
		return err
	}
	c, err := check.Read(path, time.Now())
	if err != nil {
		return err
	}
	if err := c.Guarded(); err != nil {
		return err
	}
	if o.coredns != "" {
		if err := c.Ask(o.coredns); err != nil {
			return err
		}
	}
	c.Problems = without(c.Problems, o.except)
	switch {
	case o.print:
		printDirectives(out, c)
	case o.coverage:
		return printUntried(out, c)
	case o.digest:
		printDigests(out, c)
	default:
		if err := printProblems(out, c, o); err != nil {
			return err
		}
	}
	if worst := c.Worst(); worst != "" && worst.AtLeast(failLevel) {
		return errFailed
	}
	return nil
}

func levelOf(word string) (check.Level, error) {
	for _, l := range check.Levels {
		if word == string(l) {
			return l, nil
		}
	}
	return "", fmt.Errorf("unknown level %q, expected info, warn or error", word)
}

// without leaves findings out; mistakes cannot be.
func without(problems []check.Problem, codes []string) (rest []check.Problem) {
	for _, p := range problems {
		left := false
		for _, code := range codes {
			left = left || p.Code == finding.Code(code) && p.Code != check.Mistake
		}
		if !left {
			rest = append(rest, p)
		}
	}
	return rest
}
