// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/xfrguard/xfrguard/internal/trail"
)

func verifyCommand() *cobra.Command {
	var keys, checkpoints []string
	var quiet bool
	c := &cobra.Command{
		Use:   "verify [--key FILE]... [--checkpoint FILE]... FILE...",
		Short: "Check that an audit log is what was written",
		Long: `Check that an audit log is what was written, and name the first line that was
changed, removed, moved, inserted or copied.

FILEs are the parts of one log, rotated and gzipped ones too, in any order.
Exit code 0 means that everything holds. Lines that begin with "warning" do not
change that: a torn last line that was repaired, a restart in good order, a
failure of the disk that cost no event. Events that were lost do.

What cannot be known in this way is printed too: read it.`,
		Example: `  xfrguard verify /var/log/coredns/xfr.log*
  xfrguard verify --key xfr.pub --checkpoint coredns.log /var/log/coredns/xfr.log*`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, paths []string) error {
			return verify(cmd.OutOrStdout(), paths, keys, checkpoints, quiet)
		},
	}
	c.Flags().StringArrayVar(&keys, "key", nil, "`FILE` with verifier keys, one a line: checkpoints must be signed by one of them")
	c.Flags().StringArrayVar(&checkpoints, "checkpoint", nil, "log `FILE` with checkpoints that CoreDNS printed: proves a cut tail")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "print failures only")
	return c
}

func verify(out io.Writer, paths, keys, checkpoints []string, quiet bool) error {
	var opts trail.VerifyOptions
	for _, path := range keys {
		v, err := trail.ReadVerifiers(path)
		if err != nil {
			return err
		}
		opts.Verifiers = append(opts.Verifiers, v...)
	}
	for _, path := range checkpoints {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		opts.Checkpoints = append(opts.Checkpoints, f)
	}
	sources := make([]trail.Source, 0, len(paths))
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			return err
		}
		sources = append(sources, trail.FileSource(path))
	}
	report, err := trail.Verify(sources, opts)
	if err != nil {
		return err
	}
	printReport(out, report, quiet)
	if !report.OK() {
		return errFailed
	}
	return nil
}

func printReport(out io.Writer, r *trail.Report, quiet bool) {
	for _, f := range r.Findings {
		if !quiet || !f.Warning {
			fmt.Fprintln(out, f)
		}
	}
	if r.Omitted > 0 {
		fmt.Fprintf(out, "and %d more\n", r.Omitted)
	}
	if quiet {
		return
	}
	for _, u := range r.Unknown {
		fmt.Fprintf(out, "not known: %s\n", u)
	}
	verdict := "ok"
	if !r.OK() {
		verdict = "FAILED"
	}
	fmt.Fprintf(out, "%s: %d lines in %d files, sequence %d to %d, %d checkpoints, head %s\n",
		verdict, r.Lines, r.Files, r.First, r.Last, r.Checkpoints, r.Head)
}
