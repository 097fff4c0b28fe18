// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"testing"

	"github.com/miekg/dns"
)

// TestRcodeName: an rcode that nobody has named is told by its number.
func TestRcodeName(t *testing.T) {
	for rcode, want := range map[int]string{dns.RcodeServerFailure: "SERVFAIL", 13: "RCODE13", 4095: "RCODE4095"} {
		if got := RcodeName(rcode); got != want {
			t.Errorf("rcode %d is %q, want %q", rcode, got, want)
		}
	}
}
