// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/trail"
)

const (
	ecsVersion = "9.4.0"
	TimeLayout = "2006-01-02T15:04:05.000000000Z07:00"
)

// The caps of the fields, in bytes as they stand in the line. An ordinary name
// of 253 octets fits everywhere; escaped ones may be cut, and are then marked.
const (
	capWord    = 64 // closed lists and other short words of our own
	capName    = 320
	capQuery   = 1024
	capServer  = 256 // SNI
	capALPN    = 32
	CapSubject = 320
	CapSANs    = 640
	capRule    = 128
	capText    = 512
	capSummary = 2560
	capZones   = 1024
)

// Witness is shown every event on its way to a sink. Tests hold all of them against the schema.
var Witness func(event []byte)

// line returns the event for the sinks.
func (e *Event) line() []byte {
	event := e.Encode()
	if Witness != nil {
		Witness(event)
	}
	return event
}

// Encode returns the event as one JSON object without a newline, keys in a fixed
// order. It never exceeds trail.MaxEvent, which leaves room for sequence and chain
// in a line of 4096 bytes: should too many fields be long at once, all caps are
// halved until the whole fits, and the event says so.
func (e *Event) Encode() []byte {
	cut := e.TLS.Settle()
	for shift := uint(0); ; shift++ {
		o := object{buf: make([]byte, 0, 1536), shift: shift, truncated: cut}
		e.put(&o)
		if len(o.buf) <= trail.MaxEvent || shift == 12 {
			return o.buf
		}
	}
}

func (e *Event) put(o *object) {
	spec := specOf(e.Action)
	e.putHead(o, spec)
	e.putEnds(o)
	e.putQuestion(o)
	e.putPolicy(o)
	e.putProof(o)
	e.putTransfer(o)
	e.Suppressed.put(o)
	o.str("error.message", e.Error, capText)
	e.putExtra(o)
	o.raw(process.fields)
	if o.truncated {
		o.flag("coredns.xfr.truncated", true)
	}
	o.buf = append(o.buf, '}')
}

// putHead writes what every event has, the four keys of ecs-logging first.
func (e *Event) putHead(o *object, spec *eventSpec) {
	failed := e.failed(spec)
	level := "info"
	switch {
	case spec.failure && !spec.warns():
		level = "error"
	case failed:
		level = "warn"
	}
	o.buf = append(o.buf, '{')
	o.word("@timestamp", e.Time.UTC().Format(TimeLayout))
	o.word("log.level", level)
	o.str("message", e.message(spec), capText)
	o.word("ecs.version", ecsVersion)
	o.word("event.dataset", "coredns.xfr")
	o.word("event.kind", "event")
	o.list("event.category", []string{spec.category}, capWord)
	types := spec.types
	if e.Action == ActionDecision {
		if e.Allowed {
			types = []string{"allowed", "protocol", "start"}
			if e.Complete {
				types = []string{"allowed", "end", "protocol", "start"}
			}
		} else {
			types = []string{"denied", "protocol"}
		}
	}
	o.list("event.type", types, capWord)
	o.word("event.action", string(e.Action))
	o.word("event.code", string(spec.code))
	outcome := "success"
	if failed {
		outcome = "failure"
	}
	o.word("event.outcome", outcome)
	o.word("event.reason", e.Reason)
	o.word("event.id", e.EventID)
	o.word("coredns.xfr.id", e.ID)
}

func (e *Event) failed(spec *eventSpec) bool {
	switch e.Action {
	case ActionDecision:
		return !e.Allowed
	case ActionEnd:
		return !EndReason(e.Reason).good()
	case ActionFilesChanged:
		return e.Reason != string(FilesLoaded)
	case ActionFinding:
		return finding.Code(e.Reason).Level() == finding.Warn
	}
	return spec.failure
}

func (e *Event) message(spec *eventSpec) string {
	switch {
	case e.Message != "":
		return e.Message
	case e.Action == ActionDecision && e.Allowed && e.Complete:
		return "zone transfer allowed: " + string(e.Served)
	case e.Action == ActionDecision && e.Allowed:
		return "zone transfer allowed"
	case e.Action == ActionDecision:
		return "zone transfer denied: " + e.Reason
	case e.Action == ActionEnd || e.Action == ActionDenied || e.Action == ActionAnswered || e.Action == ActionNotifyFailed || e.Action == ActionTargetDown || e.Action == ActionFilesChanged:
		return spec.message + ": " + e.Reason
	}
	return spec.message
}

// putEnds writes who talked to whom.
func (e *Event) putEnds(o *object) {
	o.word("client.ip", e.Client)
	o.num("client.port", int64(e.ClientPort))
	o.str("coredns.xfr.client.zone_id", e.ClientLink, capWord)
	o.word("coredns.xfr.client.claimed", e.Claimed)
	o.word("server.ip", e.Server)
	o.num("server.port", int64(e.ServerPort))
	if e.Transport == "" {
		return
	}
	switch e.Transport {
	case policy.TransportUDP, policy.TransportQUIC, policy.TransportHTTP3, policy.TransportUnknown: // which may be UDP
		o.word("network.transport", "udp")
	default:
		o.word("network.transport", "tcp")
	}
	if a, err := netip.ParseAddr(e.Client); err == nil {
		if a.Unmap().Is4() {
			o.word("network.type", "ipv4")
		} else {
			o.word("network.type", "ipv6")
		}
	}
	o.word("network.protocol", "dns")
	o.word("coredns.xfr.transport", string(e.Transport))
}

