// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/xfrguard/xfrguard/interop/rrset"
)

// Holds waits until s hands out zone with serial by AXFR, and says how that differs from
// want. Unlike AwaitSerial and Content it may be called on any goroutine, and looks
// every few milliseconds.
func (s *Secondary) Holds(ctx context.Context, zone string, serial uint32, want rrset.Set, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 8*time.Millisecond) {
		got, err := Serial(ctx, s.Addr(), zone)
		if err == nil && got == serial {
			// NSD's old process takes connections for a while when the new one answers, and
			// then resets those that it has not come to.
			var set rrset.Set
			if set, err = s.content(ctx, zone); err == nil {
				got, err = set.Serial()
			}
			if err == nil && got == serial {
				return differ(want, set)
			}
		}
		if s.Ended() {
			return errors.New("it has ended")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %v it has serial %d (%w)", limit, got, errors.Join(err, ctx.Err()))
		case <-time.After(pause):
		}
	}
}

func (s *Secondary) content(ctx context.Context, zone string) (rrset.Set, error) {
	if s.software.file != nil {
		return readZone(s.software.file(s.config, zone), zone)
	}
	rrs, err := Transfer(ctx, s.Addr(), zone, nil)
	if err != nil {
		return nil, err
	}
	set, err := rrset.FromTransfer(rrs)
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", zone, s.Name, err)
	}
	return set, nil
}

// readZone reads a zone file.
func readZone(path, zone string) (rrset.Set, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read zone %s: %w", zone, err)
	}
	set, err := rrset.Parse(bytes.NewReader(text), zone, path)
	if err != nil {
		return nil, fmt.Errorf("read zone %s: %w", zone, err)
	}
	return set, nil
}

func differ(want, got rrset.Set) error {
	if diff := rrset.Diff(want, got); diff != "" {
		return fmt.Errorf("not the zone file: %s", diff)
	}
	return nil
}
