// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

// awkward are the records that secondaries have been known to get wrong, and one at
// least of each type with a path of its own.
var awkward = []string{
	`example.org. 3600 IN SOA ns1.example.org. host\.master.Example.org. 4294967295 1 2 3 4`,
	`EXAMPLE.org. 1 IN NS nS1.eXample.org.`,
	`example.org. 1 IN NS .`,
	`. 1 IN NS a.`,
	`a\046b.example.org. 1 IN A 192.0.2.1`,
	`\000\255\\.example.org. 1 IN AAAA 2001:db8::1`,
	`v4mapped.example.org. 1 IN AAAA ::ffff:192.0.2.1`,
	`*.example.org. 0 IN CNAME *.w\*ld.example.org.`,
	`*.*.example.org. 2147483647 IN MX 0 .`,
	`m.example.org. 1 IN MX 65535 mail.EXAMPLE.ORG.`,
	`1.example.org. 1 IN PTR example.org.`,
	`d.example.org. 1 IN DNAME target.example.org.`,
	`_s._tcp.example.org. 1 IN SRV 1 2 3 host.example.org.`,
	`t.example.org. 1 IN TXT "" "a\"b\\c\000\255" "Schöne Grüße" "\1x"`,
	`t.example.org. 1 IN SPF "v=spf1 -all"`,
	`x.example.org. 1 IN MB example.org.`,
	`x.example.org. 1 IN MG example.org.`,
	`x.example.org. 1 IN MR example.org.`,
	`x.example.org. 1 IN MD example.org.`,
	`x.example.org. 1 IN MF example.org.`,
	`x.example.org. 1 IN MINFO example.org. x.example.org.`,
	`x.example.org. 1 IN RP example.org. x.example.org.`,
	`x.example.org. 1 IN AFSDB 1 example.org.`,
	`x.example.org. 1 IN KX 1 example.org.`,
	`x.example.org. 1 IN RT 1 example.org.`,
	`x.example.org. 1 IN PX 1 example.org. example.org.`,
	`x.example.org. 1 IN NAPTR 1 2 "u" "E2U" "!^.*$!sip:x@example.org!" example.org.`,
	`x.example.org. 1 IN HINFO "PDP-11" "\195\188nix"`,
	`x.example.org. 1 IN LOC 51 30 12.748 N 0 7 39.611 W 0.00m 0.00m 0.00m 0.00m`,
	`x.example.org. 1 IN CAA 128 issue "ca.example.net; x=\"y\""`,
	`x.example.org. 1 IN SVCB 1 svc.example.org. alpn=h2,h3 port=443 ipv4hint=192.0.2.1 key65000="\255x"`,
	`x.example.org. 1 IN HTTPS 0 example.org.`,
	`x.example.org. 1 IN TLSA 3 1 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971`,
	`x.example.org. 1 IN SSHFP 4 2 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971`,
	`x.example.org. 1 IN DS 60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118`,
	`x.example.org. 1 IN CDS 0 0 0 00`,
	`x.example.org. 1 IN DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==`,
	`x.example.org. 1 IN RRSIG A 13 3 3600 20300101000000 20200101000000 1 Example.ORG. mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==`,
	`x.example.org. 1 IN NSEC \000.x.Example.org. A NS SOA RRSIG NSEC CAA TYPE1234 TYPE65535`,
	`x.example.org. 1 IN NSEC example.org.`,
	`0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example.org. 1 IN NSEC3 1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr A RRSIG`,
	`0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example.org. 1 IN NSEC3 1 1 0 - 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR`,
	`example.org. 1 IN NSEC3PARAM 1 0 0 -`,
	`example.org. 1 IN ZONEMD 2018031500 1 1 FEBE3D4CE2EC2FFA4BA99D46CD69D6D29711E55217057BEE7EB1A7B641A47BA7FED2DD5B97AE499FAFA4F22C6BD647DE`,
	`x.example.org. 1 IN CSYNC 66 3 A NS AAAA`,
	`x.example.org. 1 IN URI 10 1 "ftp://ftp.example.org/public"`,
	`x.example.org. 1 IN OPENPGPKEY AQMDAQ==`,
	`x.example.org. 1 IN EUI48 00-00-5e-00-53-2a`,
	`x.example.org. 1 IN TYPE65280 \# 4 C0000201`,
	`x.example.org. 1 IN TYPE65281 \# 0`,
	`x.example.org. 1 CH A 192.0.2.1`,
}

func parseRR(t testing.TB, s string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(s)
	if err != nil || rr == nil {
		t.Fatalf("%s: %v", s, err)
	}
	return rr
}

// packedByMiekg is the oracle: the uncompressed record as miekg/dns packs it.
func packedByMiekg(rr dns.RR) ([]byte, error) {
	b := make([]byte, 2*dns.Len(rr)+1024)
	n, err := dns.PackRR(dns.Copy(rr), b, 0, nil, false)
	return b[:n], err
}

func TestAppendRRAwkward(t *testing.T) {
	for _, s := range awkward {
		rr := parseRR(t, s)
		want, err := packedByMiekg(rr)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		got, err := AppendRR([]byte("x"), rr)
		if err != nil {
			t.Errorf("%s: %v", s, err)
		} else if !bytes.Equal(got[1:], want) {
			t.Errorf("%s:\n got %x\nwant %x", s, got[1:], want)
		}
	}
}

