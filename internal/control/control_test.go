// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package control

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const digest = "sha384:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func directory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	return dir
}

func put(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

// opened is a directory that is looked at when the test says so.
func opened(dir string) *Dir {
	d := &Dir{path: dir, given: make(map[string]Approval), used: make(map[string]bool)}
	d.look(time.Now())
	return d
}

// settle looks twice, so that what is gone counts as gone.
func (d *Dir) settle(now time.Time) {
	d.look(now)
	d.look(now.Add(thawAfter))
}

// TestStates: what each content of the directory means, at start and later.
func TestStates(t *testing.T) {
	good := func(t *testing.T, dir string) { put(t, filepath.Join(dir, FreezeFile), "why not by:bob\n") }
	for name, c := range map[string]struct {
		make         func(t *testing.T, dir string)
		start, later string // what is frozen: all, the zone, or none
		fails        bool
	}{
		"empty":             {func(*testing.T, string) {}, "", "", false},
		"freeze":            {good, "all", "all", false},
		"freeze, empty":     {func(t *testing.T, dir string) { put(t, filepath.Join(dir, FreezeFile), "") }, "all", "all", false},
		"freeze, a link":    {func(t *testing.T, dir string) { must(t, os.Symlink("/dev/null", filepath.Join(dir, FreezeFile))) }, "all", "all", true},
		"freeze, directory": {func(t *testing.T, dir string) { must(t, os.Mkdir(filepath.Join(dir, FreezeFile), 0o755)) }, "all", "all", true},
		"freeze, a pipe":    {func(t *testing.T, dir string) { must(t, unix.Mkfifo(filepath.Join(dir, FreezeFile), 0o644)) }, "all", "all", true},
		"freeze, everybody's": {func(t *testing.T, dir string) {
			good(t, dir)
			must(t, os.Chmod(filepath.Join(dir, FreezeFile), 0o666))
		}, "all", "all", true},
		"a zone":          {func(t *testing.T, dir string) { put(t, filepath.Join(dir, ZonesFile), "# x\n\nexample.ORG. why\n") }, "zone", "zone", false},
		"a zone, no end":  {func(t *testing.T, dir string) { put(t, filepath.Join(dir, ZonesFile), "example.org") }, "zone", "zone", false},
		"a zone and junk": {func(t *testing.T, dir string) { put(t, filepath.Join(dir, ZonesFile), "a..b\nexample.org\n") }, "all", "zone", true},
		"zones too long": {func(t *testing.T, dir string) {
			put(t, filepath.Join(dir, ZonesFile), strings.Repeat("#\n", fileMax))
		}, "all", "", true},
		"directory, everybody's":   {func(t *testing.T, dir string) { must(t, os.Chmod(dir, 0o777)) }, "all", "", true},
		"directory, anothers":      {func(t *testing.T, dir string) { must(t, os.Chown(dir, 65534, 65534)) }, "all", "", true},
		"directory, gone":          {func(t *testing.T, dir string) { must(t, os.Remove(dir)) }, "all", "", true},
		"approve, no digest":       {func(t *testing.T, dir string) { put(t, filepath.Join(dir, ApproveFile), digest[:40]) }, "", "", true},
		"other files of no effect": {func(t *testing.T, dir string) { put(t, filepath.Join(dir, ".freeze.123"), "x") }, "", "", false},
	} {
		if strings.Contains(name, "anothers") && os.Geteuid() != 0 {
			continue // nobody else can give one away
		}
		frozen := func(s *State) string {
			switch {
			case s.All != nil:
				return "all"
			case s.Frozen("example.org.") != nil:
				return "zone"
			}
			return ""
		}
		dir := directory(t)
		running := opened(dir)
		c.make(t, dir)
		running.settle(time.Now())
		if s := opened(dir).State(); frozen(s) != c.start || (s.Err != nil) != c.fails {
			t.Errorf("%s, at start: %q, %v", name, frozen(s), s.Err)
		}
		if s := running.State(); frozen(s) != c.later || (s.Err != nil) != c.fails {
			t.Errorf("%s, later: %q, %v", name, frozen(s), s.Err)
		}
	}
}

// TestNothingIsLost: whatever becomes of the directory, what was frozen stays so until two
// looks have read a directory without it.
func TestNothingIsLost(t *testing.T) {
	dir := directory(t)
	put(t, filepath.Join(dir, ZonesFile), "example.org by:alice broken\n")
	d := opened(dir)
	now := time.Now()
	frozen := func() bool { return d.State().Frozen("example.org.") != nil }
	put(t, filepath.Join(dir, ZonesFile), "") // an editor begins to write
	d.look(now)
	put(t, filepath.Join(dir, ZonesFile), "example.org broken\n")
	d.look(now.Add(thawAfter))
	if !frozen() {
		t.Error("a file that was written anew was a thaw")
	}
	must(t, os.Rename(dir, dir+".away"))
	d.settle(now.Add(time.Second))
	if !frozen() || d.State().Err == nil {
		t.Error("a directory that is gone was a thaw")
	}
	must(t, os.Rename(dir+".away", dir))
	must(t, os.Remove(filepath.Join(dir, ZonesFile)))
	d.look(now.Add(2 * time.Second))
	if !frozen() {
		t.Error("one look was a thaw")
	}
	d.look(now.Add(2*time.Second + thawAfter))
	if frozen() {
		t.Error("it was never a thaw")
	}
}

// TestKubernetesMount: the files are links through ..data, which is swapped at once to
// another generation. What is read is of one generation, and no other link is followed.
func TestKubernetesMount(t *testing.T) {
	dir := directory(t)
	generation := func(n int, files map[string]string) string {
		name := fmt.Sprintf("..2026_11_25_%d", n)
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		for f, text := range files {
			put(t, filepath.Join(dir, name, f), text)
		}
		return name
	}
	swap := func(name string) { // as kubelet does
		must(t, os.Symlink(name, filepath.Join(dir, "..data_tmp")))
		must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, dataLink)))
	}
	first := generation(1, map[string]string{FreezeFile: "drill", ApproveFile: digest})
	swap(first)
	for _, f := range []string{FreezeFile, ApproveFile} {
		must(t, os.Symlink(dataLink+"/"+f, filepath.Join(dir, f)))
	}
	d := opened(dir)
	if s := d.State(); s.Err != nil || s.All == nil || s.All.Text != "drill" || len(d.Approvals()) != 1 {
		t.Fatalf("%+v, %v", s, d.Approvals())
	}
	now := time.Now()
	swap(generation(2, map[string]string{FreezeFile: "real", ApproveFile: digest}))
	must(t, os.RemoveAll(filepath.Join(dir, first)))
	if d.look(now); d.State().All.Text != "real" || d.State().Err != nil {
		t.Errorf("the second generation: %+v", d.State())
	}
	must(t, os.Rename(filepath.Join(dir, "..2026_11_25_2"), filepath.Join(dir, "away"))) // ..data leads to nothing
	if d.settle(now); d.State().All == nil || d.State().Err == nil {
		t.Errorf("a mount whose generation is gone: %+v", d.State())
	}
	if s := opened(dir).State(); s.All == nil || s.Err == nil {
		t.Errorf("a mount whose generation is gone, at start: %+v", s)
	}
	swap(generation(3, map[string]string{ApproveFile: digest})) // the link is still there
	d.settle(now.Add(time.Second))
	if s := d.State(); s.All != nil || s.Err != nil {
		t.Errorf("the third generation: %+v", s)
	}
	outside := directory(t)
	put(t, filepath.Join(outside, ZonesFile), "example.org\n")
	for _, data := range []string{outside, "../" + filepath.Base(outside), "..", "."} {
		must(t, os.Remove(filepath.Join(dir, dataLink)))
		must(t, os.Symlink(data, filepath.Join(dir, dataLink)))
		_ = os.Remove(filepath.Join(dir, ZonesFile))
		must(t, os.Symlink(dataLink+"/"+ZonesFile, filepath.Join(dir, ZonesFile)))
		if d.settle(now.Add(2 * time.Second)); d.State().Err == nil || len(d.State().Zones) > 0 {
			t.Errorf("..data that leads to %s: %+v", data, d.State())
		}
	}
}

