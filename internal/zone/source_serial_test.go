// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"slices"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// TestForeignSerial: a backend of which nothing is known changes its content and not its
// serial. Who asks gets what is there, that is told, and who has the serial may get all.
// What has not changed, in whatever order it comes, is not packed again.
func TestForeignSerial(t *testing.T) {
	src := &channelSource{}
	var told atomic.Int64
	s := openStore(t, src, Options{OnLineage: func(string, uint32, Digest) { told.Add(1) }})
	one := edit(t, s, src, 7, many(t, 100))
	c := copyOfZone{}
	c.refresh(t, s, "rule")
	turned := many(t, 100)
	slices.Reverse(turned)
	if again := edit(t, s, src, 7, turned); again != one || told.Load() != 0 {
		t.Error("the same in another order is packed again")
	}
	for i, records := range [][]dns.RR{many(t, 101), many(t, 100), append(many(t, 100), many(t, 2)[1])} {
		v := edit(t, s, src, 7, records)
		if i < 2 && v.Records() != int64(len(records)+2) {
			t.Errorf("%d records, not %d", v.Records(), len(records)+2)
		}
		if got := c.refresh(t, s, "rule"); got != "axfr" || !equalSets(c.set, setOf(legal(records))) {
			t.Errorf("who has the serial got %s", got)
		}
	}
	if told.Load() == 0 {
		t.Error("nothing was told")
	}
}

// ownDifferences answers an old serial with a difference stream of its own.
type ownDifferences struct{ *channelSource }

func (s ownDifferences) Transfer(zone string, serial uint32) (<-chan []dns.RR, error) {
	s.mu.Lock()
	now := s.serial
	s.mu.Unlock()
	if serial == 0 || serial == now {
		return s.channelSource.Transfer(zone, serial)
	}
	ch := make(chan []dns.RR)
	go func() {
		defer close(ch)
		for _, soa := range []uint32{now, serial, now, now} {
			ch <- []dns.RR{soaRecord(soa)}
		}
	}()
	return ch, nil
}

// TestOwnDifferences: nobody is refused because a backend knows IXFR.
func TestOwnDifferences(t *testing.T) {
	src := ownDifferences{&channelSource{}}
	s := openStore(t, src, Options{OnError: func(_ string, err error) { t.Error(err) }})
	c := copyOfZone{}
	for serial := uint32(1); serial < 6; serial++ {
		src.set(t, serial, many(t, 100+int(serial)))
		if serial > 2 { // the watch may be the first to see it
			s.read(t.Context(), s.slots[apex])
		}
		want := "ixfr"
		if serial == 1 {
			want = "axfr"
		}
		if got := c.refresh(t, s, "rule"); got != want || !equalSets(c.set, setOf(many(t, 100+int(serial)))) {
			t.Errorf("serial %d: got %s", serial, got)
		}
	}
}