// TestAppendRROnlyReads: a zone's records are shared by all its readers.
func TestAppendRROnlyReads(t *testing.T) {
	for _, s := range awkward {
		rr := parseRR(t, s)
		rr.Header().Rdlength = 4711 // dns.PackRR would correct it
		if _, err := AppendRR(nil, rr); err != nil {
			t.Fatal(err)
		}
		if rr.Header().Rdlength != 4711 {
			t.Errorf("%s: header was written", s)
		}
	}
}

// genWire makes the wire form of a record of a known or unknown type whose data is
// more or less random.
func genWire(t *rapid.T) []byte {
	types := make([]uint16, 0, len(dns.TypeToRR))
	for rrtype := range dns.TypeToRR {
		types = append(types, rrtype)
	}
	slices.Sort(types)
	b := genLabels(t).wire()
	b = binary.BigEndian.AppendUint16(b, rapid.OneOf(rapid.SampledFrom(types), rapid.Uint16()).Draw(t, "type"))
	b = binary.BigEndian.AppendUint16(b, dns.ClassINET)
	b = binary.BigEndian.AppendUint32(b, rapid.Uint32().Draw(t, "ttl"))
	var rdata []byte
	for range rapid.IntRange(0, 3).Draw(t, "parts") {
		switch rapid.IntRange(0, 3).Draw(t, "part") {
		case 0:
			rdata = append(rdata, rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "octets")...)
		case 1:
			rdata = append(rdata, genLabels(t).wire()...)
		case 2:
			text := rapid.SliceOfN(rapid.Byte(), 0, 255).Draw(t, "text")
			rdata = append(append(rdata, byte(len(text))), text...)
		case 3:
			rdata = append(rdata, 0, 2, 0x40, 0x01, 1, 1, 0x80)
		}
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(rdata)))
	return append(b, rdata...)
}

// sameAsMiekg compares AppendRR with miekg/dns for a record from the wire.
func sameAsMiekg(t interface{ Fatalf(string, ...any) }, wire []byte) {
	rr, n, err := dns.UnpackRR(wire, 0)
	if err != nil || n != len(wire) || rr.Header().Rrtype == dns.TypeOPT {
		return
	}
	want, err := packedByMiekg(rr)
	if err != nil {
		return
	}
	got, err := AppendRR(nil, rr)
	if err != nil {
		if errors.Is(err, ErrName) { // data that is there in part, or the like
			return
		}
		t.Fatalf("%x\n%v: %v", wire, rr, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%v:\n got %x\nwant %x", rr, got, want)
	}
}

func TestAppendRRRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { sameAsMiekg(t, genWire(t)) })
}

func FuzzAppendRR(f *testing.F) {
	for _, s := range awkward {
		b, err := packedByMiekg(parseRR(f, s))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, wire []byte) { sameAsMiekg(t, wire) })
}

func TestAppendRRRefuses(t *testing.T) {
	h := func(rrtype uint16) dns.RR_Header {
		return dns.RR_Header{Name: "host.example.org.", Rrtype: rrtype, Class: dns.ClassINET}
	}
	big := make([]string, 257)
	for i := range big {
		big[i] = strings.Repeat("x", 255)
	}
	for _, tt := range []struct {
		name string
		rr   dns.RR
		is   error
	}{
		{"nil", nil, nil},
		{"no owner", &dns.A{Hdr: dns.RR_Header{Rrtype: dns.TypeA}, A: net.IPv4(192, 0, 2, 1)}, ErrName},
		{"no target", &dns.MX{Hdr: h(dns.TypeMX)}, ErrName},
		{"v6 in A", &dns.A{Hdr: h(dns.TypeA), A: net.ParseIP("2001:db8::1")}, nil},
		{"v4 in AAAA", &dns.AAAA{Hdr: h(dns.TypeAAAA), AAAA: net.IP{192, 0, 2, 1}}, nil},
		{"long text", &dns.TXT{Hdr: h(dns.TypeTXT), Txt: []string{strings.Repeat("x", 256)}}, nil},
		{"odd hex", &dns.DS{Hdr: h(dns.TypeDS), Digest: "abc"}, nil},
		{"no base64", &dns.DNSKEY{Hdr: h(dns.TypeDNSKEY), PublicKey: "!"}, nil},
		{"no base32", &dns.NSEC3{Hdr: h(dns.TypeNSEC3), NextDomain: "zz"}, nil},
		{"types out of order", &dns.NSEC{Hdr: h(dns.TypeNSEC), NextDomain: ".", TypeBitMap: []uint16{300, 1}}, nil},
		{"data over 65535 octets", &dns.TXT{Hdr: h(dns.TypeTXT), Txt: big}, ErrRecordTooLarge},
		{"foreign data over 65535 octets", &dns.NULL{Hdr: h(dns.TypeNULL), Data: strings.Repeat("x", 1<<16)}, ErrRecordTooLarge},
		{"foreign data over the scratch buffer", &dns.NULL{Hdr: h(dns.TypeNULL), Data: strings.Repeat("x", 1<<18)}, ErrRecordTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := AppendRR([]byte("x"), tt.rr)
			if err == nil || string(got) != "x" {
				t.Fatalf("got %d octets, %v", len(got), err)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v is not %v", err, tt.is)
			}
			if tt.rr == nil || tt.rr.Header().Name == "" {
				return
			}
			for _, part := range []string{"host.example.org.", dns.Type(tt.rr.Header().Rrtype).String()} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%v does not name %s", err, part)
				}
			}
		})
	}
}
