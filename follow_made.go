// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/xfrguard/xfrguard/internal/coredns"
	"github.com/xfrguard/xfrguard/internal/plainfile"

	"github.com/coredns/caddy"
	"github.com/coredns/caddy/caddyfile"
)

// madeOf is what is on disk of which an instance was made.
type madeOf struct {
	corefile string            // its path; "" where it is no file
	raw      []byte            // its text, where it imports nothing
	text     string            // digest of its words, with those that it imports
	interval time.Duration     // how often the reload plugin looks; 0 without it
	files    map[string]string // digests of keys and certificates, by path
}

// What stands for the digest of a file that cannot be read.
const (
	digestMissing    = "missing"
	digestUnreadable = "unreadable"
)

// Bounds of what is read to be compared.
const (
	maxKeyFile  = 16 << 20
	maxCorefile = 64 << 20
)

// whatMakes looks at the files of an instance when the first of our setups runs: tsig and
// tls read them later, so that what changes in between is seen as a change.
func whatMakes(c *caddy.Controller) (m madeOf) {
	path, text, ok := coredns.Corefile(c)
	if !ok {
		return m
	}
	blocks, err := caddyfile.Parse(path, bytes.NewReader(text), nil)
	if err != nil {
		return m
	}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		m.corefile, m.text = path, wordsDigest(blocks)
		if !bytes.Contains(text, []byte("import")) {
			m.raw = text
		}
	}
	m.files = make(map[string]string)
	for _, block := range blocks {
		if words := block.Tokens["reload"]; len(words) > 0 {
			m.interval = reloadInterval(words) // the last block that has it counts
		}
		for _, f := range keyFilesIn(block.Tokens) {
			if _, ok := m.files[f.path]; !ok {
				m.files[f.path] = fileDigest(f.path)
			}
		}
	}
	return m
}

// reloadInterval reads `reload [INTERVAL] [JITTER]`.
func reloadInterval(words []caddyfile.Token) time.Duration {
	const byDefault = 30 * time.Second
	if len(words) < 2 || words[1].Line != words[0].Line {
		return byDefault
	}
	d, err := time.ParseDuration(words[1].Text)
	if err != nil || d <= 0 { // reload does not take it either
		return byDefault
	}
	return d
}

// now returns the digests of what is on disk.
func (m *madeOf) now() (files map[string]string, corefile string) {
	files = make(map[string]string, len(m.files))
	for path := range m.files {
		files[path] = fileDigest(path)
	}
	if m.corefile == "" {
		return files, m.text
	}
	text, _, err := plainfile.Read(m.corefile, maxCorefile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return files, digestMissing
	case err != nil:
		return files, digestUnreadable
	case m.raw != nil && bytes.Equal(text, m.raw):
		return files, m.text
	}
	blocks, err := caddyfile.Parse(m.corefile, bytes.NewReader(text), nil)
	if err != nil {
		sum := sha256.Sum256(text)
		return files, digestUnreadable + string(sum[:])
	}
	return files, wordsDigest(blocks)
}

func fileDigest(path string) string {
	content, _, err := plainfile.Read(path, maxKeyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return digestMissing
	case err != nil:
		return digestUnreadable
	}
	sum := sha256.Sum256(content)
	clear(content)
	return string(sum[:])
}

// wordsDigest is what the reload plugin compares: all words, and their lines.
func wordsDigest(blocks []caddyfile.ServerBlock) string {
	b, err := json.Marshal(blocks)
	if err != nil {
		return digestUnreadable
	}
	sum := sha256.Sum256(b)
	return string(sum[:])
}
