// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zonegen

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// LargestText is the largest rdata of one TXT record in the awkward zone, in
// octets: 255 strings of 255 octets and their lengths. Uncompressed and signed it
// leaves less than 200 octets of a message for everything else.
const LargestText = 255 * 256

// Awkward returns the text of a zone with everything that servers, packers and
// parsers are known to stumble over, short of DNSSEC. Serials that differ by one
// differ in some of the large sets.
func Awkward(origin string, serial uint32) string {
	w := &zone{}
	w.head(origin, serial)
	w.rr("serial-%d IN TXT \"comes and goes\"", serial)
	w.large(serial)
	w.names(origin)
	w.unknownTypes()
	w.structure()
	w.types()
	return w.String()
}

// large writes what does not fit where one expects it to.
func (z *zone) large(serial uint32) {
	z.rr("txt-one-64k IN TXT%s", strings.Repeat(` "`+strings.Repeat("x", 255)+`"`, 255))
	for i := range 300 { // one set of about 64 kB in small records
		z.rr(`txt-set-64k IN TXT "%03d-%d-%s"`, i, serial, strings.Repeat("y", 190))
	}
	for i := range 2 { // and one of two that do not fit a message of 16 KiB
		z.rr("txt-two-30k IN TXT%s", strings.Repeat(fmt.Sprintf(` "%d%s"`, i, strings.Repeat("z", 253)), 120))
	}
	for i := range 300 {
		z.rr("_xmpp._tcp IN SRV %d %d 5222 target-%d-%d", i%3, i, i, serial%2)
	}
	for i := range 150 {
		z.rr("many-mx IN MX %d mx%d", i, i)
	}
	z.rr(`TXT-all-octets IN TXT "%s"`, allOctets(0, 128))
	z.rr(`TXT-all-octets IN TXT "%s"`, allOctets(128, 256))
	z.rr(`txt-empty IN TXT ""`)
	z.rr(`txt-empty IN TXT "" "" "a" ""`)
	z.rr("ttl-zero 0 IN A 192.0.2.1")
	z.rr("ttl-largest 2147483647 IN A 192.0.2.1") // RFC 2181 §8
}

func allOctets(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, `\%03d`, i)
	}
	return b.String()
}

// names writes owners of the largest size and with octets that need an escape.
func (z *zone) names(origin string) {
	z.rr("%s IN A 192.0.2.255", LongestName(origin))
	z.rr("%s IN MX 10 %s", LongestName(origin), LongestName(origin))
	z.rr("%s IN A 192.0.2.63", strings.Repeat("l", 63))
	z.rr("%s IN PTR host", strings.TrimSuffix(strings.Repeat("f.", 100), "."))
	for i, label := range []string{
		`dot\.inside`, `dot\046ddd`, `nul\000octet`, `space\032octet`, `quote\"d`, `back\\slash`,
		`semi\;colon`, `par\(en\)s`, `at\@sign`, `dol\$lar`, `high\255octet`, `tab\009octet`,
		`not\*wild`, `\065\066C`, `\000`, `\\`, `\255\254\128`, `under_score`, `-hyphens-`, `xn--bcher-kva`,
	} {
		z.rr("%s.esc IN A 192.0.2.%d", label, i)
		z.rr("ref%d.esc IN NS %s.esc", i, label)
	}
	z.rr("UPPER IN A 192.0.2.1")
	z.rr("MiXeD.CaSe IN A 192.0.2.2")
	z.rr("MiXeD.cAsE IN MX 10 MaIl.CASE")
	z.rr("CaSe-Cname IN CNAME UPPER")
	z.rr("_SIP._Udp.CASE IN SRV 1 1 5060 UPPER")
	z.rr("svc.case IN HTTPS 1 UPPER alpn=\"h2,h3\"")
	z.rr("TXT.case IN TXT \"KeePs ITS CaSe\"")
}

// LongestName returns a name of 255 octets in wire form below origin
// (RFC 1035 §2.3.4), with a final dot.
func LongestName(origin string) string {
	var wire [256]byte
	size, err := dns.PackDomainName(origin, wire[:], 0, nil, false)
	if err != nil {
		panic(fmt.Sprintf("zonegen: origin %q is no domain name: %v", origin, err))
	}
	var b strings.Builder
	for room := 255 - size; room > 1; {
		label := min(63, room-1)
		if room-1-label == 1 { // a single octet left over holds no label
			label--
		}
		b.WriteString(strings.Repeat("n", label) + ".")
		room -= label + 1
	}
	return b.String() + origin
}

