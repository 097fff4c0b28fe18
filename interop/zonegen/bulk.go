// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package zonegen writes the zones of the interoperability tests: an ordinary one
// of any size, one with every awkward record, and signed ones. Equal arguments
// give equal text (but for the keys and signatures of the signed zones).
package zonegen

import (
	"bytes"
	"fmt"
)

// Bulk returns the text of an ordinary zone of exactly records records (20 at
// least): delegations with glue, addresses, mail exchangers, texts, aliases and
// services. Serials that differ by one differ in about one record of ten:
// removed, added, or changed in data or TTL.
func Bulk(origin string, serial uint32, records int) string {
	w := &zone{}
	w.head(origin, serial)
	edit := int(serial % 10)
	for i := 0; w.records < records; i++ {
		room := records - w.records
		ttl := 300
		if i%10 == edit {
			ttl = 300 + int(serial%1000)
		}
		switch {
		case i%40 == edit: // hosts that come and go with the serial
			w.rr("gone%d-%d %d IN A %s", i, serial, ttl, v4(i))
		case i%8 == 0 && room >= 2:
			w.rr("host%d %d IN A %s", i, ttl, v4(i))
			w.rr("host%d %d IN AAAA 2001:db8::%x:%x", i, ttl, i>>16, i&0xffff)
		case i%8 == 1 && room >= 4:
			w.rr("child%d %d IN NS ns1.child%d", i, ttl, i)
			w.rr("child%d %d IN NS ns2.example.net.", i, ttl)
			w.rr("ns1.child%d %d IN A %s", i, ttl, v4(i))
			w.rr("ns1.child%d %d IN AAAA 2001:db8:1::%x", i, ttl, i)
		case i%8 == 2 && room >= 2:
			w.rr("mail%d %d IN MX 10 host%d", i, ttl, i-2)
			w.rr("mail%d %d IN MX 20 mx.example.net.", i, ttl)
		case i%8 == 3:
			w.rr(`text%d %d IN TXT "v=spf1 ip4:%s -all" "serial %d"`, i, ttl, v4(i), serial-serial%2)
		case i%8 == 4:
			w.rr("alias%d %d IN CNAME host%d", i, ttl, i-4)
		case i%8 == 5:
			w.rr("_sip._tcp.s%d %d IN SRV 10 %d 5060 host%d", i, ttl, i%100, i-5)
		case i%8 == 6:
			w.rr("deep.%d.x%d %d IN A %s", i%7, i, ttl, v4(i))
		default:
			w.rr("host%d %d IN A %s", i, ttl, v4(i))
		}
	}
	return w.String()
}

// v4 spreads i over 198.18.0.0/15 (RFC 2544).
func v4(i int) string {
	return fmt.Sprintf("198.%d.%d.%d", 18+i>>16&1, i>>8&0xff, i&0xff)
}

// zone is a zone file being written.
type zone struct {
	bytes.Buffer
	records int
}

// head writes the apex. Refresh, retry and expiry are so long that within a test
// only a NOTIFY can make a secondary look again.
func (z *zone) head(origin string, serial uint32) {
	fmt.Fprintf(z, "$ORIGIN %s\n$TTL 3600\n", origin)
	z.rr("@ IN SOA ns1 hostmaster %d 864000 864000 8640000 60", serial)
	z.rr("@ IN NS ns1")
	z.rr("@ IN NS ns2.example.net.")
	z.rr("ns1 IN A 192.0.2.53")
	z.rr("ns1 IN AAAA 2001:db8::53")
}

// rr writes one record as a line of its own.
func (z *zone) rr(format string, args ...any) {
	fmt.Fprintf(z, format+"\n", args...)
	z.records++
}