// TestApprovals: a line counts from the moment when it was first there, once, and a line
// that is cut short for nothing.
func TestApprovals(t *testing.T) {
	dir := directory(t)
	path := filepath.Join(dir, ApproveFile)
	d := opened(dir)
	before := time.Now().Add(-time.Second)
	for i := range digest {
		put(t, path, digest[:i])
		if d.look(time.Now()); len(d.Approvals()) != 0 {
			t.Fatalf("%q approves", digest[:i])
		}
	}
	put(t, path, digest+" by:alice at:2026-11-25T21:00:00Z split zone\n")
	d.look(time.Now())
	list := d.Approvals()
	if len(list) != 1 || list[0].By != "alice" || list[0].Text != "split zone" || list[0].Given.Before(before) {
		t.Fatalf("%+v", list)
	}
	later := list[0].Given
	must(t, os.Chtimes(path, later.Add(time.Hour), later.Add(time.Hour))) // nobody can give one for later
	d.look(time.Now())
	if got := d.Approvals()[0].Given; !got.Equal(later) {
		t.Errorf("given at %v, then at %v", later, got)
	}
	if got := opened(dir).Approvals()[0].Given; got.After(time.Now().Add(time.Minute)) {
		t.Errorf("given at %v, says a new look", got)
	}
	d.Use(list[0])
	if d.look(time.Now()); len(d.Approvals()) != 0 {
		t.Error("it counts twice")
	}
	must(t, Change(dir, ApproveFile, func(old string) (string, error) { return old + digest + " by:bob again\n", nil }))
	if d.look(time.Now()); len(d.Approvals()) != 1 || d.Approvals()[0].By != "bob" {
		t.Errorf("a second line: %+v", d.Approvals())
	}
}

