// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"strings"
	"time"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/notify"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/trail"
	"github.com/xfrguard/xfrguard/internal/verify"
	"github.com/xfrguard/xfrguard/internal/zone"
)

var sampleTime = time.Date(2026, 11, 22, 21, 24, 18, 102_000_000, time.UTC)

// sampleEvents are one event of every action, and of every way that a decision and an
// end can look. The golden files show them, also in other schemas.
func sampleEvents() map[string]*Event {
	asked, served, acked := uint32(2026112200), uint32(2026112201), int64(329733)
	base := Event{
		Time: sampleTime, EventID: "019ae1f0-0000-7000-8000-000000000001", ID: "019ae1f0-0000-7000-8000-00000000000a",
		Client: "192.0.2.53", ClientPort: 46612, Server: "192.0.2.1", ServerPort: 53, Transport: policy.TransportTCP,
		QueryID: 4711, QueryName: "example.org.", QueryType: "IXFR", QueryClass: "IN",
		Block: "dns://:53", Zone: "example.org.", Policy: "sha256:9f86d081884c7d65", Enforced: true,
		TSIG: policy.TSIGProof{Status: policy.TSIGValid, Key: "ns2.example.net.", Algorithm: "hmac-sha256"}, SerialRequested: &asked,
	}
	make := func(change func(*Event)) *Event {
		e := base
		change(&e)
		return &e
	}
	life := func(a Action, change func(*Event)) *Event {
		e := &Event{Time: sampleTime, EventID: base.EventID, Action: a}
		change(e)
		return e
	}
	asPolicy := func(e *Event) {
		e.Block, e.Zone, e.Policy, e.Enforced = base.Block, base.Zone, base.Policy, true
		e.Extra = map[string]any{ExtraZones: []string{base.Zone}, ExtraZonesTotal: 1, ExtraPolicy: "allow as ns2 net 192.0.2.53/32 key ns2.example.net.\n(everything else is denied)"}
	}
	return map[string]*Event{
		"decision-allowed": make(func(e *Event) {
			e.Action, e.Allowed, e.Reason, e.Rule = ActionDecision, true, string(policy.ReasonAllowed), "ns2"
			e.Served, e.Secondary = ServedIXFR, base.Client
		}),
		"decision-allowed-tls": make(func(e *Event) {
			e.Action, e.Allowed, e.Reason, e.Rule = ActionDecision, true, string(policy.ReasonAllowed), "ns2-xot"
			e.Client, e.Server, e.ServerPort, e.Transport, e.View = "2001:db8::53", "2001:db8::1", 853, policy.TransportTLS, "inside"
			e.QueryType, e.SerialRequested, e.TSIG = "AXFR", nil, policy.TSIGProof{Status: policy.TSIGAbsent}
			e.Secondary = "ns2.example.net."
			e.TLS = TLSFacts{
				Established: true, Version: "1.3", Cipher: "TLS_AES_128_GCM_SHA256", ALPN: "dot", ServerName: "ns1.example.org",
				Resumed: true, Subject: "CN=ns2.example.net", Names: []string{"ns2.example.net"}, Verified: true,
				SPKI: strings.Repeat("ab", 32),
			}
		}),
		"decision-allowed-until": make(func(e *Event) {
			e.Action, e.Allowed, e.Reason, e.Rule = ActionDecision, true, string(policy.ReasonAllowed), "ns2-migrating"
			e.Served, e.TLSUntil, e.Secondary = ServedIXFR, sampleTime.Add(24*time.Hour), base.TSIG.Key
		}),
		"decision-denied": make(func(e *Event) {
			e.Action, e.Reason, e.Near, e.Rcode = ActionDecision, string(policy.ReasonTSIGBadSignature), "ns2", "NOTAUTH"
			e.Opcode, e.Claimed = "NOTIFY", "192.0.2.66"
			e.Client, e.ClientLink = "fe80::53", "eth0"
			e.TSIG.Status = policy.TSIGBadSignature
		}),
		"decision-observed": make(func(e *Event) {
			e.Action, e.Reason, e.Near, e.Rcode, e.Enforced = ActionDecision, string(policy.ReasonTLSRequired), "ns2", "REFUSED", false
		}),
		"end-complete": make(func(e *Event) {
			e.Action, e.Reason, e.Rule, e.Secondary, e.Rcode = ActionEnd, string(EndComplete), "ns2", base.Client, "NOERROR"
			e.SerialServed, e.Served, e.Messages, e.Records, e.Bytes = &served, ServedAXFRFallback, 6, 10004, 329733
			e.BytesAcked, e.Wait = &acked, 1300*time.Millisecond
			e.Complete, e.Duration, e.Digest = true, 469*time.Millisecond, "sha384:38b060a751ac96384cd9327eb1b1e36a"
		}),
		"end-client-gone": make(func(e *Event) {
			e.Action, e.Reason, e.Rule, e.Secondary, e.Rcode = ActionEnd, string(EndClientGone), "ns2", base.Client, "NOERROR"
			e.SerialServed, e.Served, e.Messages, e.Records, e.Bytes = &served, ServedAXFR, 2, 3200, 32000
			e.SerialFuture = true
			e.Error = "write tcp 192.0.2.1:53->192.0.2.53:46612: write: broken pipe"
		}),
		"denied-summary": life(ActionDenied, func(e *Event) {
			e.Reason, e.Block, e.Zone, e.Enforced = string(policy.ReasonTSIGBadKey), base.Block, base.Zone, true
			e.Suppressed = &Suppressed{
				Count: 4711, Since: sampleTime.Add(-30 * time.Second), Class: "stream", Prefix: "198.51.100.0/24",
				Clients: []string{"198.51.100.7", "198.51.100.9"}, ClientsTotal: 2, Keys: []string{"admin.", "key1."}, KeysTotal: 2,
			}
		}),
		"denied-summary-several": life(ActionDenied, func(e *Event) {
			e.Reason, e.Zone, e.Enforced = reasonSeveral, "-", true
			e.Suppressed = &Suppressed{
				Count: 99, Since: sampleTime.Add(-30 * time.Second), Class: "udp",
				Clients: []string{"198.51.100.7"}, ClientsTotal: 64, Reasons: []string{"client-not-allowed=90", "not-a-zone=9"},
			}
		}),
		"decision-answered": make(func(e *Event) {
			e.Action, e.Allowed, e.Reason, e.Rule, e.Rcode = ActionDecision, true, string(policy.ReasonAllowed), "ns2", "NOERROR"
			e.Secondary = base.Client
			e.SerialServed, e.Served, e.Complete, e.Digest = &served, ServedUpToDate, true, "sha384:38b060a751ac96384cd9327eb1b1e36a"
		}),
		"answered-summary": life(ActionAnswered, func(e *Event) {
			e.Reason, e.Block, e.Zone, e.Enforced = string(ServedUpToDate), base.Block, base.Zone, true
			e.Rule, e.Secondary, e.TSIG = "ns2", base.Client, base.TSIG
			e.Suppressed = &Suppressed{
				Count: 4711, Since: sampleTime.Add(-30 * time.Second), Class: "proven", Prefix: "192.0.2.0/24",
				Clients: []string{"192.0.2.53"}, ClientsTotal: 1, Keys: []string{base.TSIG.Key}, KeysTotal: 1,
			}
		}),
		"lineage-change": life(ActionLineage, func(e *Event) {
			e.Block, e.Zone, e.SerialServed, e.Digest = base.Block, base.Zone, &served, "sha384:38b060a751ac96384cd9327eb1b1e36a"
		}),
		"zone-corrected": life(ActionCorrected, func(e *Event) {
			e.Reason, e.Block, e.Zone, e.SerialServed = string(zone.CorrectedMixedTTL), base.Block, base.Zone, &served
			e.Message = "sets of records with several TTLs have the lowest: 2, the first is www.example.org. A"
		}),
		"zone-held": life(ActionHeld, func(e *Event) {
			e.Reason, e.Block, e.Zone, e.SerialServed = string(zone.HeldShrunk), base.Block, base.Zone, &served
			e.Digest = "sha384:38b060a751ac96384cd9327eb1b1e36a"
			e.Message = "130 of the 512 records of serial 2026112200 are gone, more than 20%"
		}),
		"zone-released": life(ActionReleased, func(e *Event) {
			e.Reason, e.Block, e.Zone, e.SerialServed = string(zone.ReleasedApproved), base.Block, base.Zone, &served
			e.Digest = "sha384:38b060a751ac96384cd9327eb1b1e36a"
		}),
		"zone-verify-failed": life(ActionVerifyFailed, func(e *Event) {
			e.Reason, e.Block, e.Zone, e.SerialServed = string(verify.RRSIGExpired), base.Block, base.Zone, &served
			e.Message, e.Digest = "www.example.org. A has a signature that has ended (key 4711, algorithm 13); 11 more", "sha384:38b060a751ac96384cd9327eb1b1e36a"
			e.Extra = map[string]any{
				ExtraVerifyOwner: "www.example.org.", ExtraVerifyType: "A", ExtraVerifyTotal: 12, ExtraVerifyEnd: sampleTime.Add(-time.Hour),
			}
		}),
		"zone-appeared": life(ActionZoneAppeared, func(e *Event) {
			e.Reason, e.Block, e.Zone, e.Policy, e.Enforced = "auto", base.Block, base.Zone, base.Policy, true
		}),
		"zone-gone": life(ActionZoneGone, func(e *Event) {
			e.Reason, e.Block, e.Zone, e.Policy, e.Enforced = "secondary", base.Block, base.Zone, base.Policy, true
		}),
		"notify-accepted": life(ActionNotified, func(e *Event) {
			e.Reason, e.Block, e.Zone, e.Transport = string(notify.Accepted), base.Block, base.Zone, policy.TransportUDP
			e.TSIG = base.TSIG
			e.Extra = map[string]any{ExtraNotified: base.Client, ExtraNotifiedPort: 53, ExtraNotifySerial: int64(served), ExtraNotifyTries: 1}
			e.Secondary, e.Rule = base.Client, "ns2"
		}),
		"notify-failed": life(ActionNotifyFailed, func(e *Event) {
			e.Reason, e.Block, e.Zone, e.Transport = string(notify.Timeout), base.Block, base.Zone, policy.TransportTLS
			e.TSIG = policy.TSIGProof{Key: base.TSIG.Key, Algorithm: base.TSIG.Algorithm}
			e.Error = "no answer in time"
			e.Extra = map[string]any{ExtraNotified: "2001:db8::53", ExtraNotifiedPort: 853, ExtraNotifySerial: int64(served), ExtraNotifyTries: 5}
			e.Secondary = "[2001:db8::53]:853"
		}),
		"notify-target-down": life(ActionTargetDown, func(e *Event) {
			e.Reason, e.Block, e.Zone, e.Transport = string(notify.Timeout), base.Block, base.Zone, policy.TransportTCP
			e.Secondary, e.Rule, e.Error = "fe80::53", "ns2", "no answer in time"
			e.Extra = map[string]any{ExtraNotified: "fe80::53", ExtraNotifiedPort: 53, ExtraNotifyLink: "eth0", ExtraNotifyTries: 5, ExtraNotifySince: sampleTime.Add(-40 * time.Second)}
		}),
		"notify-target-up": life(ActionTargetUp, func(e *Event) {
			e.Reason, e.Block, e.Zone, e.Transport = string(notify.Accepted), base.Block, base.Zone, policy.TransportUDP
			e.Secondary, e.Rule = base.Client, "ns2"
			e.Extra = map[string]any{ExtraNotified: base.Client, ExtraNotifiedPort: 53, ExtraNotifyTries: 700, ExtraNotifySince: sampleTime.Add(-time.Hour)}
		}),
		"finding": life(ActionFinding, func(e *Event) {
			e.Reason, e.Block, e.Zone, e.SerialServed = "serial-backwards", base.Block, base.Zone, &served
			e.Message = "zone example.org. went from serial 2026112206 back: secondaries that have it will not follow"
			e.Extra = map[string]any{ExtraFinding: "serial-backwards", ExtraFindingPosition: "/etc/coredns/Corefile:12"}
		}),
		"start": life(ActionStart, func(e *Event) {
			e.Extra = map[string]any{extraSinks: []string{"file:/var/log/coredns/xfr.log", "stdout"}, extraFailure: string(corefile.AuditRefuse)}
		}),
		"stop":          life(ActionStop, func(*Event) {}),
		"policy-load":   life(ActionPolicyLoaded, asPolicy),
		"policy-reload": life(ActionReload, asPolicy),
		"policy-load-zones": life(ActionPolicyLoaded, func(e *Event) {
			asPolicy(e)
			e.Zone = "-"
			e.Extra[ExtraZones], e.Extra[ExtraZonesTotal] = []string{"a.example.", "b.example."}, 3001
		}),
		"policy-reload-failed": life(ActionReloadFailed, func(e *Event) {
			e.Reason, e.Error = string(FailedListen), "CoreDNS could not open its listeners: see its log"
		}),
		"rule-expired": life(ActionRuleExpired, func(e *Event) {
			e.Block, e.Zone, e.Policy, e.Rule = base.Block, base.Zone, base.Policy, "ns2"
			e.Message = "rule ns2 ended at 2026-11-22T21:24:18Z"
			e.Extra = map[string]any{ExtraZones: []string{base.Zone}, ExtraZonesTotal: 1}
		}),
		"transfers-frozen": life(ActionFrozen, func(e *Event) {
			asPolicy(e)
			delete(e.Extra, ExtraPolicy)
			e.Reason = string(FreezeAll)
			e.Extra[ExtraControlText], e.Extra[ExtraControlBy] = "key of ns2 stolen", "alice@ns1"
		}),
		"transfers-thawed": life(ActionThawed, func(e *Event) {
			asPolicy(e)
			delete(e.Extra, ExtraPolicy)
			e.Reason = string(FreezeZone)
			e.Extra[ExtraControlText], e.Extra[ExtraControlBy] = "broken export", "uid 0"
		}),
		"zone-approved": life(ActionApproved, func(e *Event) {
			asPolicy(e)
			delete(e.Extra, ExtraPolicy)
			e.SerialServed, e.Digest = &served, "sha384:"+strings.Repeat("38b060a751ac9638", 6)
			e.Extra[ExtraControlText], e.Extra[ExtraControlBy] = "the zone was split", "alice@ns1"
		}),
		"control-unreadable": life(ActionControlUnreadable, func(e *Event) {
			asPolicy(e)
			delete(e.Extra, ExtraPolicy)
			e.Error = "/run/coredns/xfr: everybody may write to it: chmod o-w"
		}),
		"control-readable": life(ActionControlReadable, func(e *Event) {
			asPolicy(e)
			delete(e.Extra, ExtraPolicy)
		}),
		"files-changed": life(ActionFilesChanged, func(e *Event) {
			e.Reason = string(FilesLoaded)
			e.Extra = map[string]any{ExtraFiles: []string{"/etc/coredns/xfr.keys"}, ExtraFilesTotal: 1}
		}),
		"files-not-loaded": life(ActionFilesChanged, func(e *Event) {
			e.Reason, e.Error = string(FilesFailed), "CoreDNS has not taken the new files, the old ones stay in force"
			e.Extra = map[string]any{ExtraFiles: []string{"/etc/coredns/tls.crt", "/etc/coredns/tls.key"}, ExtraFilesTotal: 2}
		}),
		"sink-down": life(ActionSinkDown, func(e *Event) {
			e.Reason, e.Error = "full", "write /var/log/coredns/xfr.log: no space left on device"
			e.Extra = map[string]any{extraSink: "file:/var/log/coredns/xfr.log"}
		}),
		"sink-up": life(ActionSinkUp, func(e *Event) { e.Extra = map[string]any{extraSink: "file:/var/log/coredns/xfr.log"} }),
		"clock-step": life(ActionClockStep, func(e *Event) {
			e.Reason, e.Extra = string(ClockBack), map[string]any{trail.FieldClockStep: int64(-3600e9)}
		}),
		"gap": life(ActionGap, func(e *Event) {
			e.Reason, e.Error = "timeout", errDeadline.Error()
			e.Extra = map[string]any{
				extraSink: "stdout", trail.FieldLost: int64(12), ExtraLostAllowed: int64(3), extraLostDenials: int64(400),
				trail.FieldLate: int64(1), trail.FieldSince: sampleTime.Add(-time.Minute),
			}
		}),
	}
}
