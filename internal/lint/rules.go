// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"time"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/policy"
)

// rules finds rules that do not do what they seem to.
func (fs *Findings) rules(cfg *corefile.Config, now time.Time) {
	allows := false // or says that it does not
	for i := range cfg.Rules {
		rule := &cfg.Rules[i]
		if rule.Deny {
			fs.deny(cfg, i)
			allows = allows || rule.Nets.Any() // that nobody is let in is written down
			continue
		}
		allows = true
		if until := rule.TLSUntil; !until.IsZero() && !now.Before(until) {
			fs.Add(finding.TLSUntilOver, cfg.RulePos[i], "rule %q has not let plain TCP in since %s: its 'until' has passed and can go",
				rule.Name, until.Format(time.RFC3339))
		}
		fs.Expiry(cfg, i, now)
	}
	if !allows {
		fs.Add(finding.PolicyEmpty, cfg.Pos, "there is no allow rule here, so that every transfer is refused: "+
			"write one for each secondary, such as 'allow as ns2 net 192.0.2.53 key ns2.example.net.'")
	}
}

// ExpiresSoon is how long before the end of a rule it is told of.
const ExpiresSoon = 30 * 24 * time.Hour

// Expiry tells of a rule that has ended, or will soon. It is no warning, so that a date
// never ends the start of a server.
func (fs *Findings) Expiry(cfg *corefile.Config, at int, now time.Time) {
	rule := &cfg.Rules[at]
	switch end := rule.Expires; {
	case end.IsZero() || end.After(now.Add(ExpiresSoon)):
	case rule.Expired(now):
		fs.Add(finding.RuleExpiresSoon, cfg.RulePos[at], "rule %q has allowed nobody since %s: remove it, or put its 'expires' off",
			rule.Name, end.Format(time.RFC3339))
	default:
		fs.Add(finding.RuleExpiresSoon, cfg.RulePos[at], "rule %q allows nobody from %s on: put its 'expires' off if its secondaries shall have the zone for longer",
			rule.Name, end.Format(time.RFC3339))
	}
}

// deny looks at a deny rule. The first rule that fits decides, so that one behind all allow
// rules for its addresses denies nobody. One that is wider than all of them is a way to
// write that nobody else is let in.
func (fs *Findings) deny(cfg *corefile.Config, at int) {
	rule := &cfg.Rules[at]
	var before *policy.Rule
	for i := range cfg.Rules {
		r := &cfg.Rules[i]
		if r.Deny || !r.Nets.Overlaps(&rule.Nets) || i < at && rule.Nets.Covers(&r.Nets) && !r.Nets.Covers(&rule.Nets) {
			continue
		}
		if i > at {
			return
		}
		if before == nil {
			before = r
		}
	}
	if before != nil {
		fs.Add(finding.DenyNoEffect, cfg.RulePos[at], "rule %q denies nobody whom rule %q in front of it lets in, as the first that fits decides: move it up",
			rule.Name, before.Name)
	}
}

// SlowestBandwidth is the lowest bandwidth in octets a second with which CoreDNS's own
// secondary gets a zone. It waits two seconds for each message, which has up to 16 KiB.
const SlowestBandwidth = 10 << 10

func (fs *Findings) bandwidth(cfg *corefile.Config) {
	if b := cfg.Limits.Bandwidth; b > 0 && b < SlowestBandwidth {
		fs.Add(finding.BandwidthTooLow, cfg.At("bandwidth"), "with a bandwidth of %d bytes a second a message takes longer than the two seconds that CoreDNS's secondary waits for it: write 10KiB or more", b)
	}
}
