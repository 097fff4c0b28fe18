// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// TestQuickStart does what the README's quick start says, with example.Corefile, in a
// directory of its own and on ports of its own.
func TestQuickStart(t *testing.T) {
	if !guarded {
		t.Skip("stock CoreDNS")
	}
	dir := t.TempDir()
	must(t, os.CopyFS(filepath.Join(dir, "testdata", "example"), os.DirFS("../testdata/example")))
	dns, metrics := fmt.Sprint(peer.Port(t)), fmt.Sprint(peer.Port(t))
	here := func(text string) string { return strings.NewReplacer("1053", dns, "9153", metrics).Replace(text) }
	read := func(path string) string {
		text, err := os.ReadFile(path)
		must(t, err)
		return string(text)
	}
	peer.WriteFile(t, filepath.Join(dir, "example.Corefile"), here(read("../example.Corefile")))
	peer.Run(t, "coredns", dir, coreDNS, "-conf", "example.Corefile")

	_, quick, _ := strings.Cut(read("../README.md"), "\n## Quick start\n")
	quick, _, _ = strings.Cut(quick, "\n## ")
	var outputs []string
	for _, block := range regexp.MustCompile(`(?s)~~~ sh\n(.*?)\n~~~`).FindAllStringSubmatch(quick, -1) {
		if strings.HasPrefix(block[1], "make ") {
			continue // `make run` is what runs here, `make test` is this
		}
		outputs = append(outputs, untilItSays(t, dir, here(block[1]), len(outputs)))
	}
	if len(outputs) != len(quickStartSays) {
		t.Errorf("the README has %d commands, this test knows %d", len(outputs), len(quickStartSays))
	}
	if !strings.Contains(quick, "`dig` says `Transfer failed.`") || !strings.Contains(quick, "`tsig-required`") {
		t.Error("the README tells the stranger of something else")
	}
}

// quickStartSays is what the output of each command has to have in it.
var quickStartSays = []string{"XFR size: 20 records", "; Transfer failed.", `"event.reason":"tsig-required"`, `reason="tsig-required"`}

// untilItSays runs a command until its output is right: the first one comes while CoreDNS
// starts, and a line of the record may follow the answer.
func untilItSays(t *testing.T, dir, command string, n int) string {
	t.Helper()
	if n >= len(quickStartSays) {
		t.Fatalf("what should %q print?", command)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		c := exec.CommandContext(t.Context(), "sh", "-c", command)
		c.Dir = dir
		out, _ := c.CombinedOutput() // dig fails where a transfer does
		if strings.Contains(string(out), quickStartSays[n]) {
			return string(out)
		}
		if time.Now().After(end) {
			t.Fatalf("%s\nprinted, without %q:\n%s", command, quickStartSays[n], out)
		}
	}
}
