// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package corefile

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestExpect: each line says what the policy really decides, or why not. `over` marks what
// no longer holds only because a date has passed.
func TestExpect(t *testing.T) {
	const rules = `
		deny as stolen net 192.0.2.66
		allow as ns2 net 192.0.2.53 key ns2.
		allow as soon net 192.0.2.54 key ns2. tls until 2027-01-31
		allow as xot net 198.51.100.0/24 cert *.example.net type AXFR
		allow as guest net 192.0.2.55 key ns2. expires 2027-02-01
		allow as spring net 192.0.2.56 key ns2. expires 2027-04-01
		allow as summer net 192.0.2.57 key ns2. expires 2027-07-01`
	tests := []struct{ line, want string }{
		{"allow from 192.0.2.53 key ns2.", ""},
		{"allow from 192.0.2.53 key ns2. by ns2", ""},
		{"allow from 192.0.2.53 key ns2. by soon", "allowed by rule ns2"},
		{"allow from 192.0.2.53 key ns2. algorithm hmac-sha512", ""},
		{"deny from 192.0.2.53 key ns2. algorithm hmac-sha1", ""},
		{"deny from 192.0.2.53", ""},
		{"deny from 192.0.2.53 by ns2", ""}, // the one that came closest
		{"allow from 192.0.2.53", "denied: tsig-required, rule ns2 came closest"},
		{"allow from 192.0.2.53 key k9.", "denied: tsig-bad-key"},
		{"deny from 192.0.2.66 by stolen", ""},
		{"allow from 192.0.2.66 key ns2.", "denied: client-not-allowed, by rule stolen"},
		{"allow from 203.0.113.1 key ns2.", "denied: client-not-allowed"},
		{"allow from 198.51.100.7 san a.example.net", ""},
		{"allow type IXFR from 198.51.100.7 san a.example.net", ""}, // whole zones
		{"deny from 198.51.100.7 san a.b.example.net", ""},
		{"deny from 198.51.100.7 tls", ""},
		{"allow zone example.com from 192.0.2.53 key ns2.", ""},
		{"allow from 192.0.2.54 key ns2. at 2027-01-30", ""},
		{"deny from 192.0.2.54 key ns2. at 2027-02-01", ""},
		{"allow from 192.0.2.54 key ns2. at 2027-02-01", "denied: tls-required, rule soon came closest"},
		{"allow from 192.0.2.54 key ns2.", "over denied: tls-required, rule soon came closest"},
		{"allow from 192.0.2.54 key ns2. by ns2", "denied: tls-required, rule soon came closest"}, // never held
		{"allow from 192.0.2.55 key ns2.", "over denied: rule-expired, rule guest came closest"},
		{"deny from 192.0.2.55 key ns2. by guest", ""},
		{"deny from 192.0.2.56 key ns2.", "allowed by rule spring"}, // that it will hold is no excuse
		{"allow from ::ffff:192.0.2.53 key ns2.", ""},
	}
	now := time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			configs, err := parseText("xfrguard example.org example.com {"+rules+"\n expect "+tt.line+"\n}", ".")
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, u := range TryExpects(configs, now, func(key string) bool { return key == "ns2." }) {
				over := map[bool]string{true: "over "}[u.Over]
				_, text, _ := strings.Cut(u.Text, " it is ")
				got += over + text
				if u.Pos.Line != 9 || !strings.HasPrefix(u.Text, fmt.Sprintf("expect %s: for ", tt.line)) {
					t.Errorf("told as %s", &u.Mistake)
				}
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestExpectOfPatterns: a zone that a pattern covers is named, and the directive that it
// really comes under decides.
func TestExpectOfPatterns(t *testing.T) {
	const block = `xfrguard * {
	allow as wide net 10.0.0.0/8 unsigned
	expect allow zone a.example from 10.0.0.1 by wide
}
xfrguard *.customers.example customers.example {
	allow as narrow net 192.0.2.0/24 unsigned
	expect allow from 192.0.2.1
	expect allow zone x.customers.example from 192.0.2.1 by narrow
	expect deny zone x.customers.example from 10.0.0.1
	expect %s
}`
	for line, want := range map[string]string{
		"deny zone y.customers.example from 198.51.100.1": "",
		"allow zone y.customers.example from 10.0.0.1":    "denied: client-not-allowed",
		"allow zone other.example from 192.0.2.1":         "expect: zone 'other.example.' is none of this directive, which guards customers.example., *.customers.example.",
	} {
		configs, err := parseText(fmt.Sprintf(block, line), ".")
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprint(TryExpects(configs, time.Now(), func(string) bool { return true }))
		}
		if !strings.Contains(got, want) || want == "" && got != "[]" {
			t.Errorf("%s: %s, want %q", line, got, want)
		}
	}
	_, err := parseText("xfrguard * {\n allow net 10.0.0.1 unsigned\n expect allow from 10.0.0.1\n}", ".")
	wantErr(t, err, "Testfile:3 - Error during parsing: expect: this directive has patterns alone, expected 'zone ZONE' with a name that one of them stands for")
}
