// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package corefile is the grammar of the xfrguard directive: tokens in, configurations
// out. It knows nothing of a server, so that a command reads a Corefile by the same
// code. Its errors name file, line, token and what was expected, and never show a
// secret.
package corefile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coredns/caddy/caddyfile"

	"github.com/miekg/dns"
)

// directiveName is the word that begins a directive.
const directiveName = "xfrguard"

// Parse reads every xfrguard directive of the server block with these keys, from tokens
// that begin before the first one. It looks at nothing but the text: what needs other
// plugins, other blocks, a clock or the disk is checked by the guard. The error holds every
// mistake, see [Mistakes].
func Parse(tokens *caddyfile.Dispenser, keys []string) ([]*Config, error) {
	p := &parser{
		Dispenser: tokens,
		keys:      keys,
		zones:     map[string]Position{},
		blockWide: map[string]setting{},
	}
	var configs []*Config
	for p.Next() {
		if p.Val() == "{" {
			p.note(p.Errf("'{' stands on a line of its own, expected it at the end of the line before"))
			p.skipBlock()
			continue
		}
		if p.Val() != directiveName {
			p.note(p.Errf("%s stands where '%s' was expected", quote(p.Val()), directiveName))
			break // a brace is missing, or there is one too many: nothing behind it can be told
		}
		configs = append(configs, p.directive())
	}
	if len(p.mistakes) > 0 {
		return nil, errors.Join(p.mistakes...)
	}
	for _, cfg := range configs {
		for _, s := range p.blockWide {
			s.apply(cfg)
		}
	}
	return configs, nil
}

// parser holds what reading one server block needs to remember.
type parser struct {
	*caddyfile.Dispenser
	keys      []string            // of the server block
	zones     map[string]Position // guarded by a directive of this block
	blockWide map[string]setting  // properties that the directives of a block share

	cfg        *Config             // the directive being read
	given      map[string]Position // its properties
	auditGiven bool                // an `audit` line has taken the place of the default
	paceGiven  bool                // `timeout` says it
	verified   map[string]Position // the kinds that `verify` lines say

	mistakes []error
}

// note keeps a mistake, if there is one. Reading goes on behind it, so that all are told.
func (p *parser) note(mistake error) {
	if mistake != nil {
		p.mistakes = append(p.mistakes, mistake)
	}
}

// setting is a property that holds for the whole server block, whichever of its
// directives says it.
type setting struct {
	value string
	pos   Position
	apply func(*Config)
}

// directive reads `xfrguard [ZONES...] [{ ... }]`; the cursor is on its name.
func (p *parser) directive() *Config {
	p.cfg = newConfig()
	p.cfg.Pos = p.here()
	p.given = map[string]Position{}
	p.cfg.Given = p.given
	p.auditGiven, p.paceGiven = false, false
	p.verified = map[string]Position{}
	before := len(p.mistakes)
	p.readZones(p.RemainingArgs())
	if p.NextArg() { // RemainingArgs stops at nothing but the end of the line and "{"
		p.body()
	}
	if len(p.mistakes) == before { // else what is missing may be what could not be read
		p.checkWhole()
	}
	return p.cfg
}

// body reads the properties up to the closing brace; the cursor is on the opening one.
func (p *parser) body() {
	for p.Next() {
		if p.Val() == "}" {
			return
		}
		p.note(p.property())
	}
	p.note(p.Errf("the file ends inside the block that %s opens at %s, expected '}'", directiveName, p.cfg.Pos))
}

// property reads one line of the block, to its end; the cursor is on its first token.
func (p *parser) property() error {
	name, pos := p.Val(), p.here()
	args := p.RemainingArgs()
	hasBlock := name == "{" || p.NextArg()
	brace := p.here()
	if hasBlock {
		p.skipBlock()
	}
	prop, ok := properties[name]
	if !ok {
		return errAt(pos, "unknown property %s%s, expected one of %s",
			quote(name), didYouMean(name, propertyNames), strings.Join(propertyNames, ", "))
	}
	if first, again := p.given[name]; again && !prop.repeats {
		return errAt(pos, "'%s' is given twice, first at %s", name, first)
	}
	if _, again := p.given[name]; !again {
		p.given[name] = pos
	}
	if hasBlock {
		return errAt(brace, "unexpected '{' after '%s', which has no block of its own", name)
	}
	if slices.Contains(args, "}") {
		return p.Errf("unexpected '}' after '%s', expected it on a line of its own", name)
	}
	if err := prop.parse(p, args); err != nil {
		return p.Errf("%s: %v", name, err)
	}
	return nil
}

