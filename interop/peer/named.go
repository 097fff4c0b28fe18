// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"fmt"
	"strings"
	"testing"
)

// named is BIND 9.
var named = Software{Name: "named", Version: []string{"named", "-v"}, configure: configureNamed}

func configureNamed(t testing.TB, c config) []string {
	var b strings.Builder
	tls, allowNotify := notifyNamed(c)
	b.WriteString(tls)
	// max-records-per-type: since 9.18.28 named takes no set of more than 100 records
	// (CVE-2024-1737), and refuses the whole zone that has one.
	tlsListener := ""
	if c.TLSPort != 0 {
		tlsListener = fmt.Sprintf("\tlisten-on port %d tls own { 127.0.0.1; };\n", c.TLSPort)
	}
	timers := ""
	if c.OwnTimers {
		timers = "\tmin-refresh-time 1;\n\tmin-retry-time 1;\n"
	}
	fmt.Fprintf(&b, `options {
	directory "%[1]s";
	pid-file "%[1]s/named.pid";
	session-keyfile "%[1]s/session.key";
	lock-file none;
	listen-on port %[2]d { 127.0.0.1; };
%[3]s	listen-on-v6 { none; };
	recursion no;
	dnssec-validation no;
	empty-zones-enable no;
	allow-query { 127.0.0.1; };
	allow-transfer { 127.0.0.1; };
	allow-notify { %[4]s; };
	notify no;
	max-records-per-type 0;
	max-types-per-name 0;
	serial-query-rate 1000;
	tcp-clients 50;
%[5]s};
controls { };
`, c.Dir, c.Port, tlsListener, c.primary(), timers)
	for _, k := range c.keys() {
		fmt.Fprintf(&b, "key %q { algorithm %s; secret %q; };\n", k.Short(), k.Alg(), k.Secret)
	}
	zones := ""
	for _, z := range c.Zones {
		source := ""
		if z.Source != "" {
			source = "transfer-source " + z.Source + "; "
		}
		zones += fmt.Sprintf("zone %q { type secondary; file %q; masterfile-format text; %s%sprimaries port %d { %s key %q; }; };\n",
			z.short(), z.file(), allowNotify(z), source, c.Primary, c.primary(), z.Key.Short())
	}
	if c.source() != "" { // outside a view it would try any other address after a failure
		zones = "view all {\n" + zones + "};\n"
	}
	b.WriteString(zones)
	WriteFile(t, c.path("named.conf"), b.String())
	return []string{"named", "-g", "-n", "2", "-c", c.path("named.conf")}
}
