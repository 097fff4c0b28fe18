// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// TransferLimit bounds one Transfer: some servers send without end.
const TransferLimit = 20 * time.Second

// Transfer fetches zone from server (HOST:PORT) by AXFR, signed with key unless
// that is nil, and returns the records of all messages, both SOAs included. It
// gives up when ctx ends or after TransferLimit.
func Transfer(ctx context.Context, server, zone string, key *Key) ([]dns.RR, error) {
	ctx, cancel := context.WithTimeout(ctx, TransferLimit)
	defer cancel()
	conn, err := (&dns.Client{Net: "tcp"}).DialContext(ctx, server)
	if err != nil {
		return nil, fmt.Errorf("AXFR of %s: connect: %w", zone, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	q := new(dns.Msg)
	q.SetAxfr(zone)
	tr := &dns.Transfer{Conn: conn, ReadTimeout: TransferLimit}
	if key != nil {
		q.SetTsig(key.Name, key.Algorithm, 300, time.Now().Unix())
		tr.TsigSecret = map[string]string{key.Name: key.Secret}
	}
	envelopes, err := tr.In(q, server)
	if err != nil {
		return nil, fmt.Errorf("AXFR of %s from %s: %w", zone, server, err)
	}
	var rrs []dns.RR
	for e := range envelopes {
		if e.Error != nil {
			err = e.Error // go on: the channel must be drained
			continue
		}
		rrs = append(rrs, e.RR...)
	}
	if err != nil {
		return nil, fmt.Errorf("AXFR of %s from %s broke off after %d records: %w", zone, server, len(rrs), err)
	}
	return rrs, nil
}
