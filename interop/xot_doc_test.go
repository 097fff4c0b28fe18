// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// xotBlocks are the code blocks of docs/XOT.md by the words after their fence: kind
// and name. Blocks that a test has used are taken out, so that none is left untried.
type xotBlocks map[string]string

// twice stands for several blocks of one name, none of which can be taken.
const twice = "\x00"

var xotFence = regexp.MustCompile(`(?ms)^~~~ ([^\n]+)\n(.*?)^~~~$`)

func readXOT(t testing.TB) xotBlocks {
	t.Helper()
	return fencedBlocks(t, "../docs/XOT.md")
}

// fencedBlocks are the code blocks of a document.
func fencedBlocks(t testing.TB, path string) xotBlocks {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	blocks := xotBlocks{}
	for _, m := range xotFence.FindAllStringSubmatch(string(text), -1) {
		if _, again := blocks[m[1]]; again {
			m[2] = twice
		}
		blocks[m[1]] = m[2]
	}
	return blocks
}

// take returns the block of that name, which must be there.
func (b xotBlocks) take(t testing.TB, name string) string {
	t.Helper()
	text, ok := b[name]
	if !ok {
		t.Fatalf("the document has no block %q (any more); it has %q", name, slices.Sorted(maps.Keys(b)))
	}
	if text == twice {
		t.Fatalf("the document has two blocks %q", name)
	}
	delete(b, name)
	return text
}

// The addresses in the document, and what a test puts in their place.
const (
	docPrimary = "192.0.2.1"
	docPort    = "853"
)

// xotAddress is where the test has the machine with the document's address.
func xotAddress(doc string) string {
	if doc == docPrimary {
		return "127.0.0.1"
	}
	return strings.Replace(doc, "192.0.2.", "127.0.0.", 1)
}

var (
	docDirectory = regexp.MustCompile(`/etc/[a-z]+/xot/`)
	docAddress   = regexp.MustCompile(`192\.0\.2\.\d+`)
	docPorts     = regexp.MustCompile(`((?:port |@|-p |:))` + docPort + `\b`)
)

// place puts the test's directory, addresses and port into a block.
func place(block, dir string, port int) string {
	block = docDirectory.ReplaceAllString(block, dir+"/")
	block = docAddress.ReplaceAllStringFunc(block, xotAddress)
	return docPorts.ReplaceAllString(block, fmt.Sprintf("${1}%d", port))
}

// placeCorefile is place for a server block, which must also not load with findings.
func placeCorefile(t testing.TB, block, dir string, port int, pins map[string]string) string {
	t.Helper()
	block = place(block, dir, port)
	for name, pin := range pins {
		block = regexp.MustCompile(`(as `+name+` .*)sha256:\S+`).ReplaceAllString(block, "${1}sha256:"+pin)
	}
	from := []string{"tls://example.org {\n", "xfrguard {\n"}
	for i, to := range []string{
		fmt.Sprintf("tls://example.org:%d {\n    bind 127.0.0.1\n    errors\n", port),
		"xfrguard {\n        findings fail\n",
	} {
		if strings.Count(block, from[i]) != 1 {
			t.Fatalf("no %q in:\n%s", from[i], block)
		}
		block = strings.Replace(block, from[i], to, 1)
	}
	return block
}

// shellIn runs lines of the document in dir and returns what they print.
func shellIn(t testing.TB, dir, lines string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-euc", lines)
	cmd.Dir = dir
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, lines, errs.String())
	}
	return string(out)
}

// xotCertificates runs the document's recipes for certificates in a directory of
// its own, and returns it and the pins of the self-signed ones by rule name.
func xotCertificates(t testing.TB, blocks xotBlocks) (dir string, pins map[string]string) {
	t.Helper()
	dir = t.TempDir()
	peer.Binary(t, "openssl")
	shellIn(t, dir, blocks.take(t, "sh certificates"))
	shellIn(t, dir, blocks.take(t, "sh self-signed"))
	pin := blocks.take(t, "sh pin")
	if !strings.Contains(pin, "ns2.example.net") {
		t.Fatalf("the pin is not ns2's: %s", pin)
	}
	pins = map[string]string{}
	for _, name := range []string{"ns2", "ns3"} {
		pins[name] = strings.TrimSpace(shellIn(t, dir, strings.ReplaceAll(pin, "ns2", name)))
	}
	peer.WriteFile(t, filepath.Join(dir, "xfr.keys"), blocks.take(t, "bind-keys xfr.keys"))
	return dir, pins
}
