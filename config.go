// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"
)

// config is one xfrguard directive of the Corefile, parsed and checked.
type config struct {
	zones      []string // canonical apexes
	rules      []policy.Rule
	rulePos    []position // where each of rules stands
	algorithms []string
	limits     Limits

	audit        []sinkSpec
	auditFailure AuditFailure
	auditKey     string // path of an Ed25519 key; "" without checkpoints

	mode      Mode
	elsewhere Elsewhere
	findings  FindingsMode

	cache   int64  // packed zone versions kept in memory, in bytes
	journal string // directory; "" for memory only
	notify  []notifySpec

	pos position // where the directive stands, for errors that only show later
}

// position is a place in the Corefile.
type position struct {
	file string
	line int
}

// String implements fmt.Stringer: "Corefile:12".
func (p position) String() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

// Limits bound what an allowed client may take.
type Limits struct {
	Rate      policy.Rate   // per client (address; /64 in IPv6) and zone
	Total     int           // transfers at once, all clients
	PerClient int           // transfers at once, one client
	Wait      time.Duration // how long a request over the limit waits for its turn
	Bandwidth int64         // one transfer, in bytes a second; 0 is unlimited
	Timeout   time.Duration // a whole transfer
	Stall     time.Duration // without any progress
	Pace      int64         // bytes a second below which a transfer makes room for who waits; 0 is never
}

// sinkSpec is one `audit` line.
type sinkSpec struct {
	kind    string // "stdout", "file", "journald", "syslog"
	path    string // file
	network string // syslog: "tcp", "tls" or "unix"
	address string // syslog: HOST:PORT, or the path of the socket
}

// notifySpec is one `notify` line.
type notifySpec struct {
	addrs []netip.AddrPort
	key   string // canonical name; "" for unsigned
	tls   bool
	pos   position
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
	defaultLimits     = Limits{
		Rate:      policy.Rate{Count: 60, Period: time.Minute, Burst: 10},
		Total:     16,
		PerClient: 4,
		Wait:      5 * time.Second,
		Timeout:   2 * time.Hour,
		Stall:     30 * time.Second,
		Pace:      4 << 10,
	}
)

const defaultCache = 256 << 20

// newConfig returns a directive without any property: every default, no rules.
func newConfig() *config {
	return &config{
		algorithms:   slices.Clone(defaultAlgorithms),
		limits:       defaultLimits,
		audit:        []sinkSpec{{kind: "stdout"}},
		auditFailure: AuditRefuse,
		mode:         ModeEnforce,
		elsewhere:    ElsewhereRefuse,
		findings:     FindingsWarn,
		cache:        defaultCache,
	}
}
