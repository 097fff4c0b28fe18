// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package check reads a whole Corefile as the guard does, by the same grammar, and says
// what is wrong with it and what it means. It needs no server: nothing is listened to,
// opened for writing or sent.
package check

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/coredns/caddy/caddyfile"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/lint"
)

// Corefile is what a file says of xfrguard.
type Corefile struct {
	Path     string
	Blocks   []*Block  // those with a directive, in the order of the text
	Problems []Problem // in the order of the text

	servers []server // all server blocks
}

// server is any server block.
type server struct {
	keys  []string
	hosts []string // that it listens at; "" is all
	view  string   // the name of its view, "" for none
	guard *Block   // nil without a directive
}

// Block is one server block with at least one directive.
type Block struct {
	Keys    []string           // as written: "example.org:53"
	Pos     corefile.Position  // of its first token
	Configs []*corefile.Config // nil when one of them has a mistake
	TSIG    Keys
	View    string // the name of its view, "" for none
}

// Name is the server block's keys, as the Corefile has them, with its view.
func (b *Block) Name() string {
	name := fmt.Sprint(b.Keys)
	name = name[1 : len(name)-1]
	if b.View != "" {
		name += " (view " + b.View + ")"
	}
	return name
}

// Level says how much a problem weighs.
type Level string

// The levels, heaviest first. With an error CoreDNS does not start.
const (
	Error Level = "error"
	Warn  Level = Level(finding.Warn)
	Info  Level = Level(finding.Info)
)

// Levels are all, heaviest first.
var Levels = []Level{Error, Warn, Info}

// AtLeast reports whether the level weighs as much as the other one.
func (l Level) AtLeast(other Level) bool {
	return slices.Index(Levels, l) <= slices.Index(Levels, other)
}

// Mistake is the code of what the grammar refuses. The others are those of findings.
const Mistake finding.Code = "mistake"

// Unexpected is the code of an `expect` line that does not hold.
const Unexpected finding.Code = "expect"

// Problem is one thing that is wrong, or seems to be one thing and is another.
type Problem struct {
	Code  finding.Code
	Level Level
	Pos   corefile.Position
	Block string // the name of the server block; "" for the file itself
	Text  string // what it is, and what was expected
}

// String is one line: "Corefile:12: error: mistake: text".
func (p *Problem) String() string {
	return fmt.Sprintf("%s: %s: %s: %s", p.Pos, p.Level, p.Code, p.Text)
}

// Read reads the Corefile at path. Its errors are about reading the file alone; what is
// wrong inside are the Corefile's problems. now is the moment for which it is judged.
func Read(path string, now time.Time) (*Corefile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the Corefile: %w", err)
	}
	c := &Corefile{Path: path}
	blocks, err := caddyfile.Parse(path, bytes.NewReader(text), nil)
	if err != nil {
		c.Problems = append(c.Problems, c.syntax(err))
	}
	for _, sb := range blocks {
		s := server{keys: sb.Keys, hosts: hostsOf(sb.Tokens["bind"]), view: viewOf(sb.Tokens["view"])}
		if len(sb.Tokens["xfrguard"]) > 0 {
			s.guard = c.block(sb, now)
		}
		c.servers = append(c.servers, s)
	}
	c.agree()
	c.sort()
	return c, nil
}

// agree looks for what all server blocks have to say alike.
func (c *Corefile) agree() {
	var first *corefile.Config
	for _, b := range c.Blocks {
		switch {
		case b.Configs == nil:
		case first == nil:
			first = b.Configs[0]
		case b.Configs[0].Elsewhere != first.Elsewhere:
			pos := b.Configs[0].At("elsewhere")
			c.add(b, Mistake, Error, pos, fmt.Sprintf("elsewhere: it is '%s' here and '%s' at %s: say the same in every server block",
				b.Configs[0].Elsewhere, first.Elsewhere, first.At("elsewhere")))
			return // CoreDNS names two as well
		}
	}
}

// sort brings the problems into the order of the text, those of imported files behind.
func (c *Corefile) sort() {
	imported := func(p *Problem) int {
		if p.Pos.File == c.Path {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(c.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(imported(&a), imported(&b)), cmp.Compare(a.Pos.File, b.Pos.File), cmp.Compare(a.Pos.Line, b.Pos.Line))
	})
}

