// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/trail"
)

// Action says what an event is about: event.action, one to one with a Code.
type Action string

// Code is the stable short name of an Action: event.code.
type Code string

// The actions. docs/EVENTS.md explains each; a test holds table, schema and
// document against this list.
const (
	ActionDecision     Action = "zone-transfer-decision"  // a request was allowed or denied
	ActionEnd          Action = "zone-transfer-end"       // an allowed transfer is over
	ActionDenied       Action = "zone-transfer-denied"    // several denials of one kind, folded into one line
	ActionAnswered     Action = "zone-transfer-answered"  // several answers of the SOA alone, folded into one line
	ActionLineage      Action = "zone-lineage-change"     // a known serial came back with other content
	ActionCorrected    Action = "zone-corrected"          // a zone is not sent as its backend has it
	ActionHeld         Action = "zone-held"               // a version is held back, the last good one goes on
	ActionReleased     Action = "zone-released"           // it goes out, or a good one after it
	ActionVerifyFailed Action = "zone-verify-failed"      // a version does not fit its digest or its signatures
	ActionZoneAppeared Action = "zone-appeared"           // a zone has come that a pattern stands for
	ActionZoneGone     Action = "zone-gone"               // such a zone is no longer there
	ActionNotified     Action = "zone-notify-accepted"    // a secondary has taken the NOTIFY of a serial
	ActionNotifyFailed Action = "zone-notify-failed"      // it has not, and is not asked again
	ActionTargetDown   Action = "zone-notify-target-down" // a secondary answers no NOTIFY, of whatever serial
	ActionTargetUp     Action = "zone-notify-target-up"   // it answers again
	ActionStart        Action = "audit-start"
	ActionStop         Action = "audit-stop"
	ActionPolicyLoaded Action = "policy-load"
	ActionReload       Action = "policy-reload"
	ActionReloadFailed Action = "policy-reload-failed" // the policy in force stays
	ActionRuleExpired  Action = "rule-expired"         // an allow rule has ended
	ActionFilesChanged Action = "policy-files-changed" // keys or certificates on disk are other ones
	ActionFinding      Action = "policy-finding"       // something is not as it seems
	ActionFrozen       Action = "transfers-frozen"     // the operator has frozen transfers
	ActionThawed       Action = "transfers-thawed"     // and no longer does
	ActionApproved     Action = "zone-approved"        // the operator lets a held version out

	ActionControlUnreadable Action = "control-unreadable" // what was frozen stays so
	ActionControlReadable   Action = "control-readable"

	ActionSinkDown   Action = "audit-sink-down"
	ActionSinkUp     Action = "audit-sink-up"
	ActionGap        Action = "audit-gap"        // events were lost: how many, since when, why
	ActionClockStep  Action = "clock-step"       // the machine's clock was set, or stood still while it slept
	ActionOpened     Action = "audit-opened"     // the first line of a new chain
	ActionResumed    Action = "audit-resumed"    // a file with lines was opened, its chain goes on
	ActionClosed     Action = "audit-closed"     // the file was closed in good order
	ActionRepair     Action = "audit-repair"     // a torn last line was removed
	ActionRotated    Action = "audit-rotated"    // the file was renamed or deleted, a new one goes on
	ActionTruncated  Action = "audit-truncated"  // the file became shorter under the writer
	ActionForeign    Action = "audit-foreign"    // somebody else has written into the file
	ActionCheckpoint Action = "audit-checkpoint" // a signed note over the chain so far
)

// eventSpec is what all events of one action have in common.
type eventSpec struct {
	action   Action
	code     Code
	category string   // event.category (ECS: a closed list)
	types    []string // event.type, without allowed or denied
	failure  bool     // a lifecycle event that tells of a failure: event.outcome
	message  string   // for people, when the event brings none
}

