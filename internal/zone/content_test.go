// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"bytes"
	"context"
	"crypto"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/verify"
	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/miekg/dns"
)

// TestContent: the records of a version are found from any name on, in canonical order,
// whatever order the backend has.
func TestContent(t *testing.T) {
	records := many(t, 600)
	for i := range 150 { // an owner that fills messages, one below it, and one in capitals
		records = append(records, rr(t, "h0001.%s 300 TXT %0255d", apex, i))
	}
	records = append(records, rr(t, "a.h0001.%s 300 A 192.0.2.1", apex), rr(t, "UPPER.%s 300 A 192.0.2.1", apex))
	shuffled := slices.Clone(records)
	rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	inOrder, any := newInMemory(), &channelSource{}
	inOrder.set(t, 1, records)
	any.set(t, 1, shuffled)
	for name, src := range map[string]Source{"in order": inOrder, "in any order": any} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, src, Options{Limit: 1 << 30})
			r := current(t, s)
			defer r.Close()
			<-r.Version.settled
			c, err := r.Version.Content()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, quick := c.Zone.(*ordered); quick != (src == Source(inOrder)) {
				t.Errorf("it is a %T", c.Zone)
			}
			var all [][]byte
			read := func(from []byte) (owners [][]byte) {
				err := c.From(from, func(r *wire.Record) bool {
					owners = append(owners, bytes.Clone(r.Owner()))
					return true
				})
				if err != nil {
					t.Fatal(err)
				}
				return owners
			}
			all = read(c.Apex())
			if len(all) != len(records)+1 || !slices.IsSortedFunc(all, compareNames) {
				t.Fatalf("%d records of %d", len(all), len(records)+1)
			}
			for range 50 {
				from := all[rand.IntN(len(all))]
				at, _ := slices.BinarySearchFunc(all, from, compareNames)
				if got := len(read(from)); got != len(all)-at {
					t.Fatalf("from %q on there are %d records, want %d", from, got, len(all)-at)
				}
			}
			if got := read(append([]byte("\x02zz"), c.Apex()...)); len(got) != 0 {
				t.Errorf("behind the last name there are %d records", len(got))
			}
		})
	}
}

// TestInspect: each version that becomes the current one is looked at, with what changed
// since the one before; a look that takes long delays no client, and the latest version is
// next; and with the store it ends.
func TestInspect(t *testing.T) {
	src := newInMemory()
	src.set(t, 1, many(t, 100))
	type seen struct {
		serial  uint32
		changes *Delta
	}
	looks, goOn := make(chan seen), make(chan struct{})
	var last Digest
	s := openStore(t, src, Options{Limit: 1 << 30, Inspect: func(ctx context.Context, i *Inspection) {
		select {
		case looks <- seen{i.Version.Serial, i.Changes(last)}:
		case <-ctx.Done():
			return
		}
		last = i.Version.digest()
		select {
		case <-goOn:
		case <-ctx.Done():
		}
	}})
	settle := func(serial uint32) {
		t.Helper()
		src.set(t, serial, many(t, 100+int(serial)))
		r := current(t, s)
		defer r.Close()
		<-r.Version.settled
		if r.Version.Serial != serial {
			t.Fatalf("serial %d", r.Version.Serial)
		}
	}
	settle(1)
	if l := <-looks; l.serial != 1 || l.changes != nil {
		t.Fatalf("first %+v", l)
	}
	for serial := range uint32(3) {
		settle(serial + 2)
	}
	goOn <- struct{}{}
	if l := <-looks; l.serial != 4 || l.changes == nil || l.changes.AddedCount != 3 || l.changes.RemovedCount != 0 {
		t.Fatalf("next %+v", l)
	}
	s.Close() // the look ends
}

// TestInspectAgain: a version is looked at once more when its time has come.
func TestInspectAgain(t *testing.T) {
	src := newInMemory()
	src.set(t, 1, many(t, 10))
	looks := make(chan uint32, 9)
	s := openStore(t, src, Options{Limit: 1 << 30, Inspect: func(_ context.Context, i *Inspection) {
		if looks <- i.Version.Serial; len(looks) < 2 {
			i.Again(time.Now())
		}
	}})
	current(t, s).Close()
	s.Watch(time.Millisecond, nil, nil)
	for range 2 {
		if serial := <-looks; serial != 1 {
			t.Errorf("serial %d", serial)
		}
	}
}

