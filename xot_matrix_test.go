// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/evidence/catest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// The matrix: every transport, ALPN, certificate, signature and address against every
// kind of rule and every client_auth, over real sockets. What is expected stands in
// wantHandshake and wantAnswer, which know the design and the RFCs and nothing of the
// code under test.

// identities makes the certificates.
func identities(t *testing.T, ca *catest.CA) map[string]*catest.Identity {
	t.Helper()
	made := map[string]*catest.Identity{
		"expired":       ca.Client(t, "ns2.example.net", catest.Expired),
		"not yet valid": ca.Client(t, "ns2.example.net", catest.NotYetValid),
		"server only":   ca.Client(t, "ns2.example.net", catest.ForServers),
		"other CA":      catest.New(t).Client(t, "ns2.example.net"),
		"self-signed":   catest.SelfSignedClient(t, "ns2.example.net"),
		"CN only":       ca.Client(t, "ns2.example.net", func(c *x509.Certificate) { c.DNSNames = nil }),
		"right pin":     catest.SelfSignedClient(t, "whatever.invalid"),
		"old pin":       catest.SelfSignedClient(t, "whatever.invalid", catest.Expired),
		"server pin":    catest.SelfSignedClient(t, "whatever.invalid", catest.ForServers),
	}
	for what, k := range certKinds {
		if made[what] == nil {
			made[what] = ca.Client(t, "CN of no matter", catest.Sans(k.name))
		}
	}
	return made
}

// matrix is one server with all the rules.
type matrix struct {
	mode string
	s    *xfrtest.Server
	ids  map[string]*catest.Identity

	mu     sync.Mutex
	next   uint16 // message ID
	sent   map[uint16]cell
	denied [][]byte // events
}

func matrixCorefile(mode string, ids map[string]*catest.Identity) string {
	var b strings.Builder
	zones := audittest.SortedKeys(ruleKinds)
	fmt.Fprintf(&b, "dns://test:0 tls://test:0 {\n\tbind 127.0.0.1\n\ttls DIR/cert.pem DIR/key.pem %s\n", xfrtest.ClientAuth(mode))
	fmt.Fprintf(&b, "\ttsig {\n\t\tsecret a.example.net. %s\n\t\tsecret b.example.net. %s\n\t}\n", xfrtest.SecretA, xfrtest.SecretB)
	for _, z := range zones {
		fmt.Fprintf(&b, "\txfrguard %s.test {\n", z)
		for _, r := range ruleKinds[z] {
			text := strings.NewReplacer("PIN3", ids["server pin"].Pin, "PIN2", ids["old pin"].Pin, "PIN", ids["right pin"].Pin).Replace(r.text)
			fmt.Fprintf(&b, "\t\tallow as %s net 127.0.0.1 %s\n", r.name, text)
		}
		fmt.Fprintf(&b, "\t\trate 100000/1s burst 100000\n\t\tconcurrent 64 per-client 64\n\t\taudit file DIR/audit.log\n\t}\n")
	}
	fmt.Fprintf(&b, "\tfile DIR/db %s.test\n}\n", strings.Join(zones, ".test "))
	return b.String()
}

// TestMatrix asks everything. Each connection asks for all zones with all signatures,
// pipelined, and gets the answers in that order.
func TestMatrix(t *testing.T) {
	ca := catest.New(t)
	ids := identities(t, ca)
	cert, key := ca.Issue(t, "ns1.example.org")
	files := map[string]string{
		"cert.pem": cert, "key.pem": key, "ca.pem": ca.Pem,
		"db": "@ 60 IN SOA ns1.test. h.test. 7 7200 3600 1209600 300\n@ 60 IN NS ns1.test.\nwww 60 IN A 192.0.2.80\n",
	}
	for i, mode := range clientAuths {
		t.Run(mode, func(t *testing.T) {
			m := &matrix{mode: mode, s: xfrtest.Serve(t, matrixCorefile(mode, ids), files), ids: ids, sent: make(map[uint16]cell)}
			m.next = uint16(i) * 10000 // the same message in the same second would be a replay
			m.intercept(t)
			var work []cell
			for _, inside := range []bool{true, false} {
				work = append(work, cell{mode: mode, transport: "tcp", inside: inside})
				for _, cert := range append(audittest.SortedKeys(certKinds), "") {
					for _, alpn := range []string{"", "dot", "h2"} {
						for _, version := range []string{"tls1.2", "tls1.3"} {
							work = append(work, cell{mode: mode, transport: version, alpn: alpn, cert: cert, inside: inside})
						}
					}
				}
			}
			m.askAll(t, work)
			m.checkEvents(t)
		})
	}
}

