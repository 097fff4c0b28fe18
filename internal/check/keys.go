// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/coredns/caddy/caddyfile"
	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/keyfile"
)

// Keys are the names of the TSIG keys that a server block has.
type Keys struct {
	Complete bool // every file with keys could be read
	names    map[string]bool
	problems []Problem
}

// Has reports whether there is a key of the name, which is canonical.
func (k *Keys) Has(name string) bool { return k.names[name] }

// Names returns the names in their order.
func (k *Keys) Names() []string { return slices.Sorted(maps.Keys(k.names)) }

// readKeys reads what `tsig` says: `secret NAME SECRET` and `secrets FILE`. A relative path
// begins at root where the block has one, else where the Corefile is or the command runs.
func readKeys(tokens []caddyfile.Token, path, root string) Keys {
	k := Keys{Complete: true, names: make(map[string]bool)}
	for i, t := range tokens {
		first := i == 0 || tokens[i-1].Line != t.Line || tokens[i-1].File != t.File
		if !first || i+1 >= len(tokens) {
			continue
		}
		switch value := tokens[i+1].Text; t.Text {
		case "secret":
			k.names[dns.CanonicalName(value)] = true
		case "secrets":
			k.readFile(value, path, root, corefile.Position{File: cmp.Or(t.File, path), Line: t.Line})
		}
	}
	return k
}

func (k *Keys) readFile(file, path, root string, pos corefile.Position) {
	text, err := readNear(file, path, root)
	if err != nil {
		k.Complete = false
		k.problems = append(k.problems, Problem{
			Code: finding.KeyFileForm, Level: Info, Pos: pos,
			Text: "the keys of " + file + " are not known here, so that names of keys are not checked: " + err.Error(),
		})
		return
	}
	for _, key := range keyfile.Parse(string(text)) {
		k.names[dns.CanonicalName(key.Name)] = true
	}
}

// readNear reads a file of which it is not known where a relative path begins.
func readNear(file, path, root string) ([]byte, error) {
	if filepath.IsAbs(file) {
		return os.ReadFile(file)
	}
	if root != "" {
		return os.ReadFile(filepath.Join(root, file))
	}
	text, err := os.ReadFile(file)
	if err != nil {
		if near, nearErr := os.ReadFile(filepath.Join(filepath.Dir(path), file)); nearErr == nil {
			return near, nil
		}
	}
	return text, err //nolint:wrapcheck // says all
}