// eventSpecs is the one table of actions. Codes are never used twice and never
// change their meaning: XFR1xx is about transfers, XFR2xx about the auditor.
var eventSpecs = []eventSpec{
	{ActionDecision, "XFR100", "network", []string{"protocol"}, false, "zone transfer"},
	{ActionEnd, "XFR110", "network", []string{"end", "protocol"}, false, "zone transfer ended"},
	{ActionDenied, "XFR120", "network", []string{"denied", "protocol"}, true, "zone transfers denied"},
	{ActionAnswered, "XFR121", "network", []string{"allowed", "info", "protocol"}, false, "zone transfers answered with the SOA alone"},
	{ActionLineage, "XFR130", "network", []string{"info"}, true, "zone content changed without its serial"},
	{ActionCorrected, "XFR131", "network", []string{"info"}, false, "zone corrected on its way out"},
	{ActionHeld, "XFR132", "network", []string{"info"}, true, "zone held back, secondaries keep the last good version"},
	{ActionReleased, "XFR133", "network", []string{"info"}, false, "zone is no longer held back"},
	{ActionVerifyFailed, "XFR134", "network", []string{"info"}, true, "zone not verified"},
	{ActionZoneAppeared, "XFR135", "network", []string{"info"}, false, "zone appeared"},
	{ActionZoneGone, "XFR136", "network", []string{"info"}, false, "zone gone"},
	{ActionNotified, "XFR140", "network", []string{"info", "protocol"}, false, "secondary notified"},
	{ActionNotifyFailed, "XFR141", "network", []string{"info", "protocol"}, true, "secondary not notified"},
	{ActionTargetDown, "XFR142", "network", []string{"info", "protocol"}, true, "secondary does not answer NOTIFY"},
	{ActionTargetUp, "XFR143", "network", []string{"info", "protocol"}, false, "secondary answers NOTIFY again"},
	{ActionStart, "XFR200", "process", []string{"start"}, false, "audit started"},
	{ActionStop, "XFR201", "process", []string{"end"}, false, "audit stopped"},
	{ActionPolicyLoaded, "XFR210", "configuration", []string{"info"}, false, "policy loaded"},
	{ActionReload, "XFR211", "configuration", []string{"change"}, false, "policy reloaded"},
	{ActionReloadFailed, "XFR212", "configuration", []string{"change"}, true, "policy not reloaded, the one in force stays"},
	{ActionRuleExpired, "XFR213", "configuration", []string{"change"}, false, "rule expired"},
	{ActionFilesChanged, "XFR214", "configuration", []string{"change"}, false, "keys or certificates changed on disk"},
	{ActionFinding, "XFR215", "configuration", []string{"info"}, true, "finding"},
	{ActionSinkDown, "XFR220", "process", []string{"change"}, true, "audit sink down"},
	{ActionSinkUp, "XFR221", "process", []string{"change"}, false, "audit sink up"},
	{ActionGap, "XFR222", "process", []string{"info"}, true, "audit events were lost"},
	{ActionFrozen, "XFR240", "configuration", []string{"change"}, false, "transfers frozen"},
	{ActionThawed, "XFR241", "configuration", []string{"change"}, false, "transfers thawed"},
	{ActionApproved, "XFR242", "configuration", []string{"change"}, false, "held version of a zone approved"},
	{ActionControlUnreadable, "XFR243", "configuration", []string{"info"}, true, "control directory cannot be read, all stays as it is"},
	{ActionControlReadable, "XFR244", "configuration", []string{"info"}, false, "control directory can be read again"},
	{ActionClockStep, "XFR250", "process", []string{"change"}, false, "clock was set"},
	{ActionOpened, "XFR230", "file", []string{"creation"}, false, "audit chain begun"},
	{ActionResumed, "XFR231", "file", []string{"access"}, false, "audit chain resumed"},
	{ActionClosed, "XFR232", "file", []string{"info"}, false, "audit file closed"},
	{ActionRepair, "XFR233", "file", []string{"change"}, false, "torn audit line removed"},
	{ActionRotated, "XFR234", "file", []string{"change"}, false, "audit file rotated"},
	{ActionTruncated, "XFR235", "file", []string{"change"}, true, "audit file was cut from outside"},
	{ActionForeign, "XFR236", "file", []string{"change"}, true, "foreign bytes in the audit file"},
	{ActionCheckpoint, "XFR237", "file", []string{"info"}, false, "audit checkpoint"},
}

// warns reports whether a failure of this kind is a warning: nothing of the guard failed.
func (s *eventSpec) warns() bool {
	switch s.action {
	case ActionDenied, ActionHeld, ActionVerifyFailed, ActionNotifyFailed, ActionTargetDown, ActionFinding:
		return true
	}
	return false
}

