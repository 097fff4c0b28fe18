// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/owenrumney/go-sarif/v3/pkg/report"
	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"github.com/xfrguard/xfrguard/internal/check"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/policy"
)

const findingsPage = "https://github.com/xfrguard/xfrguard/blob/main/docs/FINDINGS.md"

// printProblems writes the report in the form that was asked for.
func printProblems(out io.Writer, c *check.Corefile, o *checkOptions) error {
	switch o.format {
	case "text":
		for i := range c.Problems {
			fmt.Fprintln(out, &c.Problems[i])
		}
		if o.policyTables {
			printPolicies(out, c)
		}
		fmt.Fprintln(out, summary(c))
		return nil
	case "json":
		return printJSON(out, c)
	case "sarif":
		return printSARIF(out, c)
	}
	return fmt.Errorf("unknown format %q, expected text, json or sarif", o.format)
}

// summary is the last line: how much of what.
func summary(c *check.Corefile) string {
	count := map[check.Level]int{}
	for i := range c.Problems {
		count[c.Problems[i].Level]++
	}
	directives, zones := 0, 0
	for _, b := range c.Blocks {
		directives += len(b.Configs)
		for _, cfg := range b.Configs {
			zones += len(cfg.Names())
		}
	}
	verdict := "ok"
	if count[check.Error] > 0 {
		verdict = "CoreDNS does not start with it"
	}
	return fmt.Sprintf("%s: %s; %s for %s; %s, %s, %s", c.Path, verdict, countOf(directives, "directive"), countOf(zones, "zone"),
		countOf(count[check.Error], "error"), countOf(count[check.Warn], "warning"), countOf(count[check.Info], "note"))
}

func countOf(n int, word string) string {
	if n != 1 {
		word += "s"
	}
	return fmt.Sprintf("%d %s", n, word)
}

// jsonProblem is one problem for programs.
type jsonProblem struct {
	Code  string `json:"code"`
	Level string `json:"level"`
	File  string `json:"file"`
	Line  int    `json:"line"`
	Block string `json:"block,omitempty"`
	Text  string `json:"text"`
}

// jsonPolicy is one directive for programs.
type jsonPolicy struct {
	Block  string   `json:"block"`
	File   string   `json:"file"`
	Line   int      `json:"line"`
	Zones  []string `json:"zones"`
	Digest string   `json:"digest"`
	Rules  []string `json:"rules"`
}

