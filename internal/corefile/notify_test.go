// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package corefile

import "testing"

// Which IPv6 addresses without brackets read like one with a port behind it.
func TestMaybePort(t *testing.T) {
	for s, want := range map[string]bool{
		"2001:db8::53:5300": true, "2001:db8::53:53": true, "2001:db8::53:853": true, "::1:1053": true, "fe80::2:5300": true,
		"2001:db8::53": false, "2001:db8::5:3": false, "2001:db8::53:a5": false, "2001:db8:0:0:0:0:0:5300": false,
		"[2001:db8::53]:5300": false, "[2001:db8::53:5300]:53": false, "fe80::2:5300%eth0": false, "::ffff:192.0.2.1": false,
		"192.0.2.53:5300": false, "192.0.2.53": false, "::": false, "": false,
	} {
		if got := maybePort(s); got != want {
			t.Errorf("%s: got %v, want %v", s, got, want)
		}
	}
}
