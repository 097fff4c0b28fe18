// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrtest

import (
	"fmt"
	"strings"
)

// ZoneOrg is the zone most tests serve.
const ZoneOrg = `$ORIGIN example.org.
$TTL 3600
@     IN SOA ns1 hostmaster 7 7200 3600 1209600 300
@     IN NS  ns1
ns1   IN A   192.0.2.1
www   IN A   192.0.2.80
*.dev IN TXT "a wildcard"
`

// ManyHosts is ZoneOrg with n more records of about 100 octets.
func ManyHosts(n int) string {
	var b strings.Builder
	b.WriteString(ZoneOrg)
	for i := range n {
		fmt.Fprintf(&b, "h%d IN TXT \"%s\"\n", i, strings.Repeat("x", 80))
	}
	return b.String()
}

// ZoneOfTexts is example.org with n texts of that length beside it.
func ZoneOfTexts(n, length int) string {
	var b strings.Builder
	b.WriteString(ZoneOrg)
	for i := range n {
		fmt.Fprintf(&b, "h%d IN TXT \"%s\"\n", i, strings.Repeat("x", length))
	}
	return b.String()
}

// SlowHosts is the number of texts in SlowZone.
const SlowHosts = 50000

// SlowZone is a zone that no kernel buffers whole.
func SlowZone() string { return ZoneOfTexts(SlowHosts, 240) }
