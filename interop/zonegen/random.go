// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zonegen

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
)

// A Quirk is something in a zone file that is known to be read in several ways.
type Quirk string

// The quirks. docs/COMPATIBILITY.md has what each server makes of them.
const (
	MixedTTL     Quirk = "mixed-ttl"     // a set, or one record twice, with several TTLs
	HugeTTL      Quirk = "huge-ttl"      // a TTL of 2^31 or more
	GenerateTTL  Quirk = "generate-ttl"  // $GENERATE without a TTL of its own under $TTL
	GenerateText Quirk = "generate-text" // a string with a blank in $GENERATE
	LOCSeconds   Quirk = "loc-seconds"   // seconds that no binary fraction is
	RawOctets    Quirk = "raw-octets"    // an owner with letters outside ASCII, as they are
	GluedStrings Quirk = "glued-strings" // two bare strings, the second at the start of a line
	ShortSigned  Quirk = "short-signed"  // a signature with an original TTL below that of the set
	NoTTL        Quirk = "no-ttl"        // a record without TTL where there is no $TTL
	IncludedTTL  Quirk = "included-ttl"  // a record without TTL behind a file that has a $TTL
)

// Quirks are all of them.
var Quirks = []Quirk{MixedTTL, HugeTTL, GenerateTTL, GenerateText, LOCSeconds, RawOctets, GluedStrings, ShortSigned, NoTTL, IncludedTTL}

// Odd is where a zone has a quirk: at an absolute owner, as it is written.
type Odd struct {
	Owner string
	Quirk Quirk
}

// Random is a zone file as somebody may have written it by hand.
type Random struct {
	Origin string
	Text   string
	// Included are the files that it includes, by path. Their names come from the seed.
	Included map[string]string
	// Plain says that nothing is in it that Knot DNS does not take: $GENERATE, types by names
	// that it does not know, octets above 127 as they are, lines that end as in DOS.
	Plain bool
	Odd   []Odd
	Kinds map[string]int // how often each kind of thing was written
}

// NewRandom writes a zone file of a few dozen records.
//
// Files that it includes are in dir, for servers differ in where they look for one without
// a path.
func NewRandom(origin, dir string, seed uint64) *Random {
	r := rand.New(rand.NewPCG(seed, 1))
	z := &Random{Origin: origin, Included: make(map[string]string), Plain: r.IntN(2) == 0, Kinds: make(map[string]int)}
	w := &writer{Rand: r, zone: z, origin: origin, whole: r.IntN(10) == 0, newline: "\n", prefix: filepath.Join(dir, fmt.Sprintf("inc.%x", seed))}
	if !z.Plain && w.oneIn(4) {
		w.newline = "\r\n"
	}
	w.head()
	for range 5 + w.IntN(40) {
		w.thing()
	}
	w.apex()
	z.Text = w.String()
	return z
}

// writer writes one file of the zone.
type writer struct {
	strings.Builder
	*rand.Rand
	zone    *Random
	origin  string // in force
	hasTTL  bool   // $TTL is in force
	leaks   bool   // a $TTL in another file may be instead
	whole   bool   // the zone has a ZONEMD: no TTLs are mended in it
	last    string // the owner of the last record, "" where that is not certain
	newline string
	prefix  string // of the files that it includes
	soa     []string
	names   int
	depth   int
}

func (w *writer) oneIn(n int) bool { return w.IntN(n) == 0 }

func one[T any](w *writer, from ...T) T { return from[w.IntN(len(from))] }

func (w *writer) note(q Quirk, owner string) {
	if o := (Odd{owner, q}); !slices.Contains(w.zone.Odd, o) {
		w.zone.Odd = append(w.zone.Odd, o)
	}
}

