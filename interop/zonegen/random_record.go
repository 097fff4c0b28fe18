// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zonegen

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// write writes a record in one of the ways there are: the owner or none, TTL and class in
// either order, parentheses, comments. The TTL may be "" where $TTL is in force, and is
// orElse where it is not.
func (w *writer) write(owner, rrtype string, data []string, ttl string) {
	if ttl == "" && !w.hasTTL {
		ttl = "7200"
		if w.oneIn(2) { // that of the record before, by RFC 1035; there are other ways
			ttl = ""
			w.note(NoTTL, owner)
		}
	}
	if ttl == "" && w.leaks {
		w.note(IncludedTTL, owner)
	}
	if owner == w.last && w.oneIn(2) {
		w.WriteString(w.blank())
	} else {
		w.WriteString(w.name(owner) + w.blank())
	}
	w.last = owner
	class := one(w, "", "IN", "in")
	if strings.HasPrefix(rrtype, "CLASS") {
		class = ""
	}
	for _, field := range one(w, []string{ttl, class}, []string{class, ttl}) {
		if field != "" {
			w.WriteString(field + w.blank())
		}
	}
	w.WriteString(one(w, rrtype, rrtype, strings.ToLower(rrtype)))
	w.data(data)
	w.WriteString(one(w, "", "", "  ", "\t; comment", " ; (") + w.newline)
}

// data writes the fields of a record, which bring their own parentheses or get some. A line
// that goes on begins with a blank, for without one CoreDNS's parser does not take most types.
func (w *writer) data(fields []string) {
	if len(fields) == 0 {
		return
	}
	open := -1
	if !strings.HasPrefix(fields[0], "(") {
		open = w.IntN(3 * len(fields)) // often none
	}
	for i, field := range fields {
		w.WriteString(w.blank())
		if i == open {
			w.WriteString("(" + w.blank())
		}
		if open >= 0 && i >= open && w.oneIn(3) {
			if !slices.ContainsFunc(fields, isWord) { // CoreDNS's parser takes none behind a comment
				w.WriteString(one(w, "", " ; comment )", "\t;"))
			}
			w.WriteString(w.newline + w.blank())
		}
		w.WriteString(field)
	}
	if open >= 0 && open < len(fields) {
		w.WriteString(one(w, " )", w.newline+" )", "\t)"))
	}
}

// isWord reports whether a field could also be the type or the class of a record.
func isWord(field string) bool {
	_, isType := dns.StringToType[strings.ToUpper(field)]
	return isType || field == "IN" || strings.HasPrefix(field, "TYPE")
}

func (w *writer) blank() string { return one(w, " ", " ", "\t", "  ", " \t ") }

// record writes a record of any type at the owner.
func (w *writer) record(owner, ttl string) {
	t := common[w.IntN(len(common))]
	w.zone.Kinds[t.name]++
	w.write(owner, w.typeName(t.name), w.generic(t, t.data(w)), ttl)
}

// typeName is a name of the type: TYPE1 is A (RFC 3597 §5).
func (w *writer) typeName(name string) string { return name }

// generic are the fields of a record, sometimes in the form for any type.
func (w *writer) generic(t kind, data []string) []string {
	if t.wire == "" || !w.oneIn(6) {
		return data
	}
	b, err := hex.DecodeString(t.wire)
	if err != nil {
		panic(fmt.Sprintf("zonegen: %s: %v", t.name, err))
	}
	digits := hex.EncodeToString(b)
	fields := []string{`\#`, fmt.Sprint(len(b))}
	if cut := w.IntN(len(digits)/2) * 2; cut > 0 {
		return append(fields, digits[:cut], strings.ToUpper(digits[cut:]))
	}
	return append(fields, digits)
}

// kind is a type and its data in presentation form.
type kind struct {
	name string
	wire string // data that can be written as \# too, in hexadecimal; "": none
	data func(*writer) []string
}

// words are fields that are always the same.
func words(text string) func(*writer) []string {
	return func(*writer) []string { return strings.Fields(text) }
}