// specOf finds the row of an action. An action that nobody declared is a fault of
// the program; its event still goes out, without a code.
func specOf(a Action) *eventSpec {
	for i := range eventSpecs {
		if eventSpecs[i].action == a {
			return &eventSpecs[i]
		}
	}
	return &eventSpec{action: a, category: "process", types: []string{"info"}, failure: true}
}

// Served says what an allowed client got: coredns.xfr.served.
type Served string

// What can be served.
const (
	ServedNone         Served = "none"
	ServedAXFR         Served = "axfr"
	ServedIXFR         Served = "ixfr"
	ServedAXFRFallback Served = "axfr-fallback" // a whole zone in answer to an IXFR (RFC 1995 §4)
	ServedUpToDate     Served = "up-to-date"    // the current SOA alone
	ServedUseTCP       Served = "use-tcp"       // the current SOA alone, over UDP, to a client that is behind
)

// SOAAlone reports whether the answer is one message without zone data: its decision is
// the whole record.
func (s Served) SOAAlone() bool { return s == ServedUpToDate || s == ServedUseTCP }

// Serveds is every Served.
var Serveds = []Served{ServedNone, ServedAXFR, ServedIXFR, ServedAXFRFallback, ServedUpToDate, ServedUseTCP}

// EndReason says how an allowed transfer ended: event.reason of the end event.
type EndReason string

// How a transfer can end.
const (
	EndComplete        EndReason = "complete"
	EndUpToDate        EndReason = "up-to-date"
	EndUseTCP          EndReason = "use-tcp"
	EndClientGone      EndReason = "client-gone"
	EndStalled         EndReason = "write-timeout"
	EndTimeout         EndReason = "transfer-timeout"
	EndTooSlow         EndReason = "too-slow" // below the pace, and somebody waited for the place
	EndPolicyRevoked   EndReason = "policy-revoked"
	EndZoneGone        EndReason = "zone-gone" // a pattern stood for it, and its backend has it no more
	EndFrozen          EndReason = "frozen"    // by the operator
	EndShutdown        EndReason = "shutdown"
	EndZoneUnavailable EndReason = "zone-unavailable" // the backend failed before or while sending
	EndStreamInvalid   EndReason = "stream-invalid"   // what the backend sent is no zone
	EndRecordTooLarge  EndReason = "record-too-large" // a record that no message can carry, with its signature
	EndInternalError   EndReason = "internal-error"
)

// EndReasons is every EndReason.
var EndReasons = []EndReason{
	EndComplete, EndUpToDate, EndUseTCP, EndClientGone, EndStalled, EndTimeout, EndTooSlow,
	EndPolicyRevoked, EndZoneGone, EndFrozen, EndShutdown, EndZoneUnavailable, EndStreamInvalid, EndRecordTooLarge, EndInternalError,
}

// good reports whether the client got all that there was to get.
func (r EndReason) good() bool {
	return r == EndComplete || r == EndUpToDate || r == EndUseTCP
}

// reasonSeveral stands where one folded line covers denials of several reasons.
const reasonSeveral = "several"

