// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/miekg/dns"
)

// Incremental sends one IXFR from the address source, signed with key, and returns the
// records of all messages, whose signatures it does not check. Other than dig and
// miekg/dns it reads on when the answer begins with the very serial that it claims to
// have. It knows the whole zone, a difference of one sequence, and a SOA alone.
func Incremental(ctx context.Context, server, source, zone string, key Key, serial uint32) ([]dns.RR, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: TransferLimit}
	raw, err := dialer.DialContext(ctx, "tcp", server)
	if err != nil {
		return nil, fmt.Errorf("IXFR of %s: connect: %w", zone, err)
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(TransferLimit)); err != nil {
		return nil, fmt.Errorf("IXFR of %s: %w", zone, err)
	}
	conn := &dns.Conn{Conn: raw, TsigSecret: map[string]string{key.Name: key.Secret}}
	q := new(dns.Msg)
	q.SetIxfr(zone, serial, ".", ".")
	q.SetTsig(key.Name, key.Algorithm, 300, time.Now().Unix())
	if err := conn.WriteMsg(q); err != nil {
		return nil, fmt.Errorf("IXFR of %s: %w", zone, err)
	}
	var rrs []dns.RR
	for {
		var m dns.Msg
		b, err := conn.ReadMsgHeader(nil)
		if err == nil {
			err = m.Unpack(b)
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("IXFR of %s broke off after %d records: %w", zone, len(rrs), err)
		case m.Rcode != dns.RcodeSuccess || len(m.Answer) == 0:
			return nil, fmt.Errorf("IXFR of %s: %s and %d records", zone, dns.RcodeToString[m.Rcode], len(m.Answer))
		}
		if rrs = append(rrs, m.Answer...); over(rrs) {
			return rrs, nil
		}
	}
}

// over reports whether nothing more will come.
func over(rrs []dns.RR) bool {
	first, ok := rrs[0].(*dns.SOA)
	if !ok || len(rrs) == 1 {
		return true
	}
	want := 2 // of a whole zone
	if second, ok := rrs[1].(*dns.SOA); ok && second.Serial != first.Serial {
		want = 3
	}
	for _, rr := range rrs {
		if soa, ok := rr.(*dns.SOA); ok && soa.Serial == first.Serial {
			want--
		}
	}
	return want <= 0
}