// intercept takes denials where they would be folded and written: a flood of them is
// counted, and this test wants to see each.
func (m *matrix) intercept(t *testing.T) {
	t.Helper()
	for _, g := range latestInstance().guards {
		for _, d := range g.directives {
			a := d.audit
			a.Fold.Mu.Lock()
			a.Fold.Closed = true // nothing is folded any more
			a.Fold.Emit = func(e *audit.Event) {
				if e.ID == "" {
					e.ID = audit.NewID() // as postFolded does
				}
				audit.Stamp(e)
				line := e.Encode()
				m.mu.Lock()
				defer m.mu.Unlock()
				m.denied = append(m.denied, line)
			}
			a.Fold.Mu.Unlock()
		}
	}
}

func (m *matrix) askAll(t *testing.T, work []cell) {
	t.Helper()
	todo := make(chan cell)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for c := range todo {
				m.connect(t, c)
			}
		})
	}
	for _, c := range work {
		todo <- c
	}
	close(todo)
	wg.Wait()
}

// connect opens the connection of a cell and asks for everything.
func (m *matrix) connect(t *testing.T, c cell) {
	from := "127.0.0.1"
	if !c.inside {
		from = "127.0.0.9"
	}
	scheme, config := "dns", (*tls.Config)(nil)
	if c.transport != "tcp" {
		scheme, config = "tls", xfrtest.XoTClient(m.ids[c.cert])
		config.MaxVersion = map[string]uint16{"tls1.2": tls.VersionTLS12, "tls1.3": tls.VersionTLS13}[c.transport]
		if c.alpn != "" {
			config.NextProtos = []string{c.alpn}
		}
	}
	cells, queries := m.queries(t, c)
	answers, err := talk(t, from, m.s.ListenerAddr(t, scheme), config, queries)
	if !c.wantHandshake() {
		if err == nil {
			t.Errorf("%v: a connection", &c)
		}
		return
	}
	if err != nil {
		t.Errorf("%v: %v", &c, err)
		return
	}
	for i, asked := range cells {
		m.check(t, &asked, queries[i], answers[i])
	}
}