func (z *zone) unknownTypes() {
	z.rr(`unknown IN TYPE65280 \# 4 0a000001`)
	z.rr(`unknown IN TYPE65281 \# 0`)
	z.rr(`unknown IN TYPE65282 \# 1000 %s`, strings.Repeat("a5", 1000))
	z.rr(`unknown IN TYPE65283 \# 30000 %s`, strings.Repeat("5a", 30000))
	z.rr(`unknown IN TYPE65534 \# 3 c00c00`) // looks like a compression pointer
	z.rr(`known IN TYPE1 \# 4 c0000201`)
	z.rr(`known IN AAAA \# 16 20010db8000000000000000000000001`)
}

// structure writes what is about the tree: names without records, wildcards,
// delegations and redirections.
func (z *zone) structure() {
	z.rr("a.b.c.d.e.empty IN A 192.0.2.1")
	z.rr("*.wild IN A 192.0.2.1")
	z.rr("*.wild IN MX 10 host")
	z.rr("sub.*.wild IN TXT \"asterisk in the middle\"")
	z.rr("*.*.wild2 IN A 192.0.2.2")
	z.rr("*._tcp.wild IN SRV 0 0 0 .")
	z.rr("delegated IN NS ns.delegated")
	z.rr("delegated IN NS ns.other.example.")
	z.rr("delegated IN DS 12345 13 2 %s", strings.Repeat("ab", 32))
	z.rr("ns.delegated IN A 192.0.2.9")
	z.rr("ns.delegated IN AAAA 2001:db8::9")
	z.rr("below.ns.delegated IN A 192.0.2.10")
	z.rr("redirected IN DNAME target.example.net.")
	z.rr("nomail IN MX 0 .")
}

// types writes one record at least of each type that servers know by name.
func (z *zone) types() {
	for _, line := range strings.Split(strings.TrimSpace(typeLines), "\n") {
		z.rr("%s", line)
	}
}

const typeLines = `
naptr IN NAPTR 100 10 "U" "E2U+sip" "!^.*$!sip:info@example.com!" .
naptr IN NAPTR 100 20 "" "" "" Replacement.Example.
caa IN CAA 0 issue "ca.example.net; account=230123"
caa IN CAA 128 tbs "Unknown"
_443._tcp.tlsa IN TLSA 3 1 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971
smimea IN SMIMEA 3 0 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971
sshfp IN SSHFP 4 2 123456789abcdef67890123456789abcdef67890123456789abcdef123456789
loc IN LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
https IN HTTPS 0 svc.example.net.
https2 IN HTTPS 1 . alpn=h2,h3 port=8443 ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8::1
https3 IN HTTPS 2 svc mandatory=alpn,port alpn=h2 port=1234 key65333=opaque
_8443._foo.svcb IN SVCB 7 svc4.example.net. alpn="bar" port="8004" no-default-alpn
uri IN URI 10 1 "ftp://ftp1.example.com/public?q=\"quoted\""
cert IN CERT PGP 1 8 AQIDBAUGBwg=
hinfo IN HINFO "PDP-11/70" "UNIX V7"
rp IN RP admin.people txt.people
afsdb IN AFSDB 1 afs
kx IN KX 10 kx-host
rt IN RT 10 relay
px IN PX 10 map822.example. mapx400.example.
eui IN EUI48 00-00-5e-00-53-2a
eui IN EUI64 00-00-5e-ef-10-00-00-2a
ilnp IN NID 10 0014:4fff:ff20:ee64
ilnp IN L32 10 10.1.2.0
ilnp IN L64 10 2001:0db8:1140:1000
ilnp IN LP 10 l64-subnet1
dhcid IN DHCID AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=
openpgp IN OPENPGPKEY AQIDBAUGBwg=
cds IN CDS 12345 13 2 2a9b7c9c1b2d3e4f5061728394a5b6c7d8e9fa0b1c2d3e4f5061728394a5b6c7
csync IN CSYNC 66 3 A NS AAAA
hip IN HIP 2 200100107B1A74DF365639CC39F1D578 AwEAAbdxyhNuSutc5EMzxTs9LBPCIkOFH8cIvM4p9+LrV4e19WzK00+CI6zBCQTdtWsuxKbWIy87UOoJTwkUs7lBu+Upr1gsNrut79ryra+bSRGQb1slImA8YVJyuIDsj7kwzG7jnERNqnWxZ48AWkskmdHaVDP4BcelrTI3rMXdXF5D rvs1.example.com. Rvs2.example.com.
spf IN SPF "v=spf1 -all"
apl IN APL 1:192.168.32.0/21 !1:192.168.38.0/28 2:2001:db8::/32
zonemd-like IN TXT "ZONEMD is of the apex only"
x25 IN X25 311061700956
gpos IN GPOS -32.6882 116.8652 10.0
`