// head writes the apex, after $TTL, or without one where the first records have theirs.
func (w *writer) head() {
	w.WriteString("; a zone" + w.newline + w.newline)
	if w.oneIn(3) {
		w.line("$ORIGIN " + w.origin)
	}
	if w.zone.Plain || !w.oneIn(10) {
		w.dollarTTL()
	}
	w.soa = []string{"ns1." + w.origin, one(w, "hostmaster.", `john\.doe.`, "Host-Master.") + w.origin, fmt.Sprint(1 + w.IntN(1<<31))}
	for range 4 {
		w.soa = append(w.soa, w.period())
	}
	w.write(w.origin, "SOA", w.soa, "86400")
	servers := 1 + w.IntN(3)
	for i := range servers {
		w.write(w.origin, "NS", []string{w.name(fmt.Sprintf("ns%d.%s", i+1, w.origin))}, "86400")
	}
	for i := range servers { // BIND does not take a zone without them
		w.write(fmt.Sprintf("ns%d.%s", i+1, w.origin), "A", []string{"192.0.2.53"}, "86400")
	}
}

// apex writes more at the apex, the SOA again among it.
func (w *writer) apex() {
	if w.oneIn(6) && w.zone.Plain { // elsewhere a TTL may have come from somewhere else
		w.write(w.zone.Origin, "SOA", w.soa, "86400")
	}
	if w.oneIn(3) {
		w.write(w.zone.Origin, "MX", []string{"010", w.target()}, "60")
		w.write(strings.ToUpper(w.zone.Origin), "TXT", w.text(), "60")
	}
	if w.whole {
		w.write(w.zone.Origin, "ZONEMD", []string{w.soa[2], "1", "1", strings.Repeat("ab", 48)}, "60")
	}
}

// thing writes a record, a set or a directive.
func (w *writer) thing() {
	kinds := slices.DeleteFunc(slices.Clone(things), func(k thing) bool { return k.more && w.zone.Plain })
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	at := w.IntN(total)
	for _, k := range kinds {
		if at -= k.weight; at < 0 {
			w.zone.Kinds[k.name]++
			k.write(w)
			return
		}
	}
}

// thing is one kind of what can stand in a zone file.
type thing struct {
	name   string
	weight int
	more   bool // Knot DNS does not take it
	write  func(*writer)
}

// things is filled by init, for some of them write others.
var things []thing

func init() {
	things = []thing{
		{"record", 60, false, func(w *writer) { w.record(w.owner(), w.ttl()) }},
		{"set", 15, false, (*writer).set},
		{"record twice", 6, false, (*writer).twice},
		{"large set", 1, false, (*writer).largeSet},
		{"delegation", 5, false, (*writer).delegation},
		{"alias", 5, false, (*writer).alias},
		{"signed set", 3, false, (*writer).signedSet},
		{"out of the zone", 4, false, (*writer).outside},
		{"noise", 8, false, (*writer).noise},
		{"$ORIGIN", 4, false, (*writer).dollarOrigin},
		{"$TTL", 4, false, (*writer).dollarTTL},
		{"$INCLUDE", 2, false, (*writer).include},
		{"$GENERATE", 6, true, (*writer).generate},
		{"other types", 8, true, (*writer).otherType},
		{"octets as they are", 2, true, (*writer).rawOctets},
		{"mixed TTLs", 3, false, (*writer).mixedTTL},
		{"a huge TTL", 2, false, (*writer).hugeTTL},
		{"LOC", 3, false, (*writer).location},
		{"strings over lines", 2, false, (*writer).gluedStrings},
		{"a short signature", 1, false, (*writer).shortSigned},
	}
}

// owner is an owner that no other thing has.
func (w *writer) owner() string {
	w.names++
	under := one(w, w.zone.Origin, w.zone.Origin, w.origin)
	return w.label(fmt.Sprintf("%s%d", strings.Repeat("i", w.depth), w.names)) + "." + under
}

