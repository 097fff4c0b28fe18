// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"fmt"
)

// minLost is how many records may be lost without a look at their part of the zone: in a
// small zone a few are many percent.
const minLost = 10

// Shrink is a judge that holds back what looks like an accident: a zone that lost much of
// what the last version that was given out had.
type Shrink struct {
	Percent int // of the records; a version that lost more is held
}

// Judge implements [Judge]. What is worst is said first.
func (s Shrink) Judge(_ context.Context, c *Case) *Objection {
	now, was := c.Version.Outline(), c.Given
	if was == nil {
		if now.Records <= 1 {
			return &Objection{HeldEmpty, "the zone has no records but its SOA"}
		}
		return nil
	}
	lost := was.Records - now.Records
	switch {
	case now.Records <= 1, was.Content && !now.Content:
		return &Objection{HeldEmpty, fmt.Sprintf("nothing is left of the zone but its apex; serial %d had %d records", was.Serial, was.Records)}
	case was.NS && !now.NS:
		return &Objection{HeldNSLost, fmt.Sprintf("the apex has no NS record; serial %d had some", was.Serial)}
	case was.DNSKEY && !now.DNSKEY:
		return &Objection{HeldDNSKEYLost, fmt.Sprintf("the apex has no DNSKEY record; serial %d had some", was.Serial)}
	case now.Serial != was.Serial && !Newer(now.Serial, was.Serial):
		return &Objection{HeldSerialBackwards, fmt.Sprintf("the serial went from %d back to %d", was.Serial, now.Serial)}
	case lost >= minLost && lost*100 > was.Records*int64(s.Percent):
		return &Objection{HeldShrunk, fmt.Sprintf("%d of the %d records of serial %d are gone, more than %d%%", lost, was.Records, was.Serial, s.Percent)}
	}
	return nil
}
