// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"errors"
	"fmt"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/wire"
	"github.com/xfrguard/xfrguard/internal/zone"

	"github.com/miekg/dns"
)

// plan is what an allowed client will get.
type plan struct {
	served   audit.Served
	version  *zone.Version
	reader   *zone.Reader   // of the whole zone
	messages []wire.Message // of an incremental answer
	release  func()         // of these; nil when there are none
	envelope wire.Envelope  // of every message
}

// plan looks at the zone as it is now.
func (x *exchange) plan(ctx context.Context, d *policy.Decision) (p plan, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, backendWait(&x.cfg.Limits), errBackendHangs)
	defer cancel()
	p.reader, err = x.guard.store.Current(ctx, x.Req.Zone)
	if err != nil {
		return p, err //nolint:wrapcheck // names the zone
	}
	p.served, p.version = audit.ServedAXFR, p.reader.Version
	if x.Req.Type == dns.TypeIXFR {
		if err := x.planIncrement(ctx, d, &p); err != nil {
			return p, err
		}
	}
	if ctx.Err() != nil { // whatever it was that the client has waited for
		return p, context.Cause(ctx)
	}
	largest := p.version.Largest()
	if p.served == audit.ServedIXFR {
		largest = 0
		for _, m := range p.messages {
			largest = max(largest, len(m.Bytes))
		}
	}
	if p.envelope, err = x.envelope(); err != nil {
		return p, err
	}
	if !p.envelope.Fits(largest) {
		return p, fmt.Errorf("%w: %d octets", wire.ErrMessageTooLarge, largest)
	}
	return p, nil
}

// planIncrement answers an IXFR (RFC 1995 §2, §4). A client that is behind and cannot
// be told what changed gets the whole zone, for which it needs the permission too.
func (x *exchange) planIncrement(ctx context.Context, d *policy.Decision, p *plan) (err error) {
	v, stream := p.version, x.Req.Transport.Stream()
	switch {
	case x.Req.Serial == v.Serial && stream && d.Full && x.guard.store.Ambiguous(ctx, v):
		p.served = audit.ServedAXFRFallback
		return nil
	case !zone.Newer(v.Serial, x.Req.Serial):
		p.served = audit.ServedUpToDate
		return nil
	case !stream:
		p.served = audit.ServedUseTCP
		return nil
	case d.FullOnly:
		p.served = audit.ServedAXFRFallback
		return nil
	}
	p.messages, err = x.guard.store.Since(ctx, v, x.Req.Serial, x.identities(d))
	switch {
	case err != nil:
		return err //nolint:wrapcheck // says all
	case p.messages != nil:
		p.served = audit.ServedIXFR
		p.release = x.guard.store.Hold(x.Req.Zone, p.messages)
	case d.Full:
		p.served = audit.ServedAXFRFallback
	default:
		d.Allow, d.Reason = false, policy.ReasonTypeNotAllowed
	}
	return nil
}

// unplanned names why a zone cannot be sent.
func unplanned(err error) policy.Reason {
	switch {
	case errors.Is(err, zone.ErrHeld):
		return policy.ReasonZoneHeld
	case errors.Is(err, errShutdown):
		return policy.ReasonShutdown
	case errors.Is(err, errFrozen):
		return policy.ReasonFrozen
	case errors.Is(err, errRevoked):
		return policy.ReasonClientNotAllowed
	}
	return policy.ReasonZoneUnavailable
}

// close lets go of the version.
func (p *plan) close() {
	if p.reader != nil {
		p.reader.Close()
	}
	if p.release != nil {
		p.release()
		p.release = nil
	}
}

// identities names the client under the rules by which it may have the zone: a version
// that it was given under one of them is no news to it.
func (x *exchange) identities(d *policy.Decision) []string {
	var ids []string
	for _, r := range [...]*policy.Rule{d.By, d.FullBy} {
		if r != nil {
			ids = append(ids, x.identity(r))
		}
	}
	return ids
}
