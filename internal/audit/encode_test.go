// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/trail"
)

// sampleTrailFields are what the audit file tells of itself.
var sampleTrailFields = map[trail.Kind]map[string]any{
	trail.KindOpened:  {},
	trail.KindResumed: {},
	trail.KindClosed:  {},
	trail.KindRotated: {trail.FieldCause: "renamed", trail.FieldRewritten: uint64(2)},
	trail.KindRepaired: {
		trail.FieldAction: "removed", trail.FieldBytes: int64(7), trail.FieldBytesHash: strings.Repeat("0a", 32),
	},
	trail.KindTruncated: {trail.FieldSizeBefore: int64(9000), trail.FieldSizeNow: int64(0), trail.FieldRewritten: 0},
	trail.KindForeign:   {trail.FieldSizeBefore: int64(9000), trail.FieldSizeNow: int64(9010), trail.FieldRewritten: 1},
	trail.KindGap: {
		trail.FieldLost: uint64(3), trail.FieldLate: uint64(1), trail.FieldLateFirst: uint64(40), trail.FieldLateLast: uint64(44),
		trail.FieldSince: "2026-11-22T21:24:18.102Z", trail.FieldError: "input/output error",
	},
	trail.KindClock:      {trail.FieldCause: "back", trail.FieldClockStep: int64(-3600e9)},
	trail.KindCheckpoint: {trail.FieldCheckpoint: "xfrguard audit\n5\n" + strings.Repeat("AbCd", 16) + "\n\n— xfrguard " + strings.Repeat("AbCd", 24) + "\n"},
}

// withProcess makes events look as if one known process had written them.
func withProcess(t *testing.T) {
	t.Helper()
	saved := process
	process = newProcessInfo("ns1.example.org", "1.15.0", "7f3a5c0de1b2a394")
	t.Cleanup(func() { process = saved })
}

// golden compares with a file of testdata/events, or writes it with -update.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "events", name)
	if *audittest.UpdateGolden {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -run %s -update writes it)", err, t.Name())
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

func TestEncodeGolden(t *testing.T) {
	withProcess(t)
	produced := map[string]bool{}
	note := func(event []byte) {
		for k := range audittest.Members(t, event) {
			produced[k] = true
		}
		audittest.ValidateEvents(t, audittest.Seal(t, event)...)
	}
	covered := map[Action]bool{}
	for name, e := range sampleEvents() {
		event := e.Encode()
		note(event)
		covered[e.Action] = true
		golden(t, name+".json", append(event, '\n'))
	}
	for kind, fields := range sampleTrailFields {
		all := map[string]any{trail.FieldKind: string(kind)}
		for k, v := range fields {
			all[k] = v
		}
		note(composeTrail(kind, all))
		covered[trailActions[kind]] = true
	}
	for _, spec := range eventSpecs {
		if !covered[spec.action] {
			t.Errorf("no sample of %s", spec.action)
		}
	}
	for name := range audittest.ReadSchema(t).Properties {
		if !produced[name] && name != "coredns.xfr.truncated" && !strings.HasPrefix(name, "coredns.xfr.chain.") && name != "event.sequence" {
			t.Errorf("the schema has %s, which no sample has", name)
		}
	}
}

// The first keys are those that ecs-logging wants there, then the dataset.
func TestEncodeOrder(t *testing.T) {
	for name, e := range sampleEvents() {
		at := -1
		for _, key := range []string{"@timestamp", "log.level", "message", "ecs.version", "event.dataset", "event.kind"} {
			i := bytes.Index(e.Encode(), []byte(`"`+key+`":`))
			if i <= at {
				t.Errorf("%s: %s stands at %d, after %d", name, key, i, at)
			}
			at = i
		}
	}
}