func printJSON(out io.Writer, c *check.Corefile) error {
	doc := struct {
		Corefile string        `json:"corefile"`
		Problems []jsonProblem `json:"problems"`
		Policies []jsonPolicy  `json:"policies"`
	}{c.Path, []jsonProblem{}, []jsonPolicy{}}
	for _, p := range c.Problems {
		doc.Problems = append(doc.Problems, jsonProblem{string(p.Code), string(p.Level), p.Pos.File, p.Pos.Line, p.Block, p.Text})
	}
	for _, b := range c.Blocks {
		for _, cfg := range b.Configs {
			of := policyOf(cfg)
			doc.Policies = append(doc.Policies, jsonPolicy{
				b.Name(), cfg.Pos.File, cfg.Pos.Line, cfg.Names(), of.Digest(), strings.Split(of.Summary(), "\n"),
			})
		}
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(doc)
}

func policyOf(cfg *corefile.Config) *policy.Policy {
	return &policy.Policy{Rules: cfg.Rules, Algorithms: cfg.Algorithms}
}

func printSARIF(out io.Writer, c *check.Corefile) error {
	levels := map[check.Level]string{check.Error: "error", check.Warn: "warning", check.Info: "note"}
	run := sarif.NewRunWithInformationURI("xfrguard", "https://github.com/xfrguard/xfrguard")
	for _, p := range c.Problems {
		rule := run.AddRule(string(p.Code)).WithDescription(titleOf(p))
		if p.Code != check.Mistake {
			rule.WithHelpURI(findingsPage + "#" + string(p.Code))
		}
		run.AddDistinctArtifact(p.Pos.File)
		run.CreateResultForRule(string(p.Code)).WithLevel(levels[p.Level]).WithMessage(sarif.NewTextMessage(p.Text)).
			AddLocation(sarif.NewLocationWithPhysicalLocation(sarif.NewPhysicalLocation().
				WithArtifactLocation(sarif.NewSimpleArtifactLocation(p.Pos.File)).WithRegion(sarif.NewSimpleRegion(max(p.Pos.Line, 1), max(p.Pos.Line, 1)))))
	}
	r := report.NewV210Report()
	r.AddRun(run)
	return r.PrettyWrite(out)
}

func titleOf(p check.Problem) string {
	switch p.Code {
	case check.Mistake:
		return "the grammar refuses it"
	case check.Unexpected:
		return "an expect line does not hold"
	}
	return p.Code.Title()
}

// printPolicies writes who may have what, a table for each directive.
func printPolicies(out io.Writer, c *check.Corefile) {
	for _, b := range c.Blocks {
		for _, cfg := range b.Configs {
			fmt.Fprintf(out, "\n%s: %s\n%s\n", cfg.Pos, zonesText(cfg.Names()), policyOf(cfg).Digest())
			t := table.NewWriter()
			t.SetOutputMirror(out)
			t.SetStyle(table.StyleLight)
			t.AppendHeader(table.Row{"line", "rule", "", "from", "proof", "transport", "types"})
			for i := range cfg.Rules {
				t.AppendRow(row(&cfg.Rules[i], cfg.RulePos[i].Line))
			}
			t.AppendRow(table.Row{"", "", "deny", "all others", "", "", ""})
			t.Render()
		}
	}
	fmt.Fprintln(out)
}

func zonesText(zones []string) string {
	const most = 8
	if len(zones) > most {
		return fmt.Sprintf("%s and %d more zones", strings.Join(zones[:most], ", "), len(zones)-most)
	}
	return strings.Join(zones, ", ")
}

// row is a rule in words.
func row(r *policy.Rule, line int) table.Row {
	words := strings.Fields(r.Nets.String())
	from := "any address"
	if len(words) > 1 {
		from = strings.Join(words[1:], "\n")
	}
	if r.Deny {
		return table.Row{line, r.Name, "deny", from, "", "", ""}
	}
	var proof []string
	if len(r.Keys) > 0 {
		proof = append(proof, "key "+strings.Join(r.Keys, " or "))
	}
	for _, cert := range r.Certs {
		proof = append(proof, "certificate "+cert.String())
	}
	if len(proof) == 0 {
		proof = []string{"none"}
	}
	transport := "TCP, TLS 1.3"
	switch {
	case !r.TLSUntil.IsZero():
		transport += "; TLS alone from " + r.TLSUntil.Format("2006-01-02 15:04 MST")
	case r.TLS || len(r.Certs) > 0:
		transport = "TLS 1.3"
	}
	types := "AXFR, IXFR"
	switch {
	case slices.Equal(r.Types, []uint16{251}):
		types = "IXFR"
	case slices.Equal(r.Types, []uint16{252}):
		types = "AXFR"
	}
	if !r.Expires.IsZero() {
		types += "\nuntil " + r.Expires.Format("2006-01-02 15:04 MST")
	}
	return table.Row{line, r.Name, "allow", from, strings.Join(proof, "\n"), transport, types}
}

func printDigests(out io.Writer, c *check.Corefile) {
	for _, b := range c.Blocks {
		for _, cfg := range b.Configs {
			digest := policyOf(cfg).Digest()
			for _, zone := range cfg.Names() {
				fmt.Fprintln(out, zone, digest)
			}
		}
	}
}

// printUntried names the rules that no expectation touches. Of a server block with
// mistakes they are not known: these are told in their place.
func printUntried(out io.Writer, c *check.Corefile) error {
	untried := c.Untried(time.Now())
	for i := range c.Problems {
		if p := &c.Problems[i]; p.Code == check.Mistake {
			untried = append(untried, p.String())
		}
	}
	for _, line := range untried {
		fmt.Fprintln(out, line)
	}
	if len(untried) > 0 {
		return errFailed
	}
	return nil
}

// printDirectives writes the directives as they are understood.
func printDirectives(out io.Writer, c *check.Corefile) {
	for _, b := range c.Blocks {
		for _, cfg := range b.Configs {
			fmt.Fprintf(out, "# %s, in the server block %s\n%s", cfg.Pos, b.Name(), cfg)
		}
	}
}