// Event is one line of the audit log, under ECS 9.4 names as flat dotted keys,
// our own under coredns.xfr. Fields a client can fill are capped by the encoder.
// Zero values are left out, but for those that an action always has.
type Event struct {
	Time    time.Time // of the request; the auditor fills it when zero, and always in an end
	Action  Action    // filled by the auditor's Decision, Denied and End
	EventID string    // event.id, one per event, the same in every sink; filled by the auditor
	ID      string    // one for a decision and its end: coredns.xfr.id; Decision fills it when empty
	Message string    // for people; made from action and reason when empty
	Allowed bool
	Reason  string // a Reason, an EndReason, or a lifecycle event's own word

	Client     string // client.ip
	ClientPort int
	ClientLink string // zone identifier of a link-local client: coredns.xfr.client.zone_id
	Claimed    string // coredns.xfr.client.claimed
	Server     string // server.ip
	ServerPort int
	Transport  policy.Transport

	QueryID    uint16
	QueryName  string // as asked, presentation format
	QueryType  string
	QueryClass string
	Opcode     string // when it is not QUERY
	Rcode      string // what the client was told: dns.response_code

	Block string // the listener address: coredns.server
	Zone  string // the configured zone, "-" when none: coredns.zone
	View  string

	Rule      string // the rule that decided, or that the transfers of a notified secondary come under
	Secondary string // by which name the secondary goes that it is about: coredns.xfr.secondary
	Near      string // denied: the rule that came closest
	Policy    string // digest of the policy: rule.version
	Enforced  bool   // false in observe mode

	TLSUntil time.Time // until when that rule lets plain TCP in; for requests without TLS only

	TSIG policy.TSIGProof
	TLS  TLSFacts

	SerialRequested *uint32
	SerialServed    *uint32
	Wait            time.Duration // in line for its turn: coredns.xfr.wait
	SerialFuture    bool          // the client claims a serial that this zone has not reached (RFC 1982)
	Served          Served
	Messages        int64
	Records         int64
	Bytes           int64         // with the length prefixes of the messages, without TLS
	BytesAcked      *int64        // of these, what the client's end had acknowledged; nil when not known
	Complete        bool          // the closing SOA was handed to the connection; of a decision: it is whole in one line
	Duration        time.Duration // of an ended transfer
	Digest          string        // of the zone's content, when known: coredns.xfr.zone.digest

	Suppressed *Suppressed // ActionDenied and ActionAnswered only: what the line stands for

	Error string         // error.message, without secrets
	Extra map[string]any // lifecycle events only: their own coredns.xfr fields, typed in docs/EVENTS.md

	counted bool            // of an answer: it is counted, and has no line of its own
	settled []chan struct{} // of a decision: closed when the sink of that number is done with it
}

// TLSFacts is what an event says of the TLS session.
type TLSFacts struct {
	Established bool
	Version     string // "1.3"
	Cipher      string
	ALPN        string
	ServerName  string // SNI
	Resumed     bool
	Subject     string   // of the client's leaf certificate
	Names       []string // its DNS SANs
	SPKI        string   // its pin, hex
	Verified    bool     // a chain to the listener's CA was verified

	// Leaf says what an event says of the client's certificate. It is asked when the event
	// is written, because rendering takes time; nil leaves Subject, Names and SPKI as they are.
	Leaf Certificate
}

// Certificate renders the client's certificate for an event.
type Certificate interface {
	// Told returns the subject, the DNS SANs, the pin in hex, and whether something was cut.
	Told() (subject string, names []string, spki string, cut bool)
}

// Settle fills in what the event says of the client's certificate.
func (t *TLSFacts) Settle() (cut bool) {
	if t.Leaf != nil {
		t.Subject, t.Names, t.SPKI, cut = t.Leaf.Told()
	}
	return cut
}

// Suppressed is what a folded line stands for. The totals of distinct clients and
// keys stop counting at 64 and 16, which then mean "that many or more".
type Suppressed struct {
	Count        int64     // denials, the ones with a line of their own not included
	Since        time.Time // of the first of them; the event's time is the end of the window
	Class        string    // udp, stream or proven: what shares no line with the others
	Prefix       string    // the source prefix, empty when the line covers several
	Clients      []string  // the first few addresses
	ClientsTotal int
	Keys         []string // the first few key names the clients claimed
	KeysTotal    int
	Reasons      []string // "reason=count", when the line covers several
}