func (e *Event) putQuestion(o *object) {
	if e.QueryType != "" {
		o.word("dns.id", strconv.Itoa(int(e.QueryID))) // ECS wants a string
	}
	if e.Opcode != "QUERY" {
		o.word("dns.op_code", e.Opcode)
	}
	o.str("dns.question.name", e.QueryName, capQuery)
	o.word("dns.question.type", e.QueryType)
	o.word("dns.question.class", e.QueryClass)
	o.word("dns.response_code", e.Rcode)
}

func (e *Event) putPolicy(o *object) {
	o.str("coredns.server", e.Block, capRule)
	o.str("coredns.zone", e.Zone, capName)
	o.str("coredns.view", e.View, capRule)
	o.str("rule.name", e.Rule, capRule)
	o.str("coredns.xfr.secondary", e.Secondary, capName)
	o.str("rule.version", e.Policy, capRule)
	o.str("coredns.xfr.rule.nearest", e.Near, capRule)
	if !e.TLSUntil.IsZero() {
		o.word("coredns.xfr.rule.tls_until", e.TLSUntil.UTC().Format(TimeLayout))
	}
	switch e.Action {
	case ActionDecision, ActionEnd, ActionDenied, ActionAnswered, ActionPolicyLoaded, ActionReload:
		o.flag("coredns.xfr.enforced", e.Enforced)
	}
}

func (e *Event) putProof(o *object) {
	o.word("coredns.xfr.tsig.status", string(e.TSIG.Status))
	o.str("coredns.xfr.tsig.key", e.TSIG.Key, capName)
	o.str("coredns.xfr.tsig.algorithm", e.TSIG.Algorithm, capRule)
	t := &e.TLS
	if !t.Established {
		return
	}
	o.flag("tls.established", true)
	o.word("tls.version", t.Version)
	o.word("tls.version_protocol", "tls")
	o.word("tls.cipher", t.Cipher)
	o.str("tls.next_protocol", t.ALPN, capALPN)
	o.str("tls.client.server_name", t.ServerName, capServer)
	if t.Resumed {
		o.flag("tls.resumed", true)
	}
	o.str("tls.client.subject", t.Subject, CapSubject)
	o.list("tls.client.x509.alternative_names", t.Names, CapSANs)
	o.str("coredns.xfr.tls.spki", t.SPKI, capRule)
	if t.Subject != "" || t.SPKI != "" || len(t.Names) > 0 {
		o.flag("coredns.xfr.tls.verified", t.Verified)
	}
}

// putTransfer writes what was asked for and what left.
func (e *Event) putTransfer(o *object) {
	ended := e.Action == ActionEnd
	served := e.Served
	if ended && served == "" {
		served = ServedNone
	}
	if e.SerialRequested != nil {
		o.always("coredns.xfr.serial.requested", int64(*e.SerialRequested))
	}
	if e.SerialServed != nil {
		o.always("coredns.xfr.serial.served", int64(*e.SerialServed))
	}
	if e.SerialFuture {
		o.flag("coredns.xfr.serial.future", true)
	}
	o.num("coredns.xfr.wait", e.Wait.Nanoseconds())
	o.word("coredns.xfr.served", string(served))
	if ended {
		o.always("coredns.xfr.messages", e.Messages)
		o.always("coredns.xfr.records", e.Records)
		o.always("server.bytes", e.Bytes)
		if e.BytesAcked != nil {
			o.always("coredns.xfr.bytes_acked", *e.BytesAcked)
		}
		o.flag("coredns.xfr.complete", e.Complete)
		o.always("event.duration", e.Duration.Nanoseconds())
	} else if e.Complete {
		o.flag("coredns.xfr.complete", true)
	}
	o.str("coredns.xfr.zone.digest", e.Digest, capRule)
}

func (s *Suppressed) put(o *object) {
	if s == nil {
		return
	}
	o.always("coredns.xfr.suppressed.count", s.Count)
	o.word("coredns.xfr.suppressed.since", s.Since.UTC().Format(TimeLayout))
	o.word("coredns.xfr.suppressed.class", s.Class)
	o.word("coredns.xfr.suppressed.prefix", s.Prefix)
	o.list("coredns.xfr.suppressed.clients", s.Clients, capText)
	o.num("coredns.xfr.suppressed.clients_total", int64(s.ClientsTotal))
	o.list("coredns.xfr.suppressed.keys", s.Keys, capText)
	o.num("coredns.xfr.suppressed.keys_total", int64(s.KeysTotal))
	o.list("coredns.xfr.suppressed.reasons", s.Reasons, 2*capText)
}

func (e *Event) putExtra(o *object) {
	if len(e.Extra) == 0 { // no transfer has any
		return
	}
	for _, k := range slices.Sorted(maps.Keys(e.Extra)) {
		if !slices.Contains(extraFields, k) {
			o.truncated = true // only a fault of the program gets here
			continue
		}
		switch v := e.Extra[k].(type) {
		case string:
			limit := capText
			if k == ExtraPolicy || k == trail.FieldCheckpoint {
				limit = capSummary
			}
			o.str(k, v, limit)
		case []string:
			limit := capText
			if k == ExtraZones {
				limit = capZones
			}
			o.list(k, v, limit)
		case int:
			o.always(k, int64(v))
		case int64:
			o.always(k, v)
		case uint64:
			o.always(k, int64(min(v, 1<<62)))
		case bool:
			o.flag(k, v)
		case time.Time:
			o.word(k, v.UTC().Format(TimeLayout))
		default:
			o.truncated = true
		}
	}
}
