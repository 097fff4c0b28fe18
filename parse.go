// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"

	"github.com/miekg/dns"
)

// parse reads every xfrguard directive of one server block. It looks at nothing
// but the text: what needs other plugins, other blocks, a clock or the disk is
// checked by setup. Its errors name file, line, token and what was expected, and
// never show what may be a secret.
func parse(c *caddy.Controller) ([]*config, error) {
	p := &parser{
		Controller: c,
		zones:      map[string]position{},
		blockWide:  map[string]setting{},
	}
	var configs []*config
	for c.Next() {
		if c.Val() != pluginName {
			return nil, c.Errf("%s stands where '%s' was expected", quote(c.Val()), pluginName)
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
	*caddy.Controller
	zones     map[string]position // guarded by a directive of this block
	blockWide map[string]setting  // properties that the directives of a block share

	cfg        *config             // the directive being read
	given      map[string]position // its properties
	auditGiven bool                // an `audit` line has taken the place of the default
	paceGiven  bool                // `timeout` says it
}

// setting is a property that holds for the whole server block, whichever of its
// directives says it.
type setting struct {
	value string
	pos   position
	apply func(*config)
}

// directive reads `xfrguard [ZONES...] [{ ... }]`; the cursor is on its name.
func (p *parser) directive() (*config, error) {
	p.cfg = newConfig()
	p.cfg.pos = p.here()
	p.given = map[string]position{}
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
	return p.Errf("the file ends inside the block that %s opens at %s, expected '}'", pluginName, p.cfg.pos)
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
	p.given[name] = pos
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
		!slices.ContainsFunc(cfg.audit, func(s sinkSpec) bool { return s.kind == "file" }) {
		return errAt(pos, "audit_key: there is no file to sign checkpoints of, expected an 'audit file PATH' too")
	}
	if err := p.checkPace(); err != nil {
		return err
	}
	for i, r := range cfg.rules {
		if r.Concurrent > cfg.limits.Total {
			return errAt(cfg.rulePos[i], "rule '%s' allows %d transfers at once, but 'concurrent' allows %d in all",
				r.Name, r.Concurrent, cfg.limits.Total)
		}
	}
	return nil
}

// checkPace looks that a transfer can keep the pace within its bandwidth. The default
// pace gives way.
func (p *parser) checkPace() error {
	l := &p.cfg.limits
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

func (p *parser) here() position { return position{p.File(), p.Line()} }

// errAt is Errf for another place than the cursor's.
func errAt(pos position, format string, args ...any) error {
	return fmt.Errorf("%s - Error during parsing: %s", pos, fmt.Sprintf(format, args...))
}

// readZones takes the zones of the directive, or else those of the server block.
func (p *parser) readZones(args []string) error {
	var block []string
	for _, z := range plugin.OriginsFromArgsOrServerBlock(nil, p.ServerBlockKeys) {
		block = append(block, canonicalName(z))
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
		p.zones[z] = p.cfg.pos
	}
	p.cfg.zones = zones
	return nil
}

// setBlockWide stores a property that holds for the whole server block.
func (p *parser) setBlockWide(name, value string, apply func(*config)) error {
	if first, ok := p.blockWide[name]; ok && first.value != value {
		return fmt.Errorf("'%s' contradicts '%s' at %s, expected one value in a server block", value, first.value, first.pos)
	}
	p.blockWide[name] = setting{value, cmp.Or(p.blockWide[name].pos, p.here()), apply}
	return nil
}
