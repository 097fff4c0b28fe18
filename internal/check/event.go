// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"bufio"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/policy"
)

// record is what an audit event tells of a request.
type record struct {
	Time      time.Time `json:"@timestamp"`
	Action    string    `json:"event.action"`
	Reason    string    `json:"event.reason"`
	EventID   string    `json:"event.id"`
	ID        string    `json:"coredns.xfr.id"`
	Client    string    `json:"client.ip"`
	Claimed   string    `json:"coredns.xfr.client.claimed"`
	Transport string    `json:"coredns.xfr.transport"`
	Name      string    `json:"dns.question.name"`
	Type      string    `json:"dns.question.type"`
	Class     string    `json:"dns.question.class"`
	Serial    uint32    `json:"coredns.xfr.serial.requested"`
	Status    string    `json:"coredns.xfr.tsig.status"`
	Key       string    `json:"coredns.xfr.tsig.key"`
	Algorithm string    `json:"coredns.xfr.tsig.algorithm"`
	TLS       string    `json:"tls.version"`
	ALPN      string    `json:"tls.next_protocol"`
	Names     []string  `json:"tls.client.x509.alternative_names"`
	SPKI      string    `json:"coredns.xfr.tls.spki"`
	Verified  bool      `json:"coredns.xfr.tls.verified"`
	View      string    `json:"coredns.view"`
}

// Event is a request out of an audit log, and what was decided then.
type Event struct {
	Request policy.Request
	View    string
	Reason  policy.Reason
}

// ErrNoEvent says that no decision in the log has the identifier.
var ErrNoEvent = errors.New("no decision with this identifier")

// FindEvent returns the request of the decision with the identifier: an event.id or a
// coredns.xfr.id, as lines of the audit log have them.
func FindEvent(log io.Reader, id string) (*Event, error) {
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r record
		if json.Unmarshal(lines.Bytes(), &r) != nil || r.Client == "" || r.EventID != id && r.ID != id {
			continue
		}
		if r.Action == "zone-transfer-decision" {
			return r.event()
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	return nil, fmt.Errorf("%w: %s", ErrNoEvent, id)
}

// event makes the request that the decision was about. What the record does not say (that
// a certificate was inside its dates, and may be used by clients) is taken for true where
// its chain was verified or its key proven.
func (r *record) event() (*Event, error) {
	client, err := netip.ParseAddr(r.Client)
	if err != nil {
		return nil, fmt.Errorf("client.ip of the event: %w", err)
	}
	q := policy.Request{
		Client: client, ClientUntrusted: r.Reason == string(policy.ReasonProxyUntrusted),
		Zone: dns.CanonicalName(r.Name), Type: dns.StringToType[r.Type], Class: dns.StringToClass[r.Class], Serial: r.Serial,
		Transport: policy.Transport(r.Transport), Now: r.Time,
		Malformed: r.Reason == string(policy.ReasonMalformed), Replayed: r.Reason == string(policy.ReasonTSIGReplay),
		TSIG: policy.TSIGProof{Status: policy.TSIGStatus(r.Status), Key: r.Key, Algorithm: r.Algorithm},
	}
	if r.Status == "" {
		q.TSIG.Status = policy.TSIGAbsent
	}
	if r.TLS != "" {
		q.TLS = policy.TLSProof{Version: tlsVersion(r.TLS), ALPN: r.ALPN}
	}
	if spki, err := hex.DecodeString(r.SPKI); err == nil && len(spki) == len(q.TLS.SPKI) {
		q.TLS.HasCert, q.TLS.Current, q.TLS.Verified, q.TLS.ClientUse = true, true, r.Verified, r.Verified
		copy(q.TLS.SPKI[:], spki)
		for _, name := range r.Names {
			q.TLS.Names = append(q.TLS.Names, dns.CanonicalName(name))
		}
	}
	return &Event{Request: q, View: r.View, Reason: policy.Reason(r.Reason)}, nil
}

// tlsVersion reads "1.3".
func tlsVersion(s string) uint16 {
	switch s {
	case "1.3":
		return tls.VersionTLS13
	case "1.2":
		return tls.VersionTLS12
	}
	return tls.VersionTLS10
}
