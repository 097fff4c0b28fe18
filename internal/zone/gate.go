// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/miekg/dns"
)

// A Judge looks at a version before it is offered to anybody. It says nil when the version
// may go out, or why it has to be held back.
//
// It is asked in a goroutine of its own while clients get the last good version. It must
// end soon after ctx is done, which happens when a newer version takes the place of this one,
// when the store ends, and after [judgeTime]. What it says then does not count: the version
// is held. So is one whose judge panics. A judge bounds its own use of the processor.
type Judge interface {
	Judge(ctx context.Context, c *Case) *Objection
}

// An Objection is why a version is held back.
type Objection struct {
	Reason HoldReason
	Text   string // what is wrong, for people
}

// HoldReason is a cause for which a version is held back.
type HoldReason string

const (
	// HeldShrunk means that too many records were lost.
	HeldShrunk HoldReason = "shrunk"
	// HeldSerialBackwards means that the serial is behind (RFC 1982).
	HeldSerialBackwards HoldReason = "serial-backwards"
	// HeldNSLost means that the apex has no NS record any more.
	HeldNSLost HoldReason = "ns-lost"
	// HeldDNSKEYLost means that the apex has no DNSKEY record any more.
	HeldDNSKEYLost HoldReason = "dnskey-lost"
	// HeldEmpty means that nothing but the apex is left, or nothing but the SOA is there.
	HeldEmpty HoldReason = "empty"
	// HeldVerifyFailed means that the zone's digest or its signatures are not good.
	HeldVerifyFailed HoldReason = "verify-failed"
	// HeldNotJudged means that there is no verdict: a judge did not end, or failed, or the
	// zone is too large to be judged before it is sent.
	HeldNotJudged HoldReason = "not-judged"
)

// HoldReasons are all causes for which a version is held back.
var HoldReasons = []HoldReason{
	HeldShrunk, HeldSerialBackwards, HeldNSLost, HeldDNSKEYLost, HeldEmpty, HeldVerifyFailed, HeldNotJudged,
}

// ReleaseReason is why nothing of a zone is held back any more.
type ReleaseReason string

const (
	// ReleasedApproved means that the version that was held goes out.
	ReleasedApproved ReleaseReason = "approved"
	// ReleasedSuperseded means that a good version has taken its place.
	ReleasedSuperseded ReleaseReason = "superseded"
)

// ReleaseReasons are all causes for which a hold ends.
var ReleaseReasons = []ReleaseReason{ReleasedApproved, ReleasedSuperseded}

// ErrHeld means that the zone has no good version to give.
var ErrHeld = errors.New("the zone is held back, and no good version of it is kept")

// Outline is what of a version's content a later one is held against.
type Outline struct {
	Serial  uint32
	Digest  Digest
	Records int64 // the SOA once
	NS      bool  // the apex has NS records
	DNSKEY  bool  // the apex has DNSKEY records
	Content bool  // there is more than the apex's SOA and NS, and what DNSSEC adds
}

// count enters a record in canonical form.
func (o *Outline) count(r *wire.Record, apex []byte) {
	o.Records++
	atApex := string(r.Owner()) == string(apex)
	switch r.Type() {
	case dns.TypeSOA:
	case dns.TypeNS:
		o.NS = o.NS || atApex
		o.Content = o.Content || !atApex
	case dns.TypeDNSKEY:
		o.DNSKEY = o.DNSKEY || atApex
	case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeZONEMD:
	default:
		o.Content = true
	}
}

// Outline is known when the version is built and indexed; it has no digest when the
// version has none.
func (v *Version) Outline() Outline {
	o := Outline{Serial: v.Serial}
	if v.index != nil {
		o = v.index.outline
		o.Serial, o.Digest = v.Serial, v.digest()
	}
	return o
}

// Case is what a judge gets.
type Case struct {
	Apex    string
	Version *Version // complete, with its digest; its Content can be read
	// Given is the version that was last given out; nil when that is none.
	Given *Outline

	lineage *lineage
	changes *Delta
	looked  bool
}

// Note is what the last judgement has left for the next one, through reloads; nil when
// nothing.
func (c *Case) Note() any {
	c.lineage.mu.Lock()
	defer c.lineage.mu.Unlock()
	return c.lineage.noteOfJudges
}

// SetNote leaves something for the next judgement.
func (c *Case) SetNote(note any) {
	c.lineage.mu.Lock()
	defer c.lineage.mu.Unlock()
	c.lineage.noteOfJudges = note
}

// Changes is what was removed and added since the last good version; nil when there is
// none, or the two cannot be compared.
func (c *Case) Changes() *Delta {
	if !c.looked {
		c.looked = true
		c.changes, _ = c.lineage.changesTo(c.Version)
	}
	return c.changes
}

// unchanged reports whether the version is the last good one again.
func (c *Case) unchanged() bool {
	d := c.Changes()
	return d != nil && d.FromDigest == d.ToDigest && d.RemovedCount+d.AddedCount == 0
}

// judgeTime is how long a version may be judged.
var judgeTime = 10 * time.Minute

// consult asks the judges in order; the first objection counts. It always has an answer in
// time: without a verdict it objects.
func consult(ctx context.Context, judges []Judge, c *Case) *Objection {
	ctx, cancel := context.WithTimeout(ctx, judgeTime)
	defer cancel()
	verdict := make(chan *Objection, 1)
	go func() { verdict <- ask(ctx, judges, c) }()
	select {
	case o := <-verdict:
		if o == nil && ctx.Err() != nil {
			return notJudged(context.Cause(ctx))
		}
		return o
	case <-ctx.Done():
		return notJudged(context.Cause(ctx))
	}
}

func ask(ctx context.Context, judges []Judge, c *Case) (o *Objection) {
	defer func() {
		if p := recover(); p != nil {
			o = notJudged(fmt.Errorf("panic: %v", p))
		}
	}()
	if r := c.Version.attach(true); r != nil { // its messages stay, also when nobody waits for the verdict
		defer r.Close()
	}
	if c.unchanged() {
		return nil
	}
	for _, j := range judges {
		if o := j.Judge(ctx, c); o != nil {
			return o
		}
	}
	return nil
}

func notJudged(why error) *Objection {
	return &Objection{HeldNotJudged, fmt.Sprintf("there is no verdict: %v", why)}
}
