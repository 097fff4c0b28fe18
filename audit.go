// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/coredns"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/limit"
	"github.com/xfrguard/xfrguard/internal/lint"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/wire"
	"github.com/xfrguard/xfrguard/internal/zone"
)

// event starts the record of this exchange with what does not depend on the decision.
func (x *exchange) event() audit.Event {
	q := x.r.Question[0]
	e := audit.Event{
		Time:       x.Req.Now,
		Action:     audit.ActionDecision,
		Client:     x.Req.Client.String(),
		ClientPort: int(x.Port),
		ClientLink: x.Link,
		Claimed:    x.Claim(),
		Server:     x.Server.Addr().String(),
		ServerPort: int(x.Server.Port()),
		Transport:  x.Req.Transport,
		QueryID:    x.r.Id,
		QueryName:  q.Name,
		QueryType:  dns.TypeToString[q.Qtype],
		QueryClass: dns.Class(q.Qclass).String(),
		Opcode:     opcodeName(x.r.Opcode),
		Block:      x.Listener,
		Zone:       x.zone(),
		View:       x.View,
		Policy:     x.directive.policyDigest(),
		Enforced:   x.guard.mode != corefile.ModeObserve,
		TSIG:       x.Req.TSIG,
		TLS:        x.Session,
		Served:     audit.ServedNone,
	}
	if q.Qtype == dns.TypeIXFR && !x.Req.Malformed {
		serial := x.Req.Serial
		e.SerialRequested = &serial
	}
	return e
}

// opcodeName is what the record calls an opcode.
func opcodeName(opcode int) string {
	if s, ok := dns.OpcodeToString[opcode]; ok {
		return s
	}
	return fmt.Sprintf("OPCODE%d", opcode)
}

// decided puts the decision into the record.
func (x *exchange) decided(d *policy.Decision) {
	x.ev.Allowed = d.Allow
	x.ev.Reason = string(d.Reason)
	x.ev.Rule = d.Rule
	x.ev.Near = d.Near
	x.ev.TLSUntil = d.PlainUntil(&x.Req)
	if d.By != nil && !d.By.Deny && d.Rule != "" && d.Reason != policy.ReasonTSIGReplay { // which proves nothing
		x.ev.Secondary = d.By.Secondary(&x.Req)
	}
	if d.Reason == policy.ReasonCertNotAllowed {
		x.ev.Error = x.CertFault(d.By)
	}
}

// count puts the decision into the metrics.
func (x *exchange) count(d *policy.Decision) {
	decision := "deny"
	if d.Allow {
		decision = "allow"
	}
	requestsTotal.WithLabelValues(x.Listener, x.entry, x.View, x.ev.QueryType, decision, string(d.Reason)).Inc()
}

func (x *exchange) note(d *policy.Decision) {
	x.decided(d)
	x.count(d)
	x.audit.Observed(&x.ev)
}

// ended records how the transfer ended, for the audit log, the metrics, and the
// plugins in front.
func (x *exchange) ended(ctx context.Context, p plan, o outcome) {
	end, stats := o.reason, o.stats
	now := time.Now()
	took := now.Sub(x.Req.Now)
	if !o.over.IsZero() {
		took = o.over.Sub(x.Req.Now)
	}
	labels := []string{x.Listener, x.entry, x.View}
	transfersTotal.WithLabelValues(append(labels, string(p.served), string(end))...).Inc()
	transferBytes.WithLabelValues(labels...).Add(float64(stats.Bytes))
	transferRecords.WithLabelValues(labels...).Add(float64(stats.Records))
	transferDuration.WithLabelValues(labels...).Observe(took.Seconds())

	e := x.ev
	e.Action, e.Reason, e.Time = audit.ActionEnd, string(end), now
	e.Served = p.served
	e.Messages, e.Records, e.Bytes = int64(stats.Messages), int64(stats.Records), stats.Bytes
	e.BytesAcked = o.acked
	e.Duration = took
	noteEnd(x.lease, end)
	e.Complete = end == audit.EndComplete || end == audit.EndUpToDate || end == audit.EndUseTCP
	if content := p.served != audit.ServedUpToDate && p.served != audit.ServedUseTCP; content {
		x.summarize(stats.Bytes)
		x.remember(ctx, p, &e)
	} else if end == audit.EndUpToDate {
		x.remember(ctx, p, &e)
	}
	x.audit.End(&e)
}

// patience is how long the end of a transfer waits for the digest of a version that has
// only just been built. One that was cut off waits for nothing: its zone may never be
// complete, and a shutdown closes the audit log soon.
const patience = 10 * time.Second

// remember puts the digest of what was sent on record, and notes that the client
// has the version. Neither a revocation nor the end of the server waits for that.
func (x *exchange) remember(ctx context.Context, p plan, e *audit.Event) {
	if e.Complete {
		reminders.settled(x.reminderKey())
	}
	if e.Complete && !p.version.Settled() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	} else {
		ctx = done
	}
	e.Digest = digestOf(ctx, p.version)
	if e.Complete && !p.served.SOAAlone() { // who has the serial may have another content under it
		x.guard.store.Give(ctx, p.version, x.rule)
	}
}

// digestOf writes the digest of a version, "" when it is not known by then.
func digestOf(ctx context.Context, v *zone.Version) string {
	d, ok := v.Digest(ctx)
	if !ok {
		return ""
	}
	return digestText(d)
}

