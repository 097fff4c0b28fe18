// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"errors"
	"testing"

	"github.com/miekg/dns"
)

// panicking is a backend whose Transfer panics.
type panicking struct{}

func (panicking) Transfer(string, uint32) (<-chan []dns.RR, error) { panic("a fault in a backend") }

// TestPanics: what is wrong in a backend or in its records fails the transfer, and
// neither the process nor the next request.
func TestPanics(t *testing.T) {
	var typed *dns.A
	records := func(bad dns.RR) *channelSource {
		src := &channelSource{}
		src.set(t, 1, append(many(t, 10), bad))
		return src
	}
	for name, tt := range map[string]struct {
		src   Source
		limit int64
	}{
		"transfer":                    {panicking{}, 0},
		"nil record":                  {records(nil), 0},
		"typed nil record":            {records(typed), 0},
		"transfer, nothing is kept":   {panicking{}, 1},
		"nil record, nothing is kept": {records(nil), 1},
		"typed nil, nothing is kept":  {records(typed), 1},
	} {
		t.Run(name, func(t *testing.T) {
			reported := make(chan error, 10)
			s := openStore(t, tt.src, Options{Limit: tt.limit, OnError: func(_ string, err error) { reported <- err }})
			if tt.limit == 1 {
				s.slots[apex].large = true
			}
			for range 3 {
				r, err := s.Current(t.Context(), apex)
				if err == nil {
					_, err = readAll(r)
					r.Close()
				}
				if !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrUnavailable) {
					t.Fatalf("got %v", err)
				}
			}
		})
	}
}
