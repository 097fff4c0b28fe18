// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// sentBy is what a store hands out of these records, without the SOAs, one line each, and
// what it says about them.
func sentBy(t *testing.T, kind string, records []dns.RR) (sent, said []string) {
	t.Helper()
	var src settable = newInMemory()
	if kind == "channel" {
		src = &channelSource{}
	}
	src.set(t, 1, records)
	s := openStore(t, src, Options{OnCorrected: func(_ string, serial uint32, c Correction) {
		said = append(said, fmt.Sprint(serial, " ", c.Reason, " ", c.Count, " ", c.Owner, " ", dns.Type(c.Type)))
	}})
	for range 2 { // said once
		r := current(t, s)
		messages, err := readAll(r)
		if err != nil {
			t.Fatal(err)
		}
		<-r.Version.settled
		all := answers(t, messages)
		r.Close()
		sent = nil
		for _, rr := range all[1 : len(all)-1] {
			sent = append(sent, strings.Join(strings.Fields(rr.String()), " "))
		}
		if first, last := all[0].String(), all[len(all)-1].String(); first != last {
			t.Errorf("begins with %s and ends with %s", first, last)
		}
		s.slots[apex].mu.Lock()
		s.slots[apex].current = nil
		s.slots[apex].mu.Unlock()
	}
	slices.Sort(sent)
	return sent, said
}

// TestNormal: what a backend sends goes out as BIND, Knot DNS and NSD send such a zone file,
// and each correction is told once.
func TestNormal(t *testing.T) {
	const sigs = "13 3 200 20380101000000 20260101000000 1 example.org. AA=="
	for name, tt := range map[string]struct {
		records    string
		sent, said string
	}{
		"one TTL, the lowest": {
			"a 300 A 192.0.2.1\na 600 A 192.0.2.2\na 900 TXT x", "a 300 A 192.0.2.1\na 300 A 192.0.2.2\na 900 TXT \"x\"", "mixed-ttl 1 a A",
		},
		"in two sets": {
			"a 300 A 192.0.2.1\na 600 A 192.0.2.2\nb 1 TXT x\nb 0 TXT y", "a 300 A 192.0.2.1\na 300 A 192.0.2.2\nb 0 TXT \"x\"\nb 0 TXT \"y\"", "mixed-ttl 2 a A",
		},
		"never above the signature's": {
			"a 300 A 192.0.2.1\na 300 RRSIG A " + sigs, "a 200 A 192.0.2.1\na 200 RRSIG A " + sigs, "mixed-ttl 2 a A",
		},
		"a signature alone": {"a 300 RRSIG A " + sigs, "a 200 RRSIG A " + sigs, "mixed-ttl 1 a RRSIG"},
		"twice":             {"a 300 A 192.0.2.1\na 300 A 192.0.2.1", "a 300 A 192.0.2.1", "duplicate 1 a A"},
		"twice, in capitals": {
			"a 300 MX 1 Mail.example.net.\nA 300 MX 1 mail.EXAMPLE.net.\na 300 MX 2 mail.example.net.", "a 300 MX 1 Mail.example.net.\na 300 MX 2 mail.example.net.", "duplicate 1 A MX",
		},
		"twice, with two TTLs": {"a 300 A 192.0.2.1\na 200 A 192.0.2.1", "a 200 A 192.0.2.1", "duplicate 1 a A"},
		"three times":          {"a 300 TXT x\na 300 TXT y\na 300 TXT x\na 300 TXT x", "a 300 TXT \"x\"\na 300 TXT \"y\"", "duplicate 2 a TXT"},
		"not twice":            {"a 300 TXT x\na 300 TXT X", "a 300 TXT \"X\"\na 300 TXT \"x\"", ""},
		"outside":              {"ns.other.net. 300 A 192.0.2.1\na 300 A 192.0.2.1\nzz.xample.org. 300 A 192.0.2.1", "a 300 A 192.0.2.1", "out-of-zone 2 ns.other.net. A"},
		"outside, last":        {"a 300 A 192.0.2.1\nzz.org. 300 A 192.0.2.1", "a 300 A 192.0.2.1", "out-of-zone 1 zz.org. A"},
		"too large a TTL":      {"a 2147483648 A 192.0.2.1\nb 4294967295 A 192.0.2.1\nc 2147483647 A 192.0.2.1", "a 0 A 192.0.2.1\nb 0 A 192.0.2.1\nc 2147483647 A 192.0.2.1", "ttl-too-large 2 a A"},
		"too large beside another": {
			"a 2147483648 A 192.0.2.1\na 5 A 192.0.2.2", "a 0 A 192.0.2.1\na 0 A 192.0.2.2", "ttl-too-large 1 a A, mixed-ttl 1 a A",
		},
		"types out of order": {
			"a 5 NSEC b.example.org. NS A NSEC\nb 5 CSYNC 66 3 NS AAAA A", "a 5 NSEC b.example.org. A NS NSEC\nb 5 CSYNC 66 3 A NS AAAA", "",
		},
		"a set comes apart": {
			"a 300 A 192.0.2.1\nb 300 A 192.0.2.1\na 200 A 192.0.2.2\nb 300 A 192.0.2.1", "a 200 A 192.0.2.1\na 200 A 192.0.2.2\nb 300 A 192.0.2.1", "mixed-ttl 1 a A, duplicate 1 b A",
		},
		"a zone with a digest": {
			"@ 300 ZONEMD 1 1 1 " + strings.Repeat("00", 48) + "\na 300 A 192.0.2.1\na 600 A 192.0.2.2\na 600 A 192.0.2.2",
			"@ 300 ZONEMD 1 1 1 " + strings.Repeat("00", 48) + "\na 300 A 192.0.2.1\na 600 A 192.0.2.2", "duplicate 1 a A",
		},
	} {
		for _, kind := range []string{"memory", "channel"} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				sent, said := sentBy(t, kind, zoneLines(t, tt.records))
				var want []string
				for _, r := range zoneLines(t, tt.sent) {
					want = append(want, strings.Join(strings.Fields(r.String()), " "))
				}
				slices.Sort(want)
				lowered := strings.ToLower(strings.Join(sent, "\n")) // CoreDNS's file lowers some names
				if lowered != strings.ToLower(strings.Join(want, "\n")) {
					t.Errorf("sent\n%s\nnot\n%s", strings.Join(sent, "\n"), strings.Join(want, "\n"))
				}
				got := strings.ToLower(strings.ReplaceAll(strings.Join(said, ", "), "."+apex, ""))
				if want := strings.ToLower(prefixed("1 ", tt.said)); got != want {
					t.Errorf("said %q, not %q", got, want)
				}
			})
		}
	}
}