// Whatever a client sends, and however long everything else is, the line has
// room for its seal, is valid UTF-8 and JSON, and fits the schema.
func TestEncodeBoundProperty(t *testing.T) {
	text := rapid.OneOf(
		rapid.String(),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		rapid.Custom(func(t *rapid.T) string {
			unit := rapid.SampledFrom([]string{`\255`, "\x00", "\"", "\xff", "\u2028", "x", "ü", "😀", "a."}).Draw(t, "unit")
			return strings.Repeat(unit, rapid.IntRange(0, 4000).Draw(t, "times"))
		}),
	)
	samples := sampleEvents()
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.SampledFrom(audittest.SortedKeys(samples)).Draw(rt, "sample")
		e := *samples[name]
		draw := func(p *string, label string) {
			if *p != "" || rapid.Bool().Draw(rt, "set "+label) {
				*p = text.Draw(rt, label)
			}
		}
		draw(&e.Message, "message")
		draw(&e.QueryName, "name")
		draw(&e.TSIG.Key, "key")
		draw(&e.TSIG.Algorithm, "algorithm")
		draw(&e.TLS.ALPN, "alpn")
		draw(&e.TLS.ServerName, "sni")
		draw(&e.TLS.Subject, "subject")
		draw(&e.Block, "block")
		draw(&e.View, "view")
		draw(&e.Zone, "zone")
		draw(&e.Rule, "rule")
		draw(&e.Near, "near")
		draw(&e.Error, "error")
		e.TLS.Names = rapid.SliceOfN(text, 0, 20).Draw(rt, "sans")
		if e.Suppressed != nil {
			s := *e.Suppressed
			s.Keys = rapid.SliceOfN(text, 0, listedMax).Draw(rt, "keys")
			e.Suppressed = &s
		}
		if _, ok := e.Extra[ExtraPolicy]; ok {
			e.Extra = map[string]any{ExtraPolicy: text.Draw(rt, "summary")}
		}
		event := e.Encode()
		if len(event) > trail.MaxEvent {
			rt.Fatalf("%d bytes, at most %d", len(event), trail.MaxEvent)
		}
		if !utf8.Valid(event) || !json.Valid(event) {
			rt.Fatalf("not JSON in UTF-8: %q", event)
		}
		for _, required := range []string{e.Zone, e.QueryName, e.Block, e.Rule, e.Error} {
			if required == "" { // a required field may have been drawn empty
				return
			}
		}
		if _, ok := e.Extra[ExtraPolicy]; ok && e.Extra[ExtraPolicy] == "" {
			return
		}
		audittest.ValidateEvents(t, audittest.Seal(t, event)...)
	})
}

// All fields at their longest at once.
func TestEncodeLongest(t *testing.T) {
	long := strings.Repeat("\xff\"\\\x01", 2000)
	n, huge := uint32(1<<32-1), int64(1<<62)
	for _, a := range eventSpecs {
		e := Event{
			Time: sampleTime, Action: a.action, ID: long, EventID: long, Message: long, Reason: long,
			Client: long, ClientPort: 65535, ClientLink: long, Secondary: long, Server: long, ServerPort: 65535, Transport: policy.TransportHTTP3,
			QueryID: 65535, QueryName: long, QueryType: long, QueryClass: long, Opcode: long, Rcode: long,
			Block: long, Zone: long, View: long, Rule: long, Near: long, Policy: long,
			TSIG: policy.TSIGProof{Status: policy.TSIGStatus(long), Key: long, Algorithm: long},
			TLS: TLSFacts{
				Established: true, Version: long, Cipher: long, ALPN: long, ServerName: long, Resumed: true,
				Subject: long, SPKI: long, Names: []string{long, "a", long, strings.Repeat("b", 300), strings.Repeat("c", 300)},
			},
			SerialRequested: &n, SerialServed: &n, SerialFuture: true, Served: Served(long),
			Messages: 1 << 62, Records: 1 << 62, Bytes: 1 << 62, Duration: 1 << 62, Digest: long,
			BytesAcked: &huge, Wait: 1 << 62,
			Suppressed: &Suppressed{
				Count: 1 << 62, ClientsTotal: 64, KeysTotal: 64, Class: long, Prefix: long,
				Clients: []string{long}, Keys: []string{long}, Reasons: []string{long},
			},
			Error: long,
		}
		for _, ofFile := range []bool{false, true} { // no event has fields of both kinds
			e.Extra = map[string]any{}
			for _, f := range extraFields {
				if strings.HasPrefix(f, "coredns.xfr.audit.") == ofFile {
					e.Extra[f] = long
				}
			}
			event := e.Encode()
			line := audittest.Seal(t, event)[0]
			if len(line) > trail.MaxLine || !bytes.Contains(event, []byte(`"coredns.xfr.truncated":true`)) {
				t.Errorf("%s: %d bytes", a.action, len(line))
			}
		}
	}
}

