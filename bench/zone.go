// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// origin is the zone that every server serves.
const origin = "bench.test."

// fixedRecords are the apex (SOA and two NS) and the two addresses in every zone.
const fixedRecords = 5

// zone is a zone of a mixture of records as delegation-heavy zones have it: 40 % A,
// 19 % NS, 13 % AAAA, 9 % MX, 8 % TXT, 7 % CNAME, 4 % SRV. Equal zones give equal text.
type zone struct {
	label   string // as the user named it
	records int    // the SOA once
	serial  uint32
	edits   []edit
}

// edit changes every stride-th record from offset on, count of them, in its data.
type edit struct{ offset, stride, count int }

// parseZones reads sizes like 1k,100k,1m.
func parseZones(list string) ([]*zone, error) {
	var zones []*zone
	for label := range strings.SplitSeq(list, ",") {
		number, unit := strings.ToLower(label), 1
		if n, ok := strings.CutSuffix(number, "k"); ok {
			number, unit = n, 1000
		} else if n, ok := strings.CutSuffix(number, "m"); ok {
			number, unit = n, 1_000_000
		}
		n, err := strconv.Atoi(number)
		if n *= unit; err != nil || n < 100 || n > 9_000_000 {
			return nil, fmt.Errorf("zone size %q: want 100 to 9m records, like 1k, 100k or 1m", label)
		}
		zones = append(zones, &zone{label: label, records: n, serial: 1})
	}
	return zones, nil
}

// axfr is how many records an AXFR has: the SOA comes twice (RFC 5936 §2.2).
func (z *zone) axfr() int { return z.records + 1 }

// ixfr is how many records an IXFR of one version with that many changes has: each
// record out and in again, and four SOAs (RFC 1995 §4).
func ixfr(changes int) int { return 2*changes + 4 }

// change makes the next version: count records get other data.
func (z *zone) change(count int) {
	z.serial++
	z.edits = append(z.edits, edit{offset: len(z.edits), stride: (z.records - fixedRecords) / count, count: count})
}

// version is the number of the last edit that changed record i, 0 for none.
func (z *zone) version(i int) int {
	for n := len(z.edits) - 1; n >= 0; n-- {
		e := z.edits[n]
		if at := i - e.offset; at >= 0 && at%e.stride == 0 && at/e.stride < e.count {
			return n + 1
		}
	}
	return 0
}

// write writes the zone file, by a rename, so that no reader sees half of it.
func (z *zone) write(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "zone-")
	if err != nil {
		return fmt.Errorf("write zone: %w", err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	fmt.Fprintf(w, "$ORIGIN %s\n$TTL 3600\n@ IN SOA ns1 hostmaster %d 864000 864000 8640000 300\n", origin, z.serial)
	w.WriteString("@ IN NS ns1\n@ IN NS ns2\nns1 IN A 192.0.2.53\nns2 IN A 192.0.2.54\n")
	for i := range z.records - fixedRecords {
		writeRecord(w, i, z.version(i))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write zone: %w", err)
	}
	if err := os.Chmod(f.Name(), 0o644); err != nil {
		return fmt.Errorf("write zone: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write zone: %w", err)
	}
	return nil
}

// writeRecord writes record i in its v-th spelling. Two neighbours may share an owner,
// but never with equal type and data.
func writeRecord(w *bufio.Writer, i, v int) {
	host := i * 2 / 3
	switch k := i * 37 % 100; {
	case k < 40:
		fmt.Fprintf(w, "host-%06d IN A %d.%d.%d.%d\n", host, 10+v, i>>16&0xff, i>>8&0xff, i&0xff)
	case k < 59:
		fmt.Fprintf(w, "sub-%06d IN NS ns%d.v%d.sub-%06d\n", i/2, i&1, v, i/2)
	case k < 72:
		fmt.Fprintf(w, "host-%06d IN AAAA 2001:db8:%x::%x:%x\n", host, v, i>>16, i&0xffff)
	case k < 81:
		fmt.Fprintf(w, "host-%06d IN MX %d mail\n", host, 10+v)
	case k < 89:
		fmt.Fprintf(w, "host-%06d IN TXT \"v=spf1 include:_spf%d.example.net -all\"\n", host, i%10+10*v)
	case k < 96:
		fmt.Fprintf(w, "www.host-%06d IN CNAME host-%06d\n", i, host+v)
	default:
		fmt.Fprintf(w, "_sip._tcp.host-%06d IN SRV 1 %d 5060 host-%06d\n", host, 2+v, host)
	}
}
