// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package corefile is the grammar of the xfrguard directive: tokens in, configurations
// out. It knows nothing of a server, so that a command reads a Corefile by the same
// code. Its errors name file, line, token and what was expected, and never show a
// secret.
package corefile

import (
	"cmp"
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
// plugins, other blocks, a clock or the disk is checked by the guard. Its errors name
// file, line, token and what was expected, and never show what may be a secret.
func Parse(tokens *caddyfile.Dispenser, keys []string) ([]*Config, error) {
	p := &parser{
		Dispenser: tokens,
		keys:      keys,
		zones:     map[string]Position{},
		blockWide: map[string]setting{},
	}
	var configs []*Config
	for p.Next() {
		if p.Val() != directiveName {
			return nil, p.Errf("%s stands where '%s' was expected", quote(p.Val()), directiveName)
		}
		cfg, err := p.directive()
		if err != nil {
			return nil, err
		}
		configs = append(configs, cfg)
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
}

// setting is a property that holds for the whole server block, whichever of its
// directives says it.
type setting struct {
	value string
	pos   Position
	apply func(*Config)
}

// directive reads `xfrguard [ZONES...] [{ ... }]`; the cursor is on its name.
func (p *parser) directive() (*Config, error) {
	p.cfg = newConfig()
	p.cfg.Pos = p.here()
	p.given = map[string]Position{}
	p.cfg.Given = p.given
	p.auditGiven, p.paceGiven = false, false
	if err := p.readZones(p.RemainingArgs()); err != nil {
		return nil, err
	}
	if p.NextArg() { // RemainingArgs stops at nothing but the end of the line and "{"
		if err := p.body(); err != nil {
			return nil, err
		}
	}
	return p.cfg, p.checkWhole()
}

// body reads the properties up to the closing brace; the cursor is on the opening one.
func (p *parser) body() error {
	for p.Next() {
		if p.Val() == "}" {
			return nil
		}
		if err := p.property(); err != nil {
			return err
		}
	}
	return p.Errf("the file ends inside the block that %s opens at %s, expected '}'", directiveName, p.cfg.Pos)
}

// property reads one line of the block; the cursor is on its first token.
func (p *parser) property() error {
	name, pos := p.Val(), p.here()
	prop, ok := properties[name]
	if !ok {
		return p.Errf("unknown property %s%s, expected one of %s",
			quote(name), didYouMean(name, propertyNames), strings.Join(propertyNames, ", "))
	}
	if first, again := p.given[name]; again && !prop.repeats {
		return p.Errf("'%s' is given twice, first at %s", name, first)
	}
	if _, again := p.given[name]; !again {
		p.given[name] = pos
	}
	args := p.RemainingArgs()
	if p.NextArg() {
		return p.Errf("unexpected '{' after '%s', which has no block of its own", name)
	}
	if slices.Contains(args, "}") {
		return p.Errf("unexpected '}' after '%s', expected it on a line of its own", name)
	}
	if err := prop.parse(p, args); err != nil {
		return p.Errf("%s: %v", name, err)
	}
	return nil
}

// checkWhole looks at what can be judged only when all properties are known.
func (p *parser) checkWhole() error {
	cfg := p.cfg
	if pos, ok := p.given["audit_key"]; ok &&
		!slices.ContainsFunc(cfg.Audit, func(s Sink) bool { return s.Kind == "file" }) {
		return errAt(pos, "audit_key: there is no file to sign checkpoints of, expected an 'audit file PATH' too")
	}
	if err := p.checkPace(); err != nil {
		return err
	}
	for i, r := range cfg.Rules {
		if r.Concurrent > cfg.Limits.Total {
			return errAt(cfg.RulePos[i], "rule '%s' allows %d transfers at once, but 'concurrent' allows %d in all",
				r.Name, r.Concurrent, cfg.Limits.Total)
		}
	}
	return nil
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

// errAt is Errf for another place than the cursor's.
func errAt(pos Position, format string, args ...any) error {
	return fmt.Errorf("%s - Error during parsing: %s", pos, fmt.Sprintf(format, args...))
}

// readZones takes the zones of the directive, or else those of the server block.
func (p *parser) readZones(args []string) error {
	var block []string
	for _, key := range p.keys {
		block = append(block, Origins(key)...)
	}
	slices.Sort(block)
	block = slices.Compact(block) // a zone may stand there once for each port
	var zones []string
	for _, arg := range args {
		names, err := parseZone(arg)
		if err != nil {
			return p.Errf("%v", err)
		}
		zones = append(zones, names...)
	}
	for _, z := range zones {
		if len(block) > 0 && !slices.ContainsFunc(block, func(b string) bool { return dns.IsSubDomain(b, z) }) {
			return p.Errf("zone '%s' is outside of this server block, which serves %s", z, strings.Join(block, ", "))
		}
	}
	if len(args) == 0 {
		zones = block
	}
	for _, z := range zones {
		if first, dup := p.zones[z]; dup {
			return p.Errf("zone '%s' is named twice, first at %s", z, first)
		}
		p.zones[z] = p.cfg.Pos
	}
	p.cfg.Zones = zones
	return nil
}

// setBlockWide stores a property that holds for the whole server block.
func (p *parser) setBlockWide(name, value string, apply func(*Config)) error {
	if first, ok := p.blockWide[name]; ok && first.value != value {
		return fmt.Errorf("'%s' contradicts '%s' at %s, expected one value in a server block", value, first.value, first.pos)
	}
	p.blockWide[name] = setting{value, cmp.Or(p.blockWide[name].pos, p.here()), apply}
	return nil
}