// block reads the directives of one server block.
func (c *Corefile) block(sb caddyfile.ServerBlock, now time.Time) *Block {
	tokens := sb.Tokens["xfrguard"]
	b := &Block{Keys: sb.Keys, Pos: corefile.Position{File: cmp.Or(tokens[0].File, c.Path), Line: tokens[0].Line}, View: viewOf(sb.Tokens["view"])}
	c.Blocks = append(c.Blocks, b)
	b.TSIG = readKeys(sb.Tokens["tsig"], c.Path, rootOf(sb.Tokens["root"]))
	dispenser := caddyfile.NewDispenserTokens(c.Path, tokens)
	configs, err := corefile.Parse(&dispenser, sb.Keys)
	for _, m := range corefile.Mistakes(err) {
		c.add(b, Mistake, Error, m.Pos, m.Text)
	}
	if err != nil {
		return b
	}
	b.Configs = configs
	for _, p := range b.TSIG.problems {
		c.add(b, p.Code, p.Level, p.Pos, p.Text)
	}
	if b.TSIG.Complete {
		for _, m := range corefile.Mistakes(corefile.CheckKeys(configs, b.TSIG.Has)) {
			c.add(b, Mistake, Error, m.Pos, m.Text)
		}
	}
	c.expects(b, now)
	fs := lint.Block(configs, now).Without(configs[0].Except)
	for i := range fs {
		level := Level(fs[i].Level())
		if level == Warn && configs[0].Findings == corefile.FindingsFail {
			level = Error
		}
		c.add(b, fs[i].Code, level, fs[i].Pos, fs[i].Text)
	}
	return b
}

func (c *Corefile) add(b *Block, code finding.Code, level Level, pos corefile.Position, text string) {
	c.Problems = append(c.Problems, Problem{Code: code, Level: level, Pos: pos, Block: b.Name(), Text: text})
}

var positionPattern = regexp.MustCompile(`^(.*):([0-9]+) - (?:Error during parsing|Syntax error): (.*)$`)

// syntax is what Caddy's parser, or CoreDNS, says of the file.
func (c *Corefile) syntax(err error) Problem {
	p := Problem{Code: Mistake, Level: Error, Pos: corefile.Position{File: c.Path, Line: 1}, Text: err.Error()}
	if m := positionPattern.FindStringSubmatch(err.Error()); m != nil {
		p.Pos.File, p.Text = m[1], m[3]
		p.Pos.Line, _ = strconv.Atoi(m[2])
	}
	p.Text = corefile.Redact(p.Text)
	return p
}

// viewOf is the name in `view NAME {`.
func viewOf(tokens []caddyfile.Token) string {
	if len(tokens) > 1 {
		return tokens[1].Text
	}
	return ""
}

// rootOf is the directory in `root DIR`.
func rootOf(tokens []caddyfile.Token) string {
	if len(tokens) > 1 {
		return tokens[1].Text
	}
	return ""
}

var errNoPolicy = errors.New("no server block of the Corefile has an xfrguard directive")

// Guarded fails when there is no directive at all.
func (c *Corefile) Guarded() error {
	if len(c.Blocks) == 0 && len(c.Problems) == 0 {
		return fmt.Errorf("%s: %w", c.Path, errNoPolicy)
	}
	return nil
}

// Worst is the heaviest level of the problems, "" when there are none.
func (c *Corefile) Worst() (worst Level) {
	for i := range c.Problems {
		if l := c.Problems[i].Level; worst == "" || l.AtLeast(worst) {
			worst = l
		}
	}
	return worst
}

// expects tries what the policy of a server block has to say. Names of keys that are not
// known here are taken for known.
func (c *Corefile) expects(b *Block, now time.Time) {
	has := func(key string) bool { return !b.TSIG.Complete || b.TSIG.Has(key) }
	for _, u := range corefile.TryExpects(b.Configs, now, has) {
		if u.Over {
			c.add(b, finding.ExpectOver, Warn, u.Pos, u.Text)
		} else {
			c.add(b, Unexpected, Error, u.Pos, u.Text)
		}
	}
}

// Untried are the rules of the Corefile that no `expect` line is decided by, each as
// "Corefile:12: ns2".
func (c *Corefile) Untried(now time.Time) (names []string) {
	for _, b := range c.Blocks {
		ps := corefile.PoliciesOf(b.Configs)
		for _, cfg := range b.Configs {
			for i := range cfg.Rules {
				if !cfg.Touches(i, ps, now, b.TSIG.Has) {
					names = append(names, fmt.Sprintf("%s: %s", cfg.RulePos[i], cfg.Rules[i].Name))
				}
			}
		}
	}
	return names
}
