// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/xfrguard/xfrguard/internal/coredns"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/keyfile"
	"github.com/xfrguard/xfrguard/internal/lint"
	"github.com/xfrguard/xfrguard/internal/plainfile"
)

// leastSecret is the shortest secret in octets: 128 bits (RFC 8945 §8 wants as many as the
// algorithm's output, which is more).
const leastSecret = 16

// lintKeys looks at the keys that tsig has for this block.
func (g *guard) lintKeys(fs *lint.Findings, in *instance) {
	g.lintKeyNames(fs, in)
	for _, path := range g.secretFiles(in) {
		keyFileFindings(fs, path)
	}
	names := slices.Sorted(maps.Keys(g.Secrets))
	for i, name := range names {
		raw := g.Secrets[name].Raw
		if len(raw) < leastSecret {
			fs.Add(finding.SecretShort, g.pos, "the secret of TSIG key %s has %d bits: make one of 256, such as 'tsig-keygen -a hmac-sha256 %s' does", name, 8*len(raw), strings.TrimSuffix(name, "."))
		}
		for _, other := range names[:i] {
			if bytes.Equal(raw, g.Secrets[other].Raw) {
				fs.Add(finding.SecretShared, g.pos, "TSIG keys %s and %s have the same secret, so that who has one is both: give each its own", other, name)
				break
			}
		}
	}
	g.lintUnusedKeys(fs, in)
}

// lintKeyNames finds names with capitals in the Corefile itself.
func (g *guard) lintKeyNames(fs *lint.Findings, in *instance) {
	tokens := in.blockTokens(g.index)["tsig"]
	for i, t := range tokens {
		if t.Text == "secret" && i+1 < len(tokens) {
			if name := tokens[i+1].Text; name != strings.ToLower(name) {
				fs.Add(finding.KeyCase, corefile.Position{File: t.File, Line: t.Line}, capitals, name, strings.ToLower(name))
			}
		}
	}
}

const capitals = "TSIG key %s has capitals: CoreDNS answers BADKEY to the SOA query of a secondary that sends them, and that one never asks for the zone; write %s here and there"

// secretFiles are the key files of the block's tsig.
func (g *guard) secretFiles(in *instance) (paths []string) {
	for _, f := range g.keyFiles(in) {
		if f.what == "tsig secrets" && !slices.Contains(paths, f.path) {
			paths = append(paths, f.path)
		}
	}
	return paths
}

// keyFileFindings says what CoreDNS makes of a key file that is meant otherwise. It reports
// whether CoreDNS does not start with it.
func keyFileFindings(fs *lint.Findings, path string) (stops bool) {
	text, _, err := plainfile.Read(path, maxKeyFile)
	if err != nil {
		return false // tsig says what is wrong with it
	}
	for _, p := range keyfile.Check(string(text)) {
		at := corefile.Position{File: path, Line: p.Line}
		switch p.Kind {
		case keyfile.Case:
			fs.Add(finding.KeyCase, at, capitals, p.Key, strings.ToLower(p.Key))
		case keyfile.Cut:
			fs.Add(finding.SecretCut, at, "tsig takes a part of the secret of key %s, and BIND all of it: write it without blanks, on a line of its own, 'secret \"...\";'", p.Key)
		case keyfile.Form:
			fs.Add(finding.KeyFileForm, at, "tsig does not read this line and CoreDNS says \"Wrong argument count\": write 'key \"NAME\" {', 'algorithm ...;', 'secret \"...\";' and '};', each on a line of its own, and no comments")
		}
		stops = stops || p.Stops
	}
	return stops
}

// warnOfKeyFiles tells what is wrong with key files before tsig reads them: it may end the
// start, and then says no more than how many arguments it wants.
func (in *instance) warnOfKeyFiles(g *guard) {
	for _, path := range g.secretFiles(in) {
		var fs lint.Findings
		if !keyFileFindings(&fs, path) {
			continue
		}
		for i := range fs {
			logFinding(&fs[i])
		}
	}
}

// lintUnusedKeys finds keys that nothing names, where nothing but transfers asks for keys.
// A key file may serve several blocks.
func (g *guard) lintUnusedKeys(fs *lint.Findings, in *instance) {
	used := make(map[string]bool)
	for _, other := range in.guards {
		if other.Config.Handler("dynupdate") != nil || coredns.UsesTSIG(other.Config.Handler("tsig")) {
			return
		}
		for _, d := range other.directives {
			for i := range d.Rules {
				for _, k := range d.Rules[i].Keys {
					used[k] = true
				}
			}
			for _, n := range d.Notify {
				used[n.Key] = true
			}
		}
	}
	var unused []string
	for _, name := range slices.Sorted(maps.Keys(g.Secrets)) {
		if !used[name] {
			unused = append(unused, name)
		}
	}
	if len(unused) > 0 {
		fs.Add(finding.KeyUnused, g.pos, "no rule and no notify names TSIG key %s: name it, or remove it", fewOf(unused))
	}
}

// sayGuarded says at start what a directive guards, one line each.
func (g *guard) sayGuarded() {
	for _, d := range g.directives {
		var allowed []string
		for i := range d.Rules {
			if !d.Rules[i].Deny {
				allowed = append(allowed, d.Rules[i].Name)
			}
		}
		var backends []string
		_, sources := g.chain()
		for _, s := range sources {
			if h, ok := s.(interface{ Name() string }); ok && !slices.Contains(backends, h.Name()) {
				backends = append(backends, h.Name())
			}
		}
		var sinks []string
		for _, s := range d.Audit {
			sinks = append(sinks, s.Name())
		}
		log.Infof("%s: %s %s on %s: allowed %s; out of %s; recorded by %s", d.Pos, said[g.mode], orNone(fewOf(d.Names())), g.server(),
			orNone(fewOf(allowed)), orNone(strings.Join(backends, ", ")), strings.Join(sinks, ", "))
	}
}

var said = map[corefile.Mode]string{corefile.ModeEnforce: "guards", corefile.ModeObserve: "observes"}

func orNone(list string) string {
	if list == "" {
		return "none"
	}
	return list
}
