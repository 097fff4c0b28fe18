// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"net"
	"testing"

	"github.com/miekg/dns"
)

const benchApex = "example.org."

// benchZone makes a zone of n records of the usual mixture: 40 % A, 19 % NS, 13 %
// AAAA, 9 % MX, 8 % TXT, 7 % CNAME, 4 % SRV, between two SOAs.
func benchZone(n int) []dns.RR {
	soa := &dns.SOA{
		Hdr: header(benchApex, dns.TypeSOA), Ns: "ns1." + benchApex, Mbox: "hostmaster." + benchApex,
		Serial: 1, Refresh: 7200, Retry: 3600, Expire: 1209600, Minttl: 300,
	}
	rrs := append(make([]dns.RR, 0, n), soa)
	for i := 0; len(rrs) < n-1; i++ {
		rrs = append(rrs, benchRecord(i))
	}
	return append(rrs, soa)
}

func header(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: 3600}
}

func benchRecord(i int) dns.RR {
	host := fmt.Sprintf("host-%06d.%s", i*2/3, benchApex)
	switch k := i * 37 % 100; {
	case k < 40:
		return &dns.A{Hdr: header(host, dns.TypeA), A: net.IPv4(10, byte(i>>16), byte(i>>8), byte(i)).To4()}
	case k < 59:
		return &dns.NS{Hdr: header(fmt.Sprintf("sub-%06d.%s", i/2, benchApex), dns.TypeNS), Ns: fmt.Sprintf("ns%d.sub-%06d.%s", i&1, i/2, benchApex)}
	case k < 72:
		ip := net.ParseIP("2001:db8::")
		ip[13], ip[14], ip[15] = byte(i>>16), byte(i>>8), byte(i)
		return &dns.AAAA{Hdr: header(host, dns.TypeAAAA), AAAA: ip}
	case k < 81:
		return &dns.MX{Hdr: header(host, dns.TypeMX), Preference: 10, Mx: "mail." + benchApex}
	case k < 89:
		return &dns.TXT{Hdr: header(host, dns.TypeTXT), Txt: []string{fmt.Sprintf("v=spf1 include:_spf%d.example.net -all", i%10)}}
	case k < 96:
		return &dns.CNAME{Hdr: header(fmt.Sprintf("www.host-%06d.%s", i, benchApex), dns.TypeCNAME), Target: host}
	default:
		return &dns.SRV{Hdr: header("_sip._tcp."+host, dns.TypeSRV), Priority: 1, Weight: 2, Port: 5060, Target: host}
	}
}

func BenchmarkPack(b *testing.B) {
	for _, n := range []int{1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			if n > 100_000 && testing.Short() {
				b.Skip("needs 300 MB")
			}
			rrs := benchZone(n)
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				size = 0
				p := NewPacker(benchApex, 0, func(m Message) error { size += len(m.Bytes); return nil })
				for _, rr := range rrs {
					if err := p.Add(rr); err != nil {
						b.Fatal(err)
					}
				}
				if err := p.Close(); err != nil {
					b.Fatal(err)
				}
			}
			perRecord(b, n, size)
		})
	}
}

// BenchmarkPackMiekg packs the same zone with miekg/dns, 300 records to a message.
func BenchmarkPackMiekg(b *testing.B) {
	const n = 100_000
	rrs := benchZone(n)
	for _, compress := range []bool{false, true} {
		b.Run(fmt.Sprintf("compress=%v", compress), func(b *testing.B) {
			buf := make([]byte, 1<<16)
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				size = 0
				for at := 0; at < n; at += 300 {
					m := dns.Msg{Answer: rrs[at:min(at+300, n)], Compress: compress}
					packed, err := m.PackBuffer(buf)
					if err != nil {
						b.Fatal(err)
					}
					size += len(packed)
				}
			}
			perRecord(b, n, size)
		})
	}
}

func perRecord(b *testing.B, n, size int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/record")
	b.ReportMetric(float64(size)/float64(n), "wireB/record")
}

// BenchmarkAppendRR is for the types one by one; common ones must not allocate.
func BenchmarkAppendRR(b *testing.B) {
	buf := make([]byte, 0, 1024)
	for _, s := range awkward {
		rr := parseRR(b, s)
		b.Run(fmt.Sprintf("%T", rr)[5:], func(b *testing.B) {
			var e encoder
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.appendRR(buf, rr); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestPackingDoesNotAllocate: common types, in the steady state.
func TestPackingDoesNotAllocate(t *testing.T) {
	rrs := benchZone(1000)
	fast := map[uint16]bool{}
	for _, rrtype := range []uint16{
		dns.TypeSOA, dns.TypeNS, dns.TypeA, dns.TypeAAAA, dns.TypeCNAME, dns.TypeMX, dns.TypePTR, dns.TypeDNAME, dns.TypeSRV,
		dns.TypeTXT, dns.TypeMINFO, dns.TypeDS, dns.TypeDNSKEY, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3,
	} {
		fast[rrtype] = true
	}
	for _, s := range awkward {
		if rr := parseRR(t, s); fast[rr.Header().Rrtype] {
			rrs = append(rrs, rr)
		}
	}
	var e encoder
	var table compressor
	e.compressor = &table
	buf := make([]byte, 0, 1<<17)
	got := testing.AllocsPerRun(10, func() {
		e.reset()
		b := buf
		for _, rr := range rrs {
			var err error
			if b, err = e.appendRR(b, rr); err != nil {
				t.Fatal(err)
			}
		}
	})
	if got != 0 {
		t.Errorf("%v allocations for %d records", got, len(rrs))
	}
}