// common are the types that BIND, Knot DNS and CoreDNS know by name.
var common = []kind{
	{"A", "c0000207", func(w *writer) []string { return []string{v4(w.IntN(1 << 17))} }},
	{"A", "", func(w *writer) []string { return []string{v4(w.IntN(1 << 17))} }},
	{"AAAA", "20010db8000000000000000000000001", func(w *writer) []string {
		return []string{one(w, "2001:DB8::", "2001:db8:0:0:0:0:0:", "::ffff:0:", "::") + fmt.Sprintf("%x", w.IntN(1<<16))}
	}},
	{"MX", "000a0161076578616d706c6500", func(w *writer) []string { return []string{fmt.Sprint(w.IntN(65536)), w.target()} }},
	{"TXT", "02686900", (*writer).text},
	{"TXT", "", (*writer).text},
	{"SPF", "", (*writer).text},
	{"SRV", "", func(w *writer) []string { return []string{"0", fmt.Sprint(w.IntN(9)), "443", w.target()} }},
	{"PTR", "", func(w *writer) []string { return []string{w.target()} }},
	{"CAA", "", func(w *writer) []string {
		return []string{one(w, "0", "128"), one(w, "issue", "ISSUE", "iodef"), one(w, `"ca.example.net; a=1"`, `";"`, "ca.example", `"\"q\""`)}
	}},
	{"NAPTR", "", func(w *writer) []string {
		return []string{"100", "10", one(w, `"U"`, `""`, `"s"`), `"E2U+sip"`, one(w, `"!^.*$!sip:i@example.com!"`, `"!^\\+(.*)$!sip:\\1@e!"`, `""`), w.target()}
	}},
	{"TLSA", "", words("3 1 1 d2abde240d7cd3ee6b4b28c54df034b9 7983a1d16e8a410e4561cb106618e971")},
	{"SMIMEA", "", words("3 0 1 D2abde240d7cd3ee6b4b28c54df034b9")},
	{"SSHFP", "", words("4 2 123456789abcdef67890123456789ABCDEF67890123456789abcdef123456789")},
	{"HTTPS", "", (*writer).service},
	{"SVCB", "", (*writer).service},
	{"URI", "", func(w *writer) []string { return []string{"10", "1", one(w, `"ftp://e.example/?q=\"x\""`, `"a"`)} }},
	{"CERT", "", words("PGP 1 RSASHA256 AQID BAUGBwg=")},
	{"CERT", "", words("1 1 8 AQIDBAUGBwg=")},
	{"HINFO", "", func(w *writer) []string {
		return []string{one(w, "PC", `"PDP-11/70"`), one(w, `"UNIX V7"`, "Linux", `""`)}
	}},
	{"RP", "", func(w *writer) []string { return []string{w.target(), one(w, ".", "txt.example.")} }},
	{"AFSDB", "", func(w *writer) []string { return []string{"1", w.target()} }},
	{"KX", "", func(w *writer) []string { return []string{"10", w.target()} }},
	{"RT", "", func(w *writer) []string { return []string{"10", w.target()} }},
	{"EUI48", "", words("00-00-5e-00-53-2A")},
	{"EUI64", "", words("00-00-5E-ef-10-00-00-2a")},
	{"NID", "", words("10 0014:4fff:ff20:ee64")},
	{"L32", "", words("10 10.1.2.0")},
	{"L64", "", words("10 2001:0db8:1140:1000")},
	{"LP", "", func(w *writer) []string { return []string{"10", w.target()} }},
	{"DHCID", "", words("AAIBY2/AuCccgoJbsaxc Qc9TUapptP69lOjxfNuVAA2kjEA=")},
	{"OPENPGPKEY", "", words("AQID BAUGBwg=")},
	{"CSYNC", "", func(w *writer) []string { return append([]string{"66", "3"}, w.types()...) }},
	{"NSEC", "", func(w *writer) []string { return append([]string{w.target()}, w.types()...) }},
	{"APL", "", words("1:192.168.32.0/21 !1:192.168.38.0/28 2:2001:db8::/32")},
	{"DNSKEY", "", words("257 3 13 AQIDBAUG BwgJCgsMDQ4PEA==")},
	{"KEY", "", words("256 3 8 AQIDBAUGBwg=")},
	{"DNAME", "", func(w *writer) []string { return []string{w.target()} }},
	{"TYPE731", "abcdef012345", words(`\# 6 abcd ef 01 23 45`)},
	{"TYPE65280", "", words(`\# 0`)},
	{"TYPE1", "", words(`\# 4 C0000209`)},
	{"TYPE257", "", words(`\# 8 0005 6973737565 3b`)},
	{"type65534", "", words(`\# 3 c00c00`)},
}