// The Extra fields of our own lifecycle events; internal/trail has those of the
// audit file's.
const (
	extraSinks       = "coredns.xfr.audit.sinks"   // []string
	extraFailure     = "coredns.xfr.audit.failure" // string: refuse or serve
	extraSink        = "coredns.xfr.audit.sink"    // string
	ExtraLostAllowed = trail.FieldLostAllowed      // int64: how many of the lost events were allow decisions
	extraLostDenials = trail.FieldLostDenials      // int64: denials that lost folded lines stood for
	ExtraPolicy      = "coredns.xfr.policy"        // string: the rules in plain text
	ExtraZones       = "coredns.xfr.zones"         // []string: the first ZonesListed it is for
	ExtraZonesTotal  = "coredns.xfr.zones_total"   // int: how many there are

	ExtraFiles      = "coredns.xfr.files"       // []string: the first 16 paths
	ExtraFilesTotal = "coredns.xfr.files_total" // int: how many there are

	ExtraNotified     = "destination.ip"             // string
	ExtraNotifiedPort = "destination.port"           // int
	ExtraNotifySerial = "coredns.xfr.notify.serial"  // int64
	ExtraNotifyTries  = "coredns.xfr.notify.tries"   // int
	ExtraNotifyLink   = "coredns.xfr.notify.zone_id" // string
	ExtraNotifySince  = "coredns.xfr.notify.since"   // time.Time

	ExtraVerifyOwner = "coredns.xfr.verify.owner"          // string
	ExtraVerifyType  = "coredns.xfr.verify.type"           // string
	ExtraVerifyTotal = "coredns.xfr.verify.total"          // int: failures of the version, of all reasons
	ExtraVerifyEnd   = "coredns.xfr.verify.signatures_end" // time.Time: of the first of its signatures

	ExtraControlText = "coredns.xfr.control.text" // string: why
	ExtraControlBy   = "coredns.xfr.control.by"   // string: who, as far as the file tells

	ExtraFinding         = "coredns.xfr.finding.code"     // string
	ExtraFindingPosition = "coredns.xfr.finding.position" // string: file:line
)

// ZonesListed is how many zones an event names that is about several.
const ZonesListed = 16

// extraFields is every Extra field. The encoder takes no others, so that every
// event fits event.schema.json.
var extraFields = []string{
	extraSinks, extraFailure, extraSink, ExtraLostAllowed, extraLostDenials, ExtraPolicy, ExtraZones, ExtraZonesTotal,
	ExtraNotified, ExtraNotifiedPort, ExtraNotifySerial, ExtraNotifyTries, ExtraNotifyLink, ExtraNotifySince,
	ExtraVerifyOwner, ExtraVerifyType, ExtraVerifyTotal, ExtraVerifyEnd, ExtraFinding, ExtraFindingPosition, ExtraFiles, ExtraFilesTotal,
	ExtraControlText, ExtraControlBy,
	trail.FieldKind, trail.FieldCause, trail.FieldRewritten, trail.FieldAction, trail.FieldBytes, trail.FieldBytesHash,
	trail.FieldSizeBefore, trail.FieldSizeNow, trail.FieldLost, trail.FieldLate, trail.FieldLateFirst, trail.FieldLateLast,
	trail.FieldSince, trail.FieldError, trail.FieldCheckpoint, trail.FieldClockStep,
}

// ReloadFailure says how far a reload came that failed: event.reason of a
// policy-reload-failed event.
type ReloadFailure string

// How far a reload can come. The words for what nobody checks yet are reserved.
const (
	FailedParse   ReloadFailure = "parse"   // the Corefile, or a plugin's part of it
	FailedExpect  ReloadFailure = "expect"  // an expect line
	FailedFinding ReloadFailure = "finding" // findings fail
	FailedStart   ReloadFailure = "start"   // a plugin could not start
	FailedListen  ReloadFailure = "listen"  // a listener could not be opened
)

// ReloadFailures is every ReloadFailure.
var ReloadFailures = []ReloadFailure{FailedParse, FailedExpect, FailedFinding, FailedStart, FailedListen}

// FreezeReason says what is frozen, or no longer: event.reason of transfers-frozen and
// transfers-thawed events.
type FreezeReason string

// What can be frozen.
const (
	FreezeAll  FreezeReason = "all"  // all zones of the directive
	FreezeZone FreezeReason = "zone" // the zone of the event
)

// FreezeReasons is every FreezeReason.
var FreezeReasons = []FreezeReason{FreezeAll, FreezeZone}

// FilesChange says what became of keys and certificates that are other ones on disk:
// event.reason of a policy-files-changed event.
type FilesChange string

// What can become of them.
const (
	FilesLoaded   FilesChange = "loaded"    // they are in force
	FilesFailed   FilesChange = "failed"    // CoreDNS does not take them
	FilesNoReload FilesChange = "no-reload" // nobody loads them
)

// FilesChanges is every FilesChange.
var FilesChanges = []FilesChange{FilesLoaded, FilesFailed, FilesNoReload}