// TestApprovalsOfARewrittenFile: an editor empties a file before it writes it. A line that
// has counted does not count again for that, and one that is taken back does not count.
func TestApprovalsOfARewrittenFile(t *testing.T) {
	dir := directory(t)
	path := filepath.Join(dir, ApproveFile)
	put(t, path, digest+" by:alice one\n")
	d, now := opened(dir), time.Now()
	d.Use(d.Approvals()[0])
	put(t, path, "")
	d.look(now)
	put(t, path, digest+" by:alice one\n"+digest+" by:bob two\n")
	d.look(now.Add(thawAfter / 2))
	if list := d.Approvals(); len(list) != 1 || list[0].By != "bob" {
		t.Errorf("after the edit: %v", list)
	}
	put(t, path, "")
	if d.look(now.Add(thawAfter)); len(d.Approvals()) != 0 {
		t.Errorf("taken back: %v", d.Approvals())
	}
	d.look(now.Add(2 * thawAfter))
	put(t, path, digest+" by:alice one\n")
	if d.look(now.Add(3 * thawAfter)); len(d.Approvals()) != 1 {
		t.Errorf("a line that was gone for long: %v", d.Approvals())
	}
}

// TestChange: a file is there whole or not at all, whatever fails, and two at once lose
// nothing.
func TestChange(t *testing.T) {
	dir := directory(t)
	ends := make(chan error)
	for i := range 20 {
		go func() {
			ends <- Change(dir, ZonesFile, func(old string) (string, error) { return old + fmt.Sprintf("z%d.example.\n", i), nil })
		}()
	}
	for range 20 {
		must(t, <-ends)
	}
	if d := opened(dir); len(d.State().Zones) != 20 {
		t.Errorf("%d zones", len(d.State().Zones))
	}
	if err := Change(dir, ZonesFile, func(string) (string, error) { return "x", errors.ErrUnsupported }); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	must(t, Change(dir, ZonesFile, func(string) (string, error) { return "", nil }))
	if list, _ := os.ReadDir(dir); len(list) != 0 {
		t.Errorf("left: %v", list)
	}
	must(t, os.Symlink("..data/freeze", filepath.Join(dir, FreezeFile)))
	if err := Change(dir, FreezeFile, func(string) (string, error) { return "x", nil }); err == nil || !strings.Contains(err.Error(), "Kubernetes") {
		t.Errorf("a mount: %v", err)
	}
}

// TestOpenSees: a directory that is looked at by itself tells of changes.
func TestOpenSees(t *testing.T) {
	dir := directory(t)
	told := make(chan struct{}, 100)
	d := Open(dir, func(*Dir) { told <- struct{}{} })
	defer d.Close()
	put(t, filepath.Join(dir, FreezeFile), "")
	<-told
	must(t, os.Remove(filepath.Join(dir, FreezeFile)))
	for d.State().All != nil {
		<-told
	}
}