// signedMany is a zone of n names, each with an address, a place in the chain, and the
// signatures of both: four records.
func signedMany(b *testing.B, n int) (records []dns.RR, sign func(...dns.RR) dns.RR) {
	b.Helper()
	key := &dns.DNSKEY{
		Hdr: dns.RR_Header{Name: apex, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600}, Flags: 257, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
	}
	private, err := key.Generate(256)
	if err != nil {
		b.Fatal(err)
	}
	sign = func(set ...dns.RR) dns.RR {
		sig := &dns.RRSIG{KeyTag: key.KeyTag(), SignerName: apex, Algorithm: key.Algorithm, Inception: 1577836800, Expiration: 2145830400}
		if err := sig.Sign(private.(crypto.Signer), set); err != nil {
			b.Fatal(err)
		}
		return sig
	}
	nsec := func(name, next string, types ...uint16) dns.RR {
		return &dns.NSEC{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: 300}, NextDomain: next, TypeBitMap: types}
	}
	name := func(i int) string { return fmt.Sprintf("h%07d.%s", i, apex) }
	ns := rr(b, "%s 3600 NS ns1.%s", apex, apex)
	top := nsec(apex, name(0), dns.TypeNS, dns.TypeSOA, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeDNSKEY)
	records = append(records, ns, sign(ns), key, sign(key), top, sign(top))
	for i := range n {
		next := name(i + 1)
		if i == n-1 {
			next = apex
		}
		a, link := rr(b, "%s 300 A 192.0.2.1", name(i)), nsec(name(i), next, dns.TypeA, dns.TypeRRSIG, dns.TypeNSEC)
		records = append(records, a, sign(a), link, sign(link))
	}
	return records, sign
}

// BenchmarkVerify is what it costs to judge a signed zone of n records: its digest, which
// each version has anyway, ten changes since the version before, and all of its signatures.
func BenchmarkVerify(b *testing.B) {
	for _, n := range sizes {
		records, sign := signedMany(b, n/4)
		src := newInMemory()
		set := func(serial uint32) *Version {
			records := append(slices.Clone(records), sign(soaRecord(serial)))
			for i := range 10 {
				at := 6 + 4*(i*(n/4)/10)
				a := rr(b, "%s 300 A 198.51.100.%d", records[at].Header().Name, serial)
				records[at], records[at+1] = a, sign(a)
			}
			src.set(b, serial, records)
			s := newStoreOf(src, Options{Limit: 1 << 30})
			b.Cleanup(s.Close)
			r := current(b, s)
			defer r.Close()
			<-r.Version.settled
			return r.Version
		}
		v1, v2 := set(1), set(2)
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		digest := v1.digest()
		content := func(v *Version) *Content {
			c, err := v.Content()
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(c.Close)
			return c
		}
		c1, c2 := content(v1), content(v2)
		judge := func(b *testing.B, in verify.Input, o verify.Options) *verify.State {
			report, state, err := verify.Judge(context.Background(), in, o)
			if err != nil || !report.Good() {
				b.Fatalf("%v: %v", err, report)
			}
			b.ReportMetric(float64(report.Checked), "signatures")
			return state
		}
		b.Run(fmt.Sprint(n, "/zonemd"), func(b *testing.B) {
			for b.Loop() {
				judge(b, verify.Input{Zone: c1, Digest: digest[:]}, verify.Options{Zonemd: true})
			}
		})
		var state *verify.State
		b.Run(fmt.Sprint(n, "/full"), func(b *testing.B) {
			for b.Loop() {
				state = judge(b, verify.Input{Zone: c1}, verify.Options{Dnssec: true, Now: now})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n/2), "ns/signature")
		})
		old, _ := v1.contents()
		fresh, _ := v2.contents()
		var d *Delta
		b.Run(fmt.Sprint(n, "/compare"), func(b *testing.B) {
			for b.Loop() {
				d, _ = compare(old, fresh)
			}
		})
		b.Run(fmt.Sprint(n, "/ten"), func(b *testing.B) {
			change := &verify.Change{Removed: slices.Concat(d.OldSOA, d.Removed), Added: slices.Concat(d.NewSOA, d.Added)}
			for b.Loop() {
				judge(b, verify.Input{Zone: c2, Before: state, Change: change}, verify.Options{Dnssec: true, Now: now})
			}
		})
	}
}
