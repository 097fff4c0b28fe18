// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/xfrguard/xfrguard/interop/zonegen"
)

// origin is the zone that honest secondaries are after, bigOrigin one beside it under the
// same rules and limits. The smaller one fits into the kernel's send buffer of one
// connection, so that a server may be rid of it though nobody reads; the big one does not.
const (
	origin    = "hostile.test."
	bigOrigin = "big.test."
)

// The zone of 60,000 ordinary records takes 2 MB on the wire. The bigger one has texts of
// 1.8 kB: 7 MB, or 4 MB for clients with slow lines.
const (
	zoneRecords = 60_000
	bigRecords  = 4000
	slowRecords = 2250
)

// writeZone writes a zone into path, at once.
func writeZone(path, origin string, serial uint32, records int) error {
	text := zonegen.Bulk(origin, serial, 5) // the apex
	if origin == bigOrigin {
		text += texts(records - 5)
	} else {
		text = zonegen.Bulk(origin, serial, records)
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		return fmt.Errorf("write the zone: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write the zone: %w", err)
	}
	return nil
}

// texts is count records of seven strings of 250 octets each.
func texts(count int) string {
	var b strings.Builder
	for i := range count {
		fmt.Fprintf(&b, "text%d 300 IN TXT", i)
		for j := range 7 {
			fmt.Fprintf(&b, " \"%s%08d\"", strings.Repeat(string(rune('a'+j)), 242), i)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
