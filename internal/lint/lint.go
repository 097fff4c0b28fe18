// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package lint finds in directives what has no effect, or another one than it seems. It
// needs the text of the Corefile alone, so that a command can use it without a server;
// what needs CoreDNS's other plugins is found by the guard.
package lint

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/finding"
)

// Finding is one thing that the self-check has found.
type Finding struct {
	Code  finding.Code
	Pos   corefile.Position
	Block string // the listener of the server block; "" where none is known
	View  string // its view
	Zone  string // the zone that it is about; "" for none alone
	Text  string // what it is, and what to write instead
}

// String is the log line: "code: file:line: text".
func (f *Finding) String() string { return fmt.Sprintf("%s: %s: %s", f.Code, f.Pos, f.Text) }

// Level says how much the finding weighs.
func (f *Finding) Level() finding.Level { return f.Code.Level() }

// Findings are those of a server block.
type Findings []Finding

// Add puts a finding behind the others.
func (fs *Findings) Add(code finding.Code, pos corefile.Position, format string, args ...any) {
	*fs = append(*fs, Finding{Code: code, Pos: pos, Text: fmt.Sprintf(format, args...)})
}

// Without returns the findings but for those with the codes.
func (fs Findings) Without(codes []finding.Code) Findings {
	return slices.DeleteFunc(slices.Clone(fs), func(f Finding) bool { return slices.Contains(codes, f.Code) })
}

// Failing returns those for which `findings fail` ends the start.
func (fs Findings) Failing() (failing Findings) {
	for _, f := range fs {
		if f.Level() == finding.Warn {
			failing = append(failing, f)
		}
	}
	return failing
}

// String joins the log lines.
func (fs Findings) String() string {
	lines := make([]string, len(fs))
	for i := range fs {
		lines[i] = fs[i].String()
	}
	return strings.Join(lines, "; ")
}

// Block returns what is to be said of the directives of one server block, at a moment.
func Block(configs []*corefile.Config, now time.Time) (fs Findings) {
	for i, cfg := range configs {
		fs.nets(cfg)
		fs.rules(cfg, now)
		fs.paths(cfg)
		fs.bandwidth(cfg)
		fs.unclear(cfg)
		fs.ignored(configs[0], cfg, i > 0)
	}
	return fs
}

// paths finds what is written somewhere else when the server is started somewhere else.
func (fs *Findings) paths(cfg *corefile.Config) {
	relative := func(what, path string) {
		if path != "" && !filepath.IsAbs(path) {
			fs.Add(finding.PathRelative, cfg.Pos, "%s %s depends on the directory in which the server is started: write the whole path", what, path)
		}
	}
	for _, s := range cfg.Audit {
		if s.Kind == "file" {
			relative("audit file", s.Path)
		}
	}
	relative("audit_key", cfg.AuditKey)
	relative("journal", cfg.Journal)
	relative("verify dnssec anchor", cfg.Verify.Anchor)
}

// ignored finds properties that have no effect where they stand.
func (fs *Findings) ignored(first, cfg *corefile.Config, later bool) {
	if pos, ok := cfg.Given["cache"]; ok && later && cfg.Cache != first.Cache {
		fs.Add(finding.PropertyIgnored, pos, "cache of a server block is that of its first directive, at %s: write it there", first.Pos)
	}
	if cfg.Mode != corefile.ModeObserve {
		return
	}
	const unused = "has no effect in mode observe, which takes nothing over: it can stay for the day of enforce"
	if cfg.Journal != "" {
		fs.Add(finding.PropertyIgnored, cfg.At("journal"), "journal %s", unused)
	}
	if cfg.HoldShrink > 0 {
		fs.Add(finding.PropertyIgnored, cfg.At("hold"), "hold %s", unused)
	}
	if _, ok := cfg.Given["verify"]; ok {
		fs.Add(finding.PropertyIgnored, cfg.At("verify"), "verify %s", unused)
	}
	if cfg.Control != "" {
		fs.Add(finding.PropertyIgnored, cfg.At("control"), "control %s", unused)
	}
	if len(cfg.Notify) > 0 {
		fs.Add(finding.PropertyIgnored, cfg.Notify[0].Pos, "notify %s", unused)
	}
}

// unclear finds addresses to notify that may be meant with a port.
func (fs *Findings) unclear(cfg *corefile.Config) {
	if cfg.Mode == corefile.ModeObserve {
		return
	}
	for _, spec := range cfg.Notify {
		for _, s := range spec.Unclear {
			i, port := strings.LastIndexByte(s, ':'), corefile.NotifyPort(spec.TLS)
			fs.Add(finding.NotifyAmbiguous, spec.Pos, "notify %s goes to that address at port %d: write [%s]:%s if its end is meant as a port, or [%s]:%d if not",
				s, port, s[:i], s[i+1:], s, port)
		}
	}
}
