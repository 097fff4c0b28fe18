// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package corefile

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/policy"
)

// Config is one xfrguard directive of the Corefile, parsed and checked.
type Config struct {
	Zones      []string // canonical apexes
	Patterns   []string // "*", or "*.example.org."; see [Covers]
	Rules      []policy.Rule
	RulePos    []Position // where each of rules stands
	Expects    []Expect   // what Rules have to say about requests
	Algorithms []string
	Limits     policy.Limits

	Audit        []Sink
	AuditFailure AuditFailure
	AuditKey     string // path of an Ed25519 key; "" without checkpoints

	Mode      Mode
	Elsewhere Elsewhere
	Findings  FindingsMode
	Except    []finding.Code // left out of the findings, in their order

	Cache   int64  // packed zone versions kept in memory, in bytes
	Journal string // directory; "" for memory only
	Control string // directory, an absolute path; "" for none

	HoldShrink int // percent of its records that a zone may lose at once; 0 holds nothing

	Notify []Notify
	Verify Verify

	Pos   Position            // where the directive stands, for errors that only show later
	Given map[string]Position // the properties that it has itself, at their first line
}

// At returns where a property of the directive stands, or the directive when it has none.
func (c *Config) At(property string) Position {
	if pos, ok := c.Given[property]; ok {
		return pos
	}
	return c.Pos
}

// Position is a place in the Corefile.
type Position struct {
	File string
	Line int
}

// String implements fmt.Stringer: "Corefile:12".
func (p Position) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// Sink is one `audit` line.
type Sink struct {
	Kind    string // "stdout", "file", "journald", "syslog"
	Path    string // file
	Network string // syslog: "tcp", "tls" or "unix"
	Address string // syslog: HOST:PORT, or the path of the socket
}

// Name is how events, metrics and log lines call the sink, and what makes two
// `audit` lines the same sink.
func (s Sink) Name() string {
	switch s.Kind {
	case "file":
		return "file:" + s.Path
	case "syslog":
		return "syslog:" + s.Network + ":" + s.Address
	}
	return s.Kind
}

// Notify is one `notify` line, or the word `notify` of a rule.
type Notify struct {
	Addrs  []netip.AddrPort
	Key    string     // canonical name; "" for unsigned
	Source netip.Addr // the address to send from; the zero Addr when the line does not say
	TLS    bool
	Rule   string // the rule that says it; "" for a line
	Pos    Position

	Unclear []string // addresses, as written, that may have been meant with a port
}

// Mode says whether decisions are carried out.
type Mode string

// The modes. observe records what enforce would have done and refuses nothing.
const (
	ModeEnforce Mode = "enforce"
	ModeObserve Mode = "observe"
)

// AuditFailure says what happens to an allowed transfer that cannot be recorded.
type AuditFailure string

// The ways to fail.
const (
	AuditRefuse AuditFailure = "refuse"
	AuditServe  AuditFailure = "serve"
)

// Elsewhere says what happens to transfers in server blocks without xfrguard.
type Elsewhere string

// What can happen to them.
const (
	ElsewhereRefuse Elsewhere = "refuse"
	ElsewherePass   Elsewhere = "pass"
)

// FindingsMode says what the findings of the self-check do at start.
type FindingsMode string

// What findings can do.
const (
	FindingsWarn FindingsMode = "warn"
	FindingsFail FindingsMode = "fail"
)

// The defaults of every property, as the README documents them.
var (
	defaultAlgorithms = []string{"hmac-sha256", "hmac-sha384", "hmac-sha512"}
)

const defaultCache = 256 << 20

// newConfig returns a directive without any property: every default, no rules.
func newConfig() *Config {
	return &Config{
		Algorithms:   slices.Clone(defaultAlgorithms),
		Limits:       policy.DefaultLimits,
		Audit:        []Sink{{Kind: "stdout"}},
		AuditFailure: AuditRefuse,
		Mode:         ModeEnforce,
		Elsewhere:    ElsewhereRefuse,
		Findings:     FindingsWarn,
		Cache:        defaultCache,
		Verify:       Verify{Zonemd: VerifyWarn, Dnssec: VerifyWarn},
	}
}
