// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/xfrguard/xfrguard/internal/coredns"
	"github.com/xfrguard/xfrguard/internal/evidence"
	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/lint"
	"github.com/xfrguard/xfrguard/internal/plainfile"

	"github.com/coredns/caddy/caddyfile"
)

// keyFile is a file that says who is who.
type keyFile struct {
	path   string
	what   string
	secret bool // who can read it can pass for somebody; others must only not be changed
}

// What a keyFile is.
const (
	whatSecrets     = "tsig secrets"
	whatCertificate = "tls certificate"
	whatKey         = "tls key"
	whatCA          = "tls CA"
)

// lintFiles looks for files with keys that others of this host may read or change, and for
// certificates of the server and its CA that rest on weak keys.
func (g *guard) lintFiles(fs *lint.Findings, in *instance) {
	files := g.keyFiles(in)
	for _, d := range g.directives {
		cfg := d.Config
		if cfg.AuditKey != "" {
			files = append(files, keyFile{cfg.AuditKey, "audit_key", true})
		}
	}
	for i, f := range files {
		if slices.Contains(files[:i], f) {
			continue
		}
		if fault := f.fault(); fault != "" {
			fs.Add(finding.KeyFileMode, g.pos, "%s", fault)
		}
		if f.what == whatCertificate || f.what == whatCA {
			if weak := evidence.WeakKey(certificatesIn(f.path)...); weak != "" {
				fs.Add(finding.CertificateWeak, g.pos, "the %s %s has %s: issue one with RSA of %d bits or more, ECDSA or Ed25519",
					f.what, f.path, weak, evidence.MinRSABits)
			}
		}
	}
}

// keyFiles are the files that the block's tsig and tls name.
func (g *guard) keyFiles(in *instance) []keyFile { return keyFilesIn(in.blockTokens(g.index)) }

// keyFilesIn are the files that tsig and tls name in a server block. Both plugins keep
// what they have read and not from where, so the Corefile is asked.
func keyFilesIn(block map[string][]caddyfile.Token) (files []keyFile) {
	root := ""
	if words := block["root"]; len(words) > 1 {
		root = words[1].Text
	}
	tsig := block["tsig"]
	for i, token := range tsig {
		if token.Text == "secrets" && i+1 < len(tsig) {
			files = append(files, keyFile{tsig[i+1].Text, whatSecrets, true}) // tsig knows no root
		}
	}
	what := [...]keyFile{{what: whatCertificate}, {what: whatKey, secret: true}, {what: whatCA}}
	args := block["tls"]
	for i := 1; i < len(args) && i <= len(what) && args[i].Text != "{" && args[i].Line == args[0].Line; i++ {
		f := what[i-1]
		if f.path = args[i].Text; root != "" && !filepath.IsAbs(f.path) {
			f.path = filepath.Join(root, f.path)
		}
		files = append(files, f)
	}
	return files
}

// fault says what is wrong with the file's mode, "" for none and for what is no file here.
// Group may read: a server that has a group of its own reads its keys so.
func (f *keyFile) fault() string {
	info, err := os.Stat(f.path)
	if err != nil || !info.Mode().IsRegular() || runtime.GOOS == "windows" {
		return ""
	}
	mode := info.Mode().Perm()
	switch {
	case mode&0o002 != 0:
		return fmt.Sprintf("%s %s may be changed by everybody on this host (mode %04o): chmod 0640, with the server's group", f.what, f.path, mode)
	case mode&0o020 != 0:
		return fmt.Sprintf("%s %s may be changed by its group (mode %04o): chmod 0640", f.what, f.path, mode)
	case f.secret && mode&0o004 != 0 && !mounted(f.path):
		return fmt.Sprintf("%s %s may be read by everybody on this host (mode %04o): chmod 0640, with the server's group", f.what, f.path, mode)
	case replaceable(f.path):
		return fmt.Sprintf("%s %s may be replaced by others: its directory may be written by everybody", f.what, f.path)
	}
	return ""
}

// mounted reports whether the file is one of a Kubernetes secret, which has mode 0644 by
// default and is seen in its container alone: the path leads through the directory with a
// name of two dots and a time that the kubelet makes.
func mounted(path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil || real == path {
		return false
	}
	dir := filepath.Base(filepath.Dir(real))
	return len(dir) > 2 && strings.HasPrefix(dir, "..")
}

// replaceable reports whether everybody may put another file in the place of this one.
func replaceable(path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	info, err := os.Stat(filepath.Dir(real))
	return err == nil && info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0
}

// maxPEM bounds what is read of a file with certificates.
const maxPEM = 4 << 20

func certificatesIn(path string) (certs []*x509.Certificate) {
	rest, _, err := plainfile.Read(path, maxPEM)
	if err != nil {
		return nil
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return certs
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			certs = append(certs, c)
		}
	}
}

// blockTokens are the words of a server block by directive, nil where they cannot be had.
func (in *instance) blockTokens(index int) map[string][]caddyfile.Token {
	path, text, ok := coredns.Corefile(in.controller)
	if !ok {
		return nil
	}
	blocks, err := caddyfile.Parse(path, bytes.NewReader(text), nil)
	if err != nil || index >= len(blocks) {
		return nil
	}
	for _, tokens := range blocks[index].Tokens {
		for i := range tokens {
			if tokens[i].File == "" { // not out of an import
				tokens[i].File = path
			}
		}
	}
	return blocks[index].Tokens
}
