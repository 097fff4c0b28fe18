// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	goTest = regexp.MustCompile("go test [^`\n]*")
	flagOf = regexp.MustCompile(`-(run|bench|fuzz) ('[^']*'|\S+)`)
	place  = regexp.MustCompile(`(?:^| )(\.[\w./-]*)`)
	named  = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w*)\(`)
)

// TestDocumentedCommands: what a document says to run with "go test" is there: each pattern
// finds a test, a benchmark or a fuzzer in one of its packages, and no package is without.
func TestDocumentedCommands(t *testing.T) {
	docs, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	for _, doc := range append(docs, "README.md", "CONTRIBUTING.md") {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range goTest.FindAllString(string(text), -1) {
			commands++
			findsAll(t, doc, command)
		}
	}
	if commands < 10 {
		t.Errorf("%d commands, which shows nothing", commands)
	}
}

// findsAll checks the patterns of a command, each alternative by itself.
func findsAll(t *testing.T, doc, command string) {
	t.Helper()
	var names []string
	for _, dir := range place.FindAllStringSubmatch(command, -1) {
		files, err := filepath.Glob(filepath.Join(dir[1], "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		text, err := sources(files...)
		if err != nil || len(text) == 0 {
			t.Errorf("%s: %s: no tests in %s (%v)", doc, command, dir[1], err)
		}
		for _, m := range named.FindAllSubmatch(text, -1) {
			names = append(names, string(m[1]))
		}
	}
	for _, f := range flagOf.FindAllStringSubmatch(command, -1) {
		pattern := strings.Trim(f[2], "'")
		if pattern == "^$" || pattern == "xxx" { // none, on purpose
			continue
		}
		kind := map[string]string{"run": "Test", "bench": "Benchmark", "fuzz": "Fuzz"}[f[1]]
		for alternative := range strings.SplitSeq(pattern, "|") {
			name, _, _ := strings.Cut(alternative, "/")
			re, err := regexp.Compile(name)
			if err != nil {
				t.Errorf("%s: %s: %v", doc, command, err)
				continue
			}
			if !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, kind) && re.MatchString(n) }) {
				t.Errorf("%s: %s: there is no %s", doc, command, alternative)
			}
		}
	}
}

var (
	fileNamed   = regexp.MustCompile("`([\\w./-]+\\.(?:go|json|md))`(?: \\(`(\\w+)`\\))?")
	directories = regexp.MustCompile("`(internal/[\\w/]+?)(?:/\\w+\\.go)?`")
)

// TestContributingPlaces: each file that CONTRIBUTING.md names is there, by its path or in
// a directory that the same line has named before, with the symbol behind it.
func TestContributingPlaces(t *testing.T) {
	text, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for line := range strings.Lines(string(text)) {
		dirs := []string{"."}
		for _, m := range directories.FindAllStringSubmatch(line, -1) {
			dirs = append(dirs, m[1])
		}
		for _, m := range fileNamed.FindAllStringSubmatch(line, -1) {
			if strings.Contains(m[1], "NAME") {
				continue
			}
			files++
			var source []byte
			for _, dir := range dirs {
				if source, err = os.ReadFile(filepath.Join(dir, m[1])); err == nil {
					break
				}
			}
			switch {
			case err != nil:
				t.Errorf("there is no %s: %s", m[1], line)
			case m[2] != "" && !strings.Contains(string(source), m[2]):
				t.Errorf("%s has no %s", m[1], m[2])
			}
		}
	}
	if files < 20 {
		t.Errorf("%d files, which shows nothing", files)
	}
}

// sources returns files one behind the other.
func sources(files ...string) (all []byte, err error) {
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		all = append(all, text...)
	}
	return all, nil
}