// The longest names that the wire allows are told whole or marked: RFC 1035 §2.3.4,
// 255 octets, each of which miekg/dns may write as \DDD.
func TestEncodeLongestNames(t *testing.T) {
	e := *sampleEvents()["decision-denied"]
	label := strings.Repeat("a", 63) + "."
	e.QueryName = strings.Repeat(label, 3) + strings.Repeat("a", 61) + "."
	e.TSIG.Key, e.Zone = e.QueryName, e.QueryName
	m := audittest.Members(t, e.Encode())
	if m["dns.question.name"] != e.QueryName || m["coredns.zone"] != e.QueryName || m["coredns.xfr.tsig.key"] != e.QueryName || m["coredns.xfr.truncated"] != nil {
		t.Errorf("an unescaped name of 255 octets was cut: %v", m)
	}
	e.QueryName = strings.Repeat(`\255`, 250) + "."
	m = audittest.Members(t, e.Encode())
	if name := m["dns.question.name"].(string); !strings.HasPrefix(e.QueryName, name) || len(name) < 800 || m["coredns.xfr.truncated"] != true {
		t.Errorf("%d octets of an escaped name, truncated %v", len(name), m["coredns.xfr.truncated"])
	}
}

// What is short comes out as it went in.
func TestQuoteProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := rapid.String().Draw(rt, "text")
		o := object{}
		o.quote(want, 1<<20)
		var got string
		if err := json.Unmarshal(o.buf, &got); err != nil || got != want || o.truncated {
			rt.Fatalf("%q became %q (%v)", want, o.buf, err)
		}
		limit := rapid.IntRange(0, 40).Draw(rt, "limit")
		o = object{}
		o.quote(want, limit)
		if err := json.Unmarshal(o.buf, &got); err != nil || len(o.buf) > limit+2 || !strings.HasPrefix(want, got) || o.truncated != (got != want) {
			rt.Fatalf("%q, at most %d, became %q (%v, %v)", want, limit, o.buf, o.truncated, err)
		}
	})
}

// What a client can put into a name, a certificate or an SNI neither controls the
// terminal of who reads the log, nor turns the rest of the line around.
func TestQuoteControls(t *testing.T) {
	for r := rune(1); r < 0x2100; r++ {
		control := r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
		o := object{}
		o.quote(string(r), 16)
		if shown := strings.ContainsRune(string(o.buf), r); shown == control {
			t.Errorf("%U became %q", r, o.buf)
		}
	}
}

func FuzzEncode(f *testing.F) {
	f.Add("example.org.", "key.", "dot", "ns1")
	f.Add("\xff\\255\"", "\x00", "\u2028", "\xed\xa0\x80")
	f.Fuzz(func(t *testing.T, name, key, alpn, sni string) {
		e := *sampleEvents()["decision-allowed-tls"]
		e.QueryName, e.TSIG.Key, e.TLS.ALPN, e.TLS.ServerName, e.TLS.Subject = name, key, alpn, sni, name+key
		e.TLS.Names = []string{sni, name, key}
		event := e.Encode()
		if len(event) > trail.MaxEvent || !json.Valid(event) || !utf8.Valid(event) {
			t.Fatalf("%d bytes: %q", len(event), event)
		}
	})
}

// An Extra field that nobody declared is left out, and the event says so.
func TestEncodeUnknownExtra(t *testing.T) {
	e := &Event{Action: ActionStop, Extra: map[string]any{"coredns.xfr.unknown": 1}}
	if m := audittest.Members(t, e.Encode()); m["coredns.xfr.unknown"] != nil || m["coredns.xfr.truncated"] != true {
		t.Error(m)
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, name := range []string{"decision-allowed", "decision-allowed-tls", "end-complete"} {
		e := sampleEvents()[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = e.Encode()
			}
			b.ReportMetric(float64(len(e.Encode())), "bytes/event")
		})
	}
}