// queries makes a query for every zone and signature, and notes their IDs.
func (m *matrix) queries(t *testing.T, c cell) (cells []cell, queries [][]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c.zone = range audittest.SortedKeys(ruleKinds) {
		for _, c.tsig = range []string{"", "wrong", "other", "right"} {
			m.next++
			q := xfrtest.Question(dns.TypeAXFR, xfrtest.WithEDNS, xfrtest.WithName(c.zone+".test."))
			q.Id = m.next
			var b []byte
			switch c.tsig {
			case "":
				b = xfrtest.Packed(t, q)
			case "wrong":
				b = xfrtest.Signed(t, q, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretB)
			case "other":
				b = xfrtest.Signed(t, q, xfrtest.KeyB, dns.HmacSHA256, xfrtest.SecretB)
			case "right":
				b = xfrtest.Signed(t, q, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
			}
			if c.wantHandshake() {
				m.sent[q.Id] = c
			}
			cells, queries = append(cells, c), append(queries, b)
		}
	}
	return cells, queries
}

// talk sends all queries at once and reads one message for each.
func talk(t *testing.T, from, addr string, config *tls.Config, queries [][]byte) ([]*dns.Msg, error) {
	conn, err := xfrtest.DialFrom(t, from, addr, config)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	var all bytes.Buffer
	for _, q := range queries {
		all.Write([]byte{byte(len(q) >> 8), byte(len(q))})
		all.Write(q)
	}
	if _, err := conn.Write(all.Bytes()); err != nil {
		return nil, err
	}
	var answers []*dns.Msg
	for range queries {
		length := make([]byte, 2)
		if _, err := io.ReadFull(conn, length); err != nil {
			return nil, err
		}
		b := make([]byte, int(length[0])<<8|int(length[1]))
		if _, err := io.ReadFull(conn, b); err != nil {
			return nil, err
		}
		answers = append(answers, new(dns.Msg))
		if err := answers[len(answers)-1].Unpack(b); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// check holds one answer against the oracle.
func (m *matrix) check(t *testing.T, c *cell, query []byte, got *dns.Msg) {
	want := c.wantAnswer()
	if id := uint16(query[0])<<8 | uint16(query[1]); got.Id != id {
		t.Errorf("%v: the answer to %d stands where the one to %d belongs", c, got.Id, id)
	}
	if got.Rcode != want.rcode || xfrtest.IsZone(got) != (want.reason == "policy-allow") {
		t.Errorf("%v: got %s with %d records, want %s (%s)", c, dns.RcodeToString[got.Rcode], len(got.Answer), dns.RcodeToString[want.rcode], want.reason)
	}
	ede := -1
	if want.rcode == dns.RcodeRefused && want.reason != "client-not-allowed" {
		ede = 18
	}
	if xfrtest.EDEOf(got) != ede {
		t.Errorf("%v: EDE %d, want %d", c, xfrtest.EDEOf(got), ede)
	}
	proven := (c.tsig == "right" || c.tsig == "other") && c.inside
	if sig := got.IsTsig(); (sig != nil) != (c.tsig != "" && c.inside) || sig != nil && (sig.MACSize > 0) != proven {
		t.Errorf("%v: TSIG in the answer %v", c, sig)
	}
}

// checkEvents waits until every cell has its decision and compares them.
func (m *matrix) checkEvents(t *testing.T) {
	t.Helper()
	decisions := m.decisions(t)
	if len(decisions) != len(m.sent) {
		t.Errorf("%d decisions on record of %d cells", len(decisions), len(m.sent))
	}
	for id, c := range m.sent {
		e, ok := decisions[fmt.Sprint(id)]
		if !ok {
			t.Errorf("%v: not on record", &c)
			continue
		}
		want := c.wantAnswer()
		for field, value := range c.wantFields(want) {
			if e[field] != value {
				t.Errorf("%v: %s is %v, want %v", &c, field, e[field], value)
			}
		}
	}
}

// wantFields are the fields that a cell's decision must have; nil is absent.
func (c *cell) wantFields(want answer) map[string]any {
	f := map[string]any{
		"event.reason": want.reason, "dns.response_code": dns.RcodeToString[want.rcode], "coredns.zone": c.zone + ".test.",
		"rule.name": nil, "coredns.xfr.rule.nearest": nil, "coredns.xfr.transport": c.transport[:3],
		"tls.established": nil, "tls.version": nil, "tls.next_protocol": nil, "coredns.xfr.rule.tls_until": nil,
	}
	switch {
	case want.reason == "policy-allow":
		f["rule.name"] = want.rule
	case want.rule != "":
		f["coredns.xfr.rule.nearest"] = want.rule
	}
	if until := map[string]string{"past": "2020", "future": "2999"}[c.zone]; until != "" && c.transport == "tcp" && want.rule != "" {
		f["coredns.xfr.rule.tls_until"] = until + "-01-01T00:00:00.000000000Z"
	}
	if c.transport == "tcp" {
		return f
	}
	f["tls.established"], f["tls.version"] = true, strings.TrimPrefix(c.transport, "tls")
	if c.alpn != "" {
		f["tls.next_protocol"] = c.alpn
	}
	f["coredns.xfr.tls.verified"] = nil
	if c.cert != "" && c.mode != "nocert" {
		k := certKinds[c.cert]
		// For an address that is in no rule no chain is built, whatever the handshake did.
		f["coredns.xfr.tls.verified"] = k.verifies && c.inside
	}
	return f
}

// decisions waits until the audit file has the allowed ones, and returns all by message ID.
func (m *matrix) decisions(t *testing.T) map[string]map[string]any {
	t.Helper()
	var text []byte
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		text, _ = os.ReadFile(filepath.Join(m.s.Dir, "audit.log"))
		if bytes.Count(text, []byte(`"event.action":"zone-transfer-decision"`)) >= len(m.sent)-len(m.denied) {
			break
		}
	}
	found := make(map[string]map[string]any)
	for i, line := range append(m.denied, audittest.SplitLines(text)...) {
		if i%97 == 0 && i < len(m.denied) {
			audittest.ValidateEvents(t, audittest.Seal(t, line)...)
		}
		var e map[string]any
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		if e["event.action"] != "zone-transfer-decision" {
			continue
		}
		id := e["dns.id"].(string)
		if found[id] != nil {
			t.Errorf("two decisions about message %s", id)
		}
		found[id] = e
	}
	return found
}