// endReason names what became of a transfer.
func endReason(err error) audit.EndReason {
	switch {
	case err == nil:
		return audit.EndComplete
	case errors.Is(err, errRevoked):
		return audit.EndPolicyRevoked
	case errors.Is(err, errZoneGone):
		return audit.EndZoneGone
	case errors.Is(err, errFrozen):
		return audit.EndFrozen
	case errors.Is(err, errShutdown):
		return audit.EndShutdown
	case errors.Is(err, limit.ErrTooSlow), errors.Is(err, zone.ErrTooSlow):
		return audit.EndTooSlow
	case errors.Is(err, wire.ErrStalled):
		return audit.EndStalled
	case errors.Is(err, wire.ErrTimeout):
		return audit.EndTimeout
	case errors.Is(err, wire.ErrClientGone):
		return audit.EndClientGone
	case errors.Is(err, zone.ErrInvalid):
		return audit.EndStreamInvalid
	case errors.Is(err, zone.ErrUnavailable), errors.Is(err, errBackendHangs):
		return audit.EndZoneUnavailable
	case errors.Is(err, wire.ErrMessageTooLarge), errors.Is(err, wire.ErrRecordTooLarge):
		return audit.EndRecordTooLarge
	}
	return audit.EndInternalError
}

// announce puts the policies in force on record and into the metrics. However many
// zones a directive has, each of its listeners has one line: they say the same of all.
func (g *guard) announce(action audit.Action) {
	if g.auditOf != nil {
		return
	}
	listeners, names := g.announcedAt()
	for _, d := range g.directives {
		for _, name := range d.Names() {
			for _, l := range listeners {
				policyInfo.WithLabelValues(l, name, g.Config.ViewName, d.digest).Set(1)
				announceUntil(d.policy, name, l, g.Config.ViewName)
			}
		}
		g.announceExpiry(d)
		for _, name := range names {
			e := g.policyEvent(action, d)
			e.Block = name
			d.audit.Announce(e)
		}
	}
}

// announcedAt returns the block's listeners as metrics name them, and the servers as
// events do, each once: a block has a key for each zone, and few listeners.
func (g *guard) announcedAt() (listeners, servers []string) {
	for _, c := range g.keys {
		l := listenerOf(c)
		if slices.Contains(listeners, l) {
			continue
		}
		listeners = append(listeners, l)
		names, err := coredns.ListenerNames(c)
		if err != nil {
			names = []string{l}
		}
		for _, name := range names {
			if !slices.Contains(servers, name) {
				servers = append(servers, name)
			}
		}
	}
	return listeners, servers
}

// policyEvent is what is on record of a directive's policy.
func (g *guard) policyEvent(action audit.Action, d *directive) *audit.Event {
	e := &audit.Event{
		Time: time.Now(), Action: action, Reason: string(g.mode), Zone: "-", View: g.Config.ViewName,
		Enforced: g.mode != corefile.ModeObserve,
	}
	names := d.Names()
	if len(names) == 1 && len(d.Patterns) == 0 {
		e.Zone = names[0]
	}
	e.Policy = d.digest
	e.Extra = map[string]any{
		audit.ExtraPolicy:     d.policy.Summary(),
		audit.ExtraZones:      names[:min(len(names), audit.ZonesListed)],
		audit.ExtraZonesTotal: len(names),
	}
	return e
}

// otherContent puts on record that a serial came back with other content, and says once a
// serial that secondaries do not learn of that.
func (g *guard) otherContent(apex string, serial uint32, digest zone.Digest) {
	g.aboutZone(apex, &audit.Event{Action: audit.ActionLineage, SerialServed: &serial, Digest: digestText(digest)})
	if told, ok := g.static.Swap(apex, serial); ok && told == serial {
		return
	}
	g.tell(&lint.Finding{Code: finding.SerialStatic, Zone: apex, Text: fmt.Sprintf(
		"zone %s has other content under serial %d than before: secondaries that have the serial do not learn of it; give each change a serial of its own",
		apex, serial)}, serial)
}

// aboutZone puts on record what became of a zone.
func (g *guard) aboutZone(apex string, e *audit.Event) {
	d := g.covering(apex)
	if d == nil || d.audit == nil {
		return
	}
	d.audit.Lifecycle(g.zoneEvent(d, apex, e))
}

// zoneEvent fills in what all records about a zone have.
func (g *guard) zoneEvent(d *directive, apex string, e *audit.Event) *audit.Event {
	e.Time, e.Block, e.Zone, e.View = time.Now(), g.server(), apex, g.Config.ViewName
	e.Policy, e.Enforced = d.digest, g.mode != corefile.ModeObserve
	return e
}

// corrected puts on record what was not sent as the backend has it.
func (g *guard) corrected(apex string, serial uint32, c zone.Correction) {
	text := fmt.Sprintf("%s: %d, the first is %s %s", correctedTexts[c.Reason], c.Count, c.Owner, dns.Type(c.Type))
	log.Warningf("Zone %s, serial %d: %s", apex, serial, text)
	g.aboutZone(apex, &audit.Event{Action: audit.ActionCorrected, Reason: string(c.Reason), Message: text, SerialServed: &serial})
}

// correctedTexts say what was done, for each cause.
var correctedTexts = map[zone.Corrected]string{
	zone.CorrectedDuplicate:   "records that were there twice are sent once",
	zone.CorrectedMixedTTL:    "sets of records with several TTLs have the lowest",
	zone.CorrectedOutOfZone:   "records outside the zone are left out",
	zone.CorrectedTTLTooLarge: "records with a TTL of 2^31 or more have 0 (RFC 2181 §8)",
}

// digestText is a zone's digest as events have it: "sha384:" and 96 hex digits.
func digestText(d zone.Digest) string { return "sha384:" + hex.EncodeToString(d[:]) }
