// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// denial is a transfer that must be refused, and how.
type denial struct {
	name   string
	from   string    // source address; each stranger has its own network, for denials are folded by it
	key    *peer.Key // nil: unsigned
	rcode  int
	tsig   int // error of the answer's TSIG; noTSIG when it must have none
	signed bool
	ede    int // extended error of the answer (RFC 8914); noEDE when it must have none
	reason string

	says map[string]string // what the clients print, as regular expressions
}

const (
	noTSIG = -1
	noEDE  = -1
)

func denials() []denial {
	unknown := peer.Key{Name: "unknown.key.", Algorithm: sha256Key.Algorithm, Secret: sha256Key.Secret}
	forged := peer.Key{Name: sha256Key.Name, Algorithm: sha256Key.Algorithm, Secret: sha512Key.Secret}
	refused := map[string]string{"dig": "Transfer failed", "kdig": "'REFUSED'", "drill": "rcode: REFUSED"}
	return []denial{
		{
			name: "unsigned", from: "127.0.0.1", rcode: dns.RcodeRefused, tsig: noTSIG,
			ede: int(dns.ExtendedErrorCodeProhibited), reason: "tsig-required", says: refused,
		},
		{
			name: "another zone's key", from: "127.0.0.1", key: &sha512Key, rcode: dns.RcodeRefused, tsig: dns.RcodeSuccess, signed: true,
			ede: int(dns.ExtendedErrorCodeProhibited), reason: "tsig-key-not-allowed",
			says: map[string]string{"dig": "Transfer failed", "kdig": "'REFUSED'"},
		},
		{
			name: "unknown key", from: "127.0.0.1", key: &unknown, rcode: dns.RcodeNotAuth, tsig: dns.RcodeBadKey,
			ede: noEDE, reason: "tsig-bad-key", says: map[string]string{"dig": "BADKEY", "kdig": "BADKEY"},
		},
		{
			name: "wrong secret", from: "127.0.0.1", key: &forged, rcode: dns.RcodeNotAuth, tsig: dns.RcodeBadSig,
			ede: noEDE, reason: "tsig-bad-signature", says: map[string]string{"dig": "BADSIG", "kdig": "BADSIG"},
		},
		{
			name: "right key, stranger's address", from: "127.3.0.9", key: &sha256Key, rcode: dns.RcodeRefused, tsig: noTSIG,
			ede: noEDE, reason: "client-not-allowed", says: map[string]string{"dig": "Transfer failed"},
		},
		{
			name: "unsigned, stranger's address", from: "127.1.0.9", rcode: dns.RcodeRefused, tsig: noTSIG,
			ede: noEDE, reason: "client-not-allowed", says: refused,
		},
		{
			name: "unknown key, stranger's address", from: "127.2.0.9", key: &unknown, rcode: dns.RcodeRefused, tsig: noTSIG,
			ede: noEDE, reason: "client-not-allowed", says: map[string]string{"dig": "Transfer failed"},
		},
	}
}

// What is denied gets the exact answer, no record of the zone, and one line on
// record; and the clients of others understand that they were refused.
func TestDenied(t *testing.T) {
	if !guarded {
		t.Skip("stock CoreDNS")
	}
	t.Parallel()
	const zone = "bulk256.test."
	port := peer.Port(t)
	primary := startPrimary(t, port, nil, bulk(zone, sha256Key), bulk("bulk512.test.", sha512Key))

	for _, d := range denials() {
		t.Run(d.name, func(t *testing.T) {
			answer, source := ask(t, d, port, zone)
			d.checkAnswer(t, answer)
			made := awaitDecision(t, primary, d.from, source)
			if len(made) != 1 || made[0].Allowed() || made[0].Reason != d.reason || made[0].Outcome != "failure" {
				t.Errorf("on record: %+v, want one denial of %s for %s", made, d.from, d.reason)
			}
			for name, pattern := range d.says {
				out := runClient(t, name, d.clientArgs(name, port, zone)...)
				if !regexp.MustCompile(pattern).MatchString(out) {
					t.Errorf("%s does not say %q:\n%s", name, pattern, out)
				}
				if strings.Contains(out, "IN\tSOA") || strings.Contains(out, "IN\tA\t") {
					t.Errorf("%s got records:\n%s", name, out)
				}
			}
		})
	}
	if pairs := primary.pairs(t); len(pairs) != 0 {
		t.Errorf("allowed transfers on record: %v", pairs)
	}
}

// ask sends one AXFR request with EDNS and returns the first answer, whose TSIG is
// not checked yet, and the port it asked from.
func ask(t *testing.T, d denial, port int, zone string) (answer *dns.Msg, source int) {
	t.Helper()
	dialer := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(d.from)}}
	raw, err := dialer.Dial("tcp", peer.Loopback(port))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	q := new(dns.Msg)
	q.SetAxfr(zone)
	q.SetEdns0(1232, false)
	conn := &dns.Conn{Conn: raw}
	if d.key != nil {
		q.SetTsig(d.key.Name, d.key.Algorithm, 300, time.Now().Unix())
		conn.TsigSecret = map[string]string{d.key.Name: d.key.Secret}
	}
	if err := conn.WriteMsg(q); err != nil {
		t.Fatal(err)
	}
	answer, err = conn.ReadMsg() // verifies the TSIG, if there is one, and says so in err
	if answer == nil {
		t.Fatal(err)
	}
	if d.signed && err != nil {
		t.Errorf("signature of the answer: %v", err)
	}
	return answer, raw.LocalAddr().(*net.TCPAddr).Port
}

func (d denial) checkAnswer(t *testing.T, answer *dns.Msg) {
	t.Helper()
	if answer.Rcode != d.rcode || len(answer.Answer) != 0 {
		t.Errorf("rcode %s and %d records, want %s and none", dns.RcodeToString[answer.Rcode], len(answer.Answer), dns.RcodeToString[d.rcode])
	}
	code, mac := noTSIG, 0
	if tsig := answer.IsTsig(); tsig != nil {
		code, mac = int(tsig.Error), len(tsig.MAC)
	}
	if code != d.tsig || (mac > 0) != d.signed {
		t.Errorf("TSIG error %d with %d hex digits of MAC, want error %d, signed %v", code, mac, d.tsig, d.signed)
	}
	ede := noEDE
	if opt := answer.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				ede = int(e.InfoCode)
			}
		}
	}
	if ede != d.ede {
		t.Errorf("extended error %d, want %d", ede, d.ede)
	}
}

func (d denial) clientArgs(name string, port int, zone string) []string {
	from := map[string]string{"dig": "-b", "kdig": "-b", "drill": "-I"}[name]
	args := []string{"@127.0.0.1", "-p", strconv.Itoa(port), from, d.from}
	if d.key != nil && name == "drill" {
		args = append(args, "-y", d.key.Drill())
	} else if d.key != nil {
		args = append(args, "-y", d.key.Dig())
	}
	return append(args, zone, "AXFR")
}

// awaitDecision returns the decisions about the client's address and port, once there is
// one: a refusal may be answered before it is on record, so that of an earlier client may
// come after the answer to a later one, from the same port of another address too.
func awaitDecision(t *testing.T, p *primary, from string, port int) []peer.Event {
	t.Helper()
	for range 500 {
		events, err := peer.Events(p.Stdout.Lines())
		if err != nil {
			t.Fatal(err)
		}
		made := slices.DeleteFunc(events, func(e peer.Event) bool {
			return e.Action != peer.ActionDecision || e.Client != from || e.Port != port
		})
		if len(made) > 0 {
			return made
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}