// label is a label that ends, in one form or another, with unique.
func (w *writer) label(unique string) string {
	switch w.IntN(14) {
	case 0:
		return "_Sip" + unique + "._tcp"
	case 1:
		return one(w, `a\.b`, `a\046b`, `sp\032ace`, `semi\;`, `q\"`, `back\\`, `at\@`, `\000`, `\255\254`, `p\(\)`, `\065\066`, `tab\009`) + unique
	case 2:
		return "*.wild" + unique
	case 3:
		return "MiXeD-" + strings.ToUpper(unique)
	case 4:
		return strings.Repeat("l", 63-len(unique)) + unique
	case 5:
		return strings.Repeat("f.", 1+w.IntN(30)) + "C.d.e" + unique
	case 6:
		return "xn--bcher-kva" + unique
	case 7:
		return unique + "-" + unique
	}
	return "h" + unique
}

// target is a name as data has it.
func (w *writer) target() string {
	switch w.IntN(6) {
	case 0:
		return w.zone.Origin
	case 1:
		return one(w, "mail.Example.NET.", "example.com.", `esc\.aped.example.com.`, `high\200.example.com.`)
	case 2:
		return w.name(w.label("t") + "." + w.origin)
	}
	return w.name(fmt.Sprintf("h%d.%s", w.IntN(40), w.zone.Origin))
}

// name is a name as it can be written where the origin in force is: relative, or not.
func (w *writer) name(absolute string) string {
	if absolute == w.origin && w.oneIn(2) {
		return "@"
	}
	if short, ok := strings.CutSuffix(absolute, "."+w.origin); ok && !strings.HasSuffix(short, `\`) && !w.oneIn(4) {
		return short
	}
	return absolute
}

// ttl is a TTL as it can be written, mostly none.
func (w *writer) ttl() string {
	switch w.IntN(6) {
	case 0:
		return fmt.Sprint(w.IntN(100000))
	case 1:
		return one(w, "0", "1h", "1H30M", "2d", "1w", "5m30s", "90s", "2147483647")
	}
	return ""
}

func (w *writer) period() string {
	return one(w, "3600", "1h", "15M", "2w", "1d12h", fmt.Sprint(w.IntN(1000000)))
}

// line writes a line that is no record.
func (w *writer) line(text string) {
	w.WriteString(text + one(w, "", "", " ; a comment", "\t;\"(") + w.newline)
}

// noise writes lines that say nothing.
func (w *writer) noise() {
	for range w.IntN(3) {
		w.WriteString(one(w, "", "; a comment ( \" \\", ";;;") + w.newline)
		if w.last != "" { // Knot DNS takes a blank at the start for an owner
			w.WriteString(one(w, "   ", "\t", "  ; indented") + w.newline)
		}
	}
}

func (w *writer) dollarTTL() {
	w.hasTTL, w.leaks = true, false
	w.line(one(w, "$TTL", "$ttl") + one(w, " ", "\t") + one(w, "300", "1h", "1D", "0", "86400", "2147483647", "3600"))
}

func (w *writer) dollarOrigin() {
	w.origin = one(w, w.zone.Origin, "sub."+w.zone.Origin, "Deep.er."+w.zone.Origin, `o\.dd.`+w.zone.Origin)
	w.line("$ORIGIN " + w.origin)
}

// include writes another file and includes it, mostly with an origin of its own. What was
// last before it is not certain behind it.
func (w *writer) include() {
	if w.depth > 1 || !w.hasTTL {
		return
	}
	w.names++
	name := fmt.Sprintf("%s.%d", w.prefix, w.names)
	in := &writer{
		Rand: w.Rand, zone: w.zone, origin: w.origin, hasTTL: true, whole: w.whole, newline: w.newline,
		prefix: name, depth: w.depth + 1, names: 1000 * (w.depth*50 + w.names),
	}
	line := "$INCLUDE " + name
	if w.oneIn(2) {
		in.origin = "inc." + w.zone.Origin
		line += " " + in.origin
	}
	in.dollarTTL()
	for range 1 + w.IntN(5) {
		in.thing()
	}
	w.zone.Included[name] = in.String()
	w.line(line)
	w.last = ""
	if w.leaks = w.oneIn(2); !w.leaks {
		w.dollarTTL()
	}
}