// others are types that Knot DNS does not know by name.
var others = []kind{
	{"X25", "", words("311061700956")},
	{"GPOS", "", words("-32.6882 116.8652 10.0")},
	{"PX", "", func(w *writer) []string { return []string{"10", w.target(), w.target()} }},
	{"ISDN", "", words(`"1234" "5"`)},
	{"AVC", "", words(`"app-name:x|app-class:oam"`)},
	{"TALINK", "", func(w *writer) []string { return []string{w.target(), w.target()} }},
	{"NINFO", "", words(`"x" y`)},
	{"RKEY", "", words("0 3 8 AQIDBAUGBwg=")},
	{"HIP", "", func(w *writer) []string {
		return []string{"2", "200100107B1A74DF365639CC39F1D578", base64.StdEncoding.EncodeToString([]byte("a key of some length")), w.target()}
	}},
	{"HTTPS", "", words("1 . dohpath=/q{?dns} alpn=h2")},
	{"CLASS1 A", "", words("192.0.2.50")},
	{"TXT", "", words(`"x""y"`)},
	{"TXT", "", words(`"x"y`)},
}

func (w *writer) otherType() {
	t := others[w.IntN(len(others))]
	w.zone.Kinds[t.name]++
	w.write(w.owner(), t.name, t.data(w), w.ttl())
}

// text are strings as they can be written.
func (w *writer) text() []string {
	var all []string
	for range 1 + w.IntN(3) {
		all = append(all, one(w,
			`""`, `"plain"`, "bare", `"with ; semicolon"`, `with\;escape`, `"quo\"te"`, `"back\\slash"`, `\065\066`, `"\000\255"`,
			`"a	tab"`, `"( ) @ $"`, "@", "'", `"v=spf1 ip4:192.0.2.0/24 -all"`, `\"`, `"`+strings.Repeat("x", w.IntN(256))+`"`,
			`"\195\169"`, "x=y", "1", "IN", "A", "a\\ b", `"\\\\"`, `"\\\""`, `"p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQ/+=="`,
		))
	}
	return all
}

// service are the fields of SVCB and HTTPS.
func (w *writer) service() []string {
	if w.oneIn(4) {
		return []string{"0", w.target()}
	}
	fields := []string{fmt.Sprint(1 + w.IntN(9)), one(w, ".", w.target())}
	for _, field := range []string{
		one(w, "alpn=h2", `alpn="h2,h3"`, "alpn=h2,h3"), "port=443", "ipv4hint=192.0.2.1,192.0.2.2", `ipv6hint="2001:db8::1"`,
		"ech=AQIDBA==", "key65333=opaque",
	} {
		if w.oneIn(3) {
			fields = append(fields, field)
		}
	}
	w.Shuffle(len(fields)-2, func(i, j int) { fields[i+2], fields[j+2] = fields[j+2], fields[i+2] })
	return fields
}

// types are those of a bitmap, in any order.
func (w *writer) types() []string {
	all := []string{"A", "NS", "MX", "TXT", "AAAA", "RRSIG", "NSEC", "TYPE1234", "CAA", "HTTPS"}
	w.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+w.IntN(len(all))]
}
