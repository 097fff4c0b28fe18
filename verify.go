// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/lint"
	"github.com/xfrguard/xfrguard/internal/verify"
	"github.com/xfrguard/xfrguard/internal/zone"

	"github.com/miekg/dns"
)

// readAnchors reads the anchor files of `verify dnssec`. One that says nothing of a zone
// would leave that zone to its own word.
func (g *guard) readAnchors() error {
	for _, d := range g.directives {
		file := d.Verify.Anchor
		if file == "" {
			continue
		}
		f, err := os.Open(file)
		if err != nil {
			return fmt.Errorf("%s: verify: %w", d.At("verify"), err)
		}
		d.anchor, err = verify.ReadAnchor(f)
		_ = f.Close()
		if err != nil {
			return fmt.Errorf("%s: verify: %s: %w", d.At("verify"), file, err)
		}
		for _, apex := range d.Zones {
			if !d.anchor.Has(apex) {
				return fmt.Errorf("%s: verify: %s has neither DS nor DNSKEY records of %s: add them, or give the zone a directive of its own", d.At("verify"), file, apex)
			}
		}
	}
	return nil
}

// asked are the options by which a version is judged for what has this mode.
func (d *directive) asked(mode corefile.VerifyMode) verify.Options {
	v := &d.Verify
	return verify.Options{
		Zonemd: v.Zonemd == mode, Dnssec: v.Dnssec == mode, Full: v.Full, Anchor: d.anchor,
		NeedZonemd: mode == corefile.VerifyRefuse, NeedDnssec: mode == corefile.VerifyRefuse,
	}
}

// verdict is what is remembered of the version of a zone that was judged last.
type verdict struct {
	digest  zone.Digest
	state   *verify.State // nil when signatures were not judged
	good    bool
	checked bool                     // with Full: all signatures
	until   time.Time                // when the first signature ends; zero when there is none
	told    map[verify.Reason]string // of this version: what is on record
	first   string                   // failure
	said    []string                 // what cannot be checked, of whatever version
}

// inspect judges a version that is offered already, and tells what is wrong with it.
func (g *guard) inspect(ctx context.Context, i *zone.Inspection) {
	d := g.covering(i.Apex)
	if d == nil {
		return
	}
	o, refused := d.asked(corefile.VerifyWarn), d.asked(corefile.VerifyRefuse).Dnssec
	if !o.Zonemd && !o.Dnssec && !refused {
		return
	}
	last, _ := i.Note().(*verdict)
	now, err := g.judge(ctx, i.Apex, i.Version, i.Content, last, i.Changes, o)
	if err == nil && refused { // judged before it was offered, or known from before a restart
		now.until, err = verify.FirstEnd(ctx, i.Content, time.Now())
	}
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		log.Errorf("Zone %s, serial %d: not verified: %v", i.Apex, i.Version.Serial, err)
		return
	}
	i.SetNote(now)
	if !i.Gone() {
		g.showEnd(i.Apex, now)
	}
	if i.Gone() { // meanwhile
		g.showEnd(i.Apex, nil)
	}
	if o.Dnssec && now.until.After(time.Now()) {
		i.Again(now.until.Add(time.Second))
	}
}

// judge judges a version by what has changed since the one that was judged last, and puts
// on record what is wrong with it and is not on record yet.
func (g *guard) judge(
	ctx context.Context, apex string, v *zone.Version, content *zone.Content, last *verdict,
	changes func(zone.Digest) *zone.Delta, o verify.Options, told ...*verdict,
) (*verdict, error) {
	digest, _ := v.Digest(ctx)
	in := verify.Input{Zone: content, Digest: digest[:]}
	now := &verdict{digest: digest, told: make(map[verify.Reason]string), checked: o.Full}
	if last != nil {
		now.said = last.said
		if last.digest == digest {
			now.told = last.told
			// Nothing was wrong, and nothing has changed but the time.
			o.Full = o.Full && !last.checked
		}
		for _, other := range told {
			if other != nil && other.digest == digest {
				now.told = other.told
			}
		}
		if last.state != nil {
			if c := changes(last.digest); c != nil {
				in.Before = last.state
				in.Change = &verify.Change{Removed: slices.Concat(c.OldSOA, c.Removed), Added: slices.Concat(c.NewSOA, c.Added)}
			}
		}
	}
	report, state, err := verify.Judge(ctx, in, o)
	if err != nil {
		return nil, fmt.Errorf("judging: %w", err)
	}
	now.state, now.good, now.until = state, report.Good(), report.FirstEnd
	for _, f := range report.First() {
		if now.first == "" {
			now.first = f.String()
		}
		if now.told[f.Reason] == "" {
			now.told[f.Reason] = f.Text
			g.unverified(apex, v.Serial, digest, &f, report)
		}
	}
	for _, what := range report.Unchecked {
		if !slices.Contains(now.said, what) {
			now.said = append(slices.Clone(now.said), what)
			log.Warningf("Zone %s: %s is not checked", apex, what)
		}
	}
	g.lowered(apex, v.Serial, last, now, report)
	return now, nil
}

