// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// TestSignedAnswerFitsUDP: an answer that only its signature makes too long for the client
// is a truncated one without records, signed (RFC 8945 §5.3), and the client that can take
// more, or asks over TCP, gets its SOA.
func TestSignedAnswerFitsUDP(t *testing.T) {
	label := strings.Repeat("n", 60)
	long := strings.Repeat(label+".", 3)
	soa := fmt.Sprintf("$ORIGIN example.org.\n@ 1 IN SOA ns.%s m.%sx. 7 1 1 1 1\n@ 1 IN NS ns.example.net.\n", long, long)
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.0/8 key a.example.net.", ""), map[string]string{"db": soa})
	for _, tt := range []struct {
		network string
		options []func(*dns.Msg)
		limit   int
		whole   bool
	}{
		{"udp", nil, dns.MinMsgSize, false},
		{"udp", []func(*dns.Msg){xfrtest.WithEDNS}, 1232, true},
		{"tcp", nil, dns.MaxMsgSize, true},
	} {
		query := xfrtest.Signed(t, xfrtest.Question(dns.TypeIXFR, append(tt.options, xfrtest.WithSerial(7))...), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
		raw := xfrtest.Ask(t, tt.network, s.Addr(t, tt.network, 0), "", query, 1)[0]
		got := xfrtest.Unpack(t, raw)
		if len(raw) > tt.limit || got.Truncated == tt.whole || len(got.Answer) == 1 != tt.whole || got.Rcode != dns.RcodeSuccess {
			t.Errorf("%s: %d octets, want at most %d, whole %v:\n%s", tt.network, len(raw), tt.limit, tt.whole, got)
		}
		if len(raw) < dns.MinMsgSize && tt.whole {
			t.Errorf("%s: %d octets: this shows nothing", tt.network, len(raw))
		}
		if err := dns.TsigVerify(raw, xfrtest.SecretA, xfrtest.Unpack(t, query).IsTsig().MAC, false); err != nil {
			t.Errorf("%s: %v", tt.network, err)
		}
	}
}
