// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zonegen

import (
	"fmt"
	"strings"
)

// set writes several records of one owner and type, with one TTL.
func (w *writer) set() {
	owner, ttl := w.owner(), w.ttl()
	if !w.hasTTL {
		ttl = "900"
	}
	for i := range 2 + w.IntN(4) {
		w.write(owner, "A", []string{v4(1000 + i)}, ttl)
		if w.oneIn(3) {
			w.write(owner, "MX", []string{fmt.Sprint(i), w.target()}, ttl)
		}
	}
}

// twice writes one record twice, in two ways.
func (w *writer) twice() {
	owner := fmt.Sprintf("twice%d.%s", w.names, w.zone.Origin)
	w.names++
	switch w.IntN(4) {
	case 0:
		w.write(owner, "A", []string{"192.0.2.20"}, "600")
		w.write(strings.ToUpper(owner[:5])+owner[5:], "A", []string{"192.0.2.20"}, "600")
	case 1:
		w.write(owner, "MX", []string{"10", "mail.example.net."}, "600")
		w.write(`\116`+owner[1:], "MX", []string{"10", "Mail.Example.NET."}, "600")
	case 2:
		w.write(owner, "A", []string{"192.0.2.21"}, "600")
		w.write(owner, "TYPE1", []string{`\#`, "4", "c0000215"}, "600")
	case 3:
		w.write(owner, "TXT", []string{`"a"`, "b"}, "600")
		w.write("h"+owner, "A", []string{"192.0.2.22"}, "600")
		w.write(owner, "TXT", []string{`\097`, `"b"`}, "600")
	}
}

// largeSet writes a set that fills a message or more.
func (w *writer) largeSet() {
	owner := w.owner()
	for i := range 150 {
		w.write(owner, "TXT", []string{fmt.Sprintf(`"%03d %s"`, i, strings.Repeat("x", 200))}, "600")
	}
}

func (w *writer) delegation() {
	w.names++
	owner := fmt.Sprintf("%schild%d.%s", strings.Repeat("i", w.depth), w.names, w.zone.Origin)
	ttl := "7200"
	for i := range 1 + w.IntN(3) {
		ns := fmt.Sprintf("ns%d.%s", i, owner)
		w.write(owner, "NS", []string{w.name(ns)}, ttl)
		w.write(ns, "A", []string{v4(2000 + i)}, ttl)
	}
	if w.oneIn(2) {
		w.write(owner, "DS", []string{"12345", "13", "2", strings.Repeat("aB", 16), strings.Repeat("cd", 16)}, ttl)
	}
	if w.oneIn(4) { // below a delegation, and no glue
		w.write("under."+owner, "TXT", w.text(), ttl)
	}
}

func (w *writer) alias() { w.write(w.owner(), "CNAME", []string{w.target()}, w.ttl()) }

// signature writes a signature of a set of type A. It holds for nothing.
func (w *writer) signature(owner, ttl, original string) {
	w.write(owner, "RRSIG", []string{
		"A", one(w, "13", "ECDSAP256SHA256"), fmt.Sprint(strings.Count(owner, ".")), original,
		one(w, "20400101000000", "2100000000"), "20240101000000", "12345", w.zone.Origin, "AQIDBAUG", "BwgJCgsMDQ4PEA==",
	}, ttl)
}

func (w *writer) signedSet() {
	w.names++
	owner := fmt.Sprintf("%ssigned%d.%s", strings.Repeat("i", w.depth), w.names, w.zone.Origin)
	w.write(owner, "A", []string{"192.0.2.30"}, "1200")
	w.signature(owner, "1200", "1200")
}

// shortSigned writes a signature with an original TTL below that of its set.
func (w *writer) shortSigned() {
	if w.whole {
		return
	}
	w.names++
	owner := fmt.Sprintf("%sshort%d.%s", strings.Repeat("i", w.depth), w.names, w.zone.Origin)
	w.write(owner, "A", []string{"192.0.2.31"}, "1200")
	w.signature(owner, "1200", "600")
	w.note(ShortSigned, owner)
}