// verifier judges versions of a zone before they are offered, for what `verify` refuses.
type verifier struct {
	g *guard
	d *directive
}

// judged is what a verifier remembers of a zone: the last good version, and the last bad
// one.
type judged struct{ good, bad *verdict }

// Judge implements [zone.Judge].
func (v verifier) Judge(ctx context.Context, c *zone.Case) *zone.Objection {
	content, err := c.Version.Content()
	if err != nil {
		return &zone.Objection{Reason: zone.HeldNotJudged, Text: "it cannot be verified: " + err.Error()}
	}
	defer content.Close()
	before, _ := c.Note().(judged)
	changes := func(from zone.Digest) *zone.Delta {
		if d := c.Changes(); d != nil && d.FromDigest == from {
			return d
		}
		return nil
	}
	now, err := v.g.judge(ctx, c.Apex, c.Version, content, before.good, changes, v.d.asked(corefile.VerifyRefuse), before.bad)
	switch {
	case err != nil:
		return &zone.Objection{Reason: zone.HeldNotJudged, Text: "it cannot be verified: " + err.Error()}
	case !now.good:
		c.SetNote(judged{before.good, now})
		return &zone.Objection{Reason: zone.HeldVerifyFailed, Text: now.first}
	}
	c.SetNote(judged{good: now})
	return nil
}

// unverified puts on record what is wrong with a version, the first for a reason.
func (g *guard) unverified(apex string, serial uint32, digest zone.Digest, f *verify.Failure, r *verify.Report) {
	text := fmt.Sprintf("%s %s %s", f.Owner, dns.Type(f.Type), f.Text)
	if r.Total > 1 {
		text += fmt.Sprintf("; %d more", r.Total-1)
	}
	log.Warningf("Zone %s, serial %d: %s: %s", apex, serial, f.Reason, text)
	e := &audit.Event{
		Action: audit.ActionVerifyFailed, Reason: string(f.Reason), Message: text, SerialServed: &serial, Digest: digestText(digest),
		Extra: map[string]any{
			audit.ExtraVerifyOwner: f.Owner, audit.ExtraVerifyType: dns.Type(f.Type).String(), audit.ExtraVerifyTotal: r.Total,
		},
	}
	if !r.FirstEnd.IsZero() {
		e.Extra[audit.ExtraVerifyEnd] = r.FirstEnd
	}
	g.aboutZone(apex, e)
}

// showEnd puts the end of a zone's first signature into the metrics.
func (g *guard) showEnd(apex string, v *verdict) {
	labels := []string{g.server(), apex, g.Config.ViewName}
	if v == nil || v.until.IsZero() {
		signaturesEnd.DeleteLabelValues(labels...)
		return
	}
	signaturesEnd.WithLabelValues(labels...).Set(float64(v.until.Unix()))
}

// showEnds does so for zones that an earlier instance has judged.
func (g *guard) showEnds() {
	if g.store == nil {
		return
	}
	for _, apex := range slices.AppendSeq(g.roster.apexes(), maps.Keys(g.zones)) {
		if v, ok := g.store.Note(apex).(*verdict); ok {
			g.showEnd(apex, v)
		}
	}
}

// lowered tells of a name that CoreDNS has lowered under a signature or a digest that is
// over the name as it was written (RFC 6840 §5.1 has no SVCB among those that are
// compared in lower case).
func (g *guard) lowered(apex string, serial uint32, last, now *verdict, r *verify.Report) {
	if last != nil && last.digest == now.digest {
		return
	}
	for _, f := range r.Failures {
		digest := f.Reason == verify.ZonemdMismatch
		if !digest && (f.Reason != verify.RRSIGBogus || f.Type != dns.TypeHTTPS && f.Type != dns.TypeSVCB) {
			continue
		}
		owner := f.Owner
		if digest {
			owner = ""
		}
		rr := g.capitals(apex, owner)
		if rr == nil {
			continue
		}
		covers := "signature"
		if digest {
			covers = "ZONEMD of the zone"
		}
		g.tell(&lint.Finding{Code: finding.CaseChanged, Zone: apex, Text: fmt.Sprintf(
			"zone %s, serial %d: %s %s has capitals in its target, which CoreDNS lowers and the %s covers: write the target in lower case, and sign the zone again",
			apex, serial, rr.Header().Name, dns.Type(rr.Header().Rrtype), covers)}, serial)
		return
	}
}

// capitals looks in the zone's file for an SVCB or HTTPS record that has a target with
// capitals, of one owner or of any; nil when there is none, or no file.
func (g *guard) capitals(apex, owner string) dns.RR {
	name := zone.FileOf(g.sources, apex)
	if name == "" {
		return nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close() //nolint:errcheck // only read
	zp := dns.NewZoneParser(f, apex, name)
	zp.SetIncludeAllowed(true)
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		target := ""
		switch rr := rr.(type) {
		case *dns.SVCB:
			target = rr.Target
		case *dns.HTTPS:
			target = rr.Target
		}
		if target != dns.CanonicalName(target) && target != "" && (owner == "" || dns.CanonicalName(rr.Header().Name) == dns.CanonicalName(owner)) {
			return rr
		}
	}
	return nil
}
