// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"fmt"

	"github.com/xfrguard/xfrguard/internal/wire"
)

// Since returns the messages of an incremental answer that leads from the client's
// serial to v (RFC 1995 §4), or nil when the client has to get the whole zone: the serial
// is not known, the way is longer than the zone, or the version with that serial was
// given to none of the clients. It waits for v to be settled when there may be a way.
func (s *Store) Since(ctx context.Context, v *Version, serial uint32, clients []string) ([]wire.Message, error) {
	sl := s.slot(v.Apex)
	if sl == nil || !sl.lineage.mayLead(serial, clients) {
		return nil, nil
	}
	if ok, err := v.compared(ctx); !ok {
		return nil, err
	}
	messages, err := s.since(ctx, sl, v, serial, clients)
	if err == nil || ctx.Err() != nil {
		return messages, err
	}
	// What is known of the past is of no use: nobody may be refused for it.
	s.report(sl.apex, fmt.Errorf("what changed since serial %d cannot be sent, secondaries get the zone whole: %w", serial, err))
	s.report(sl.apex, sl.lineage.abandonPast())
	return nil, nil
}

// Ambiguous reports whether v has the serial of a version with other content that was
// served before: a client that has this serial may have either, and needs the whole zone.
func (s *Store) Ambiguous(ctx context.Context, v *Version) bool {
	sl := s.slot(v.Apex)
	if sl == nil {
		return false
	}
	ok, _ := v.compared(ctx)
	return ok && sl.lineage.isBroken(v)
}

// Give remembers that a client was sent this version, whole or by what changed. Only then a
// later request of it may be answered with what changed since. One that says it has the
// current serial has not been sent it: it may have another content under that serial, from a
// server before this one. It waits until the version is settled, or ctx is done. A client's
// identity has at most 64 octets.
func (s *Store) Give(ctx context.Context, v *Version, client string) {
	sl := s.slot(v.Apex)
	if sl == nil {
		return
	}
	if ok, _ := v.compared(ctx); ok && v.index != nil && v.index.digested {
		s.report(sl.apex, sl.lineage.give(v.Outline(), client))
	}
}