func prefixed(with, list string) string {
	if list == "" {
		return ""
	}
	return with + strings.ReplaceAll(list, ", ", ", "+with)
}

// zoneLines are records with owners relative to the apex. TTLs may be larger than miekg/dns
// reads them.
func zoneLines(t *testing.T, lines string) (records []dns.RR) {
	t.Helper()
	for line := range strings.Lines(lines) {
		fields := strings.Fields(line)
		owner := fields[0]
		if owner == "@" {
			owner = apex
		} else if !dns.IsFqdn(owner) {
			owner += "." + apex
		}
		r := rr(t, "%s 1 IN %s", owner, strings.Join(fields[2:], " "))
		var ttl uint32
		if _, err := fmt.Sscan(fields[1], &ttl); err != nil {
			t.Fatal(err)
		}
		r.Header().Ttl = ttl
		records = append(records, r)
	}
	return records
}

// TestComingApart: in a zone that is too large to be sorted before it is sent, sets may come
// apart. Then no difference begins or ends there, and the next time all is sorted first.
func TestComingApart(t *testing.T) {
	src := &channelSource{}
	first := many(t, 40_000)
	records := append(slices.Clone(first), rr(t, "h0000000.%s 7 IN A 192.0.2.1", apex))
	s := openStore(t, src, Options{})
	one := edit(t, s, src, 1, records)
	s.Give(t.Context(), one, "rule")
	two := edit(t, s, src, 2, append(slices.Clone(records), rr(t, "new.%s 7 IN A 192.0.2.1", apex)))
	if m, _ := s.Since(t.Context(), two, 1, []string{"rule"}); m != nil {
		t.Error("a difference of what was not sorted")
	}
	s.Give(t.Context(), two, "rule")
	if got := setOf(answers(t, two.messages)); !got[keyOf(rr(t, "h0000000.%s 7 IN A 10.0.0.0", apex))] {
		t.Error("the set still has two TTLs")
	}
	three := edit(t, s, src, 3, records)
	if m, _ := s.Since(t.Context(), three, 2, []string{"rule"}); m == nil {
		t.Error("no difference of what was sorted")
	}
}