func (w *writer) outside() {
	w.write(one(w, "ns.other.example.", "example.", "x"+w.zone.Origin, `x\.`+w.zone.Origin, "."), "A", []string{"192.0.2.40"}, "600")
	w.last = "" // whether the next one without an owner is dropped too is another matter
}

// generate writes $GENERATE, with a TTL mostly.
func (w *writer) generate() {
	w.names++
	owner := fmt.Sprintf("%sgen%d-", strings.Repeat("i", w.depth), w.names)
	var names []string
	first, last, step := w.IntN(20), 0, 1+w.IntN(3)
	last = first + w.IntN(6)
	line := fmt.Sprintf("$GENERATE %d-%d", first, last)
	if step > 1 {
		line += fmt.Sprintf("/%d", step)
	}
	for i := first; i <= last; i += step {
		names = append(names, fmt.Sprintf("%s%d.%s", owner, i, w.origin))
	}
	ttl := " " + one(w, "77", "1h", "3600")
	if w.hasTTL && w.oneIn(4) {
		ttl = ""
		for _, name := range names {
			w.note(GenerateTTL, name)
		}
	}
	what := one(w, "A 192.0.2.$", "CNAME h${0,3,d}", "NS ns${1,2,x}.example.net.", "AAAA 2001:db8::${0,0,x}", "PTR a$.b$", `TXT s$`, `TXT "a $ b"`)
	if strings.Contains(what, `"`) {
		for _, name := range names {
			w.note(GenerateText, name)
		}
	}
	w.line(fmt.Sprintf("%s %s$%s %s", line, owner, ttl, what))
	w.last = ""
	w.dollarTTL()
}

// rawOctets writes letters outside ASCII as they are, in UTF-8.
func (w *writer) rawOctets() {
	w.names++
	unique := fmt.Sprintf("%s%d.%s", strings.Repeat("i", w.depth), w.names, w.zone.Origin)
	if w.oneIn(2) { // in data they stay
		w.write("utf"+unique, "TXT", []string{"\"gr\u00fc\u00dfe \u00c4\""}, "600")
		w.write("utf"+unique, "PTR", []string{"B\u00dcCHER.example."}, "600")
		return
	}
	name := one(w, "B\u00dcCHER", "b\u00fccher", "\u0416", "\u0130", "Stra\u00dfe") + unique
	w.write(name, "A", []string{"192.0.2.60"}, "600")
	w.note(RawOctets, name)
}

// mixedTTL writes a set with several TTLs, or one record with two.
func (w *writer) mixedTTL() {
	if w.whole {
		return
	}
	w.names++
	owner := fmt.Sprintf("%smixed%d.%s", strings.Repeat("i", w.depth), w.names, w.zone.Origin)
	ttls := []string{"300", "600", "900"}
	w.Shuffle(len(ttls), func(i, j int) { ttls[i], ttls[j] = ttls[j], ttls[i] })
	for i, ttl := range ttls[:2+w.IntN(2)] {
		if i > 0 && w.oneIn(3) {
			i--
		}
		w.write(owner, "A", []string{v4(3000 + i)}, ttl)
	}
	w.note(MixedTTL, owner)
}

func (w *writer) hugeTTL() {
	owner := w.owner()
	w.record(owner, one(w, "2147483648", "4294967295", "3000000000"))
	w.note(HugeTTL, owner)
}

// location writes LOC with seconds to the thousandth.
func (w *writer) location() {
	owner := w.owner()
	seconds := func() string { return fmt.Sprintf("%d.%03d", w.IntN(60), w.IntN(1000)) }
	w.write(owner, "LOC", []string{
		"52", "22", seconds(), one(w, "N", "S"), "4", "53", seconds(), one(w, "E", "W"),
		fmt.Sprintf("%d.%02dm", w.IntN(2000)-500, w.IntN(100)), one(w, "1m", "0.00m", "30m"), "10000m", "10m",
	}, w.ttl())
	w.note(LOCSeconds, owner)
}

// gluedStrings writes bare strings, one of them at the very start of a line.
func (w *writer) gluedStrings() {
	owner := w.owner()
	w.write(owner, "TXT", []string{"( one" + w.newline + "two )"}, w.ttl())
	w.note(GluedStrings, owner)
}
