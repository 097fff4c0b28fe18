// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/corefile"
)

// TestOneFileManySpellings: blocks that spell the path of one audit file in other ways,
// and instances that overlap in a reload, write to one file in one sequence, also when it
// is written twice in a block.
func TestOneFileManySpellings(t *testing.T) {
	audittest.NoLeak(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "xfr.log")
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	var open []*Auditor
	for _, spelling := range [][]string{
		{path}, {"xfr.log"}, {"./xfr.log", path}, {filepath.Join(dir, "link", "xfr.log")}, {"link/../xfr.log", "link/xfr.log"},
	} {
		var cfg Config
		for _, p := range spelling {
			cfg.sinks = append(cfg.sinks, corefile.Sink{Kind: "file", Path: p})
		}
		a, err := Open(cfg)
		if err != nil {
			t.Fatalf("%q: %v", spelling, err)
		}
		if len(a.sinks) != 1 {
			t.Errorf("%q: %d sinks", spelling, len(a.sinks))
		}
		if err := a.Decision(t.Context(), allowed()); err != nil {
			t.Error(err)
		}
		open = append(open, a)
	}
	if n := SinkPool.Len(); n != 1 {
		t.Errorf("%d sinks are open", n)
	}
	for _, a := range open {
		closeAuditor(t, a)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := audittest.SplitLines(text)
	for i, l := range lines {
		if got := audittest.Number(audittest.Members(t, l)["event.sequence"]); got != int64(i+1) {
			t.Fatalf("line %d has sequence %d", i+1, got)
		}
	}
	if d := audittest.Count(t, lines, ActionDecision, nil); d != len(open) {
		t.Errorf("%d decisions of %d", d, len(open))
	}
}