// skipBlock goes to the brace that closes the block which the cursor is in.
func (p *parser) skipBlock() {
	for depth := 1; depth > 0 && p.Next(); {
		switch p.Val() {
		case "{":
			depth++
		case "}":
			depth--
		}
	}
}

// checkWhole looks at what can be judged only when all properties are known.
func (p *parser) checkWhole() {
	cfg := p.cfg
	if pos, ok := p.given["audit_key"]; ok &&
		!slices.ContainsFunc(cfg.Audit, func(s Sink) bool { return s.Kind == "file" }) {
		p.note(errAt(pos, "audit_key: there is no file to sign checkpoints of, expected an 'audit file PATH' too"))
	}
	if pos, ok := p.given["hold"]; ok && cfg.Journal == "" {
		p.note(errAt(pos, "hold: there is nothing that keeps the last good version over a restart, expected a 'journal DIR' too"))
	}
	p.note(p.checkPace())
	p.checkExpects()
	p.note(p.checkVerify())
	for i, r := range cfg.Rules {
		if r.Concurrent > cfg.Limits.Total {
			p.note(errAt(cfg.RulePos[i], "rule '%s' allows %d transfers at once, but 'concurrent' allows %d in all",
				r.Name, r.Concurrent, cfg.Limits.Total))
		}
	}
}

// checkPace looks that a transfer can keep the pace within its bandwidth. The default
// pace gives way.
func (p *parser) checkPace() error {
	l := &p.cfg.Limits
	half := l.Bandwidth / 2
	switch {
	case l.Bandwidth == 0 || l.Pace <= half:
		return nil
	case p.paceGiven:
		return errAt(p.given["timeout"], "timeout: a pace of %d bytes a second is more than half of the 'bandwidth' %d, which no transfer would keep",
			l.Pace, l.Bandwidth)
	}
	l.Pace = half
	return nil
}

func (p *parser) here() Position { return Position{p.File(), p.Line()} }

// Errf is a mistake at the cursor.
func (p *parser) Errf(format string, args ...any) error { return errAt(p.here(), format, args...) }

// readZones takes the zones and patterns of the directive, or else the zones of the
// server block.
func (p *parser) readZones(args []string) {
	var block []string
	for _, key := range p.keys {
		block = append(block, Origins(key)...)
	}
	slices.Sort(block)
	block = slices.Compact(block) // a zone may stand there once for each port
	var zones, patterns []string
	shown := map[string]string{}
	for _, arg := range args {
		pattern, ok, err := parsePattern(arg)
		if err == nil && ok {
			patterns = append(patterns, pattern)
			shown[pattern] = quoteName(pattern, arg)
			continue
		}
		var names []string
		if err == nil {
			names, err = parseZone(arg)
		}
		if err != nil {
			p.note(p.Errf("%v", err))
		}
		for _, name := range names {
			shown[name] = quoteName(name, arg)
		}
		zones = append(zones, names...)
	}
	if len(args) == 0 {
		zones = block
	}
	for _, z := range append(slices.Clone(zones), patterns...) {
		name, quoted := z, cmp.Or(shown[z], "'"+z+"'")
		if slices.Contains(patterns, z) {
			name = Below(z)
		}
		first, dup := p.zones[z]
		switch {
		case name != "" && len(block) > 0 && !slices.ContainsFunc(block, func(b string) bool { return dns.IsSubDomain(b, name) }):
			p.note(p.Errf("zone %s is outside of this server block, which serves %s", quoted, strings.Join(block, ", ")))
		case dup:
			p.note(p.Errf("zone %s is named twice, first at %s", quoted, first))
			if len(args) == 0 {
				return // the others are as well
			}
		default:
			p.zones[z] = p.cfg.Pos
		}
	}
	if slices.Contains(patterns, Everything) && len(args) > 1 {
		p.note(p.Errf("'*' stands for every zone of the server block, expected it alone: give other zones a directive of their own"))
	}
	p.cfg.Zones, p.cfg.Patterns = zones, patterns
}

// setBlockWide stores a property that holds for the whole server block.
func (p *parser) setBlockWide(name, value string, apply func(*Config)) error {
	if first, ok := p.blockWide[name]; ok && first.value != value {
		return fmt.Errorf("'%s' contradicts '%s' at %s, expected one value in a server block", value, first.value, first.pos)
	}
	p.blockWide[name] = setting{value, cmp.Or(p.blockWide[name].pos, p.here()), apply}
	return nil
}
