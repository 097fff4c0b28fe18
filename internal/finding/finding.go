// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package finding is the closed list of what the self-check can find: the codes, how much
// each weighs, and what it is about in a few words.
package finding

// Code names a kind of finding. It is a word of log lines, events, metrics and of the
// property `findings`, and the anchor of its chapter in docs/FINDINGS.md.
type Code string

// The codes. One is never used for anything else later.
const (
	BlockTransferUnguarded Code = "block-transfer-unguarded"
	ZonesUnguarded         Code = "zones-unguarded"
	ZoneNoBackend          Code = "zone-no-backend"
	PolicyEmpty            Code = "policy-empty"
	RuleAnyNet             Code = "rule-any-net"
	DenyNoEffect           Code = "deny-no-effect"
	KeyUnused              Code = "key-unused"
	PropertyIgnored        Code = "property-ignored"
	ACLBlocksSOA           Code = "acl-blocks-soa"
	TSIGRequireIgnored     Code = "tsig-require-ignored"
	TransferToRefused      Code = "transfer-to-refused"
	TransferBesideHold     Code = "transfer-beside-hold"
	PluginBeforeGuard      Code = "plugin-before-guard"
	AnswersNotTransferred  Code = "answers-not-transferred"
	DNSSECOnTheFly         Code = "dnssec-on-the-fly"
	ReverseKubernetes      Code = "reverse-kubernetes"
	SerialBackwards        Code = "serial-backwards"
	SerialStatic           Code = "serial-static"
	ApexNoNS               Code = "apex-no-ns"
	PeersRefuse            Code = "peers-refuse"
	CaseChanged            Code = "case-changed"
	SerialZero             Code = "serial-zero"
	SOATTLZero             Code = "soa-ttl-zero"
	ProxyOpen              Code = "proxy-open"
	BandwidthTooLow        Code = "bandwidth-too-low"
	NotifyAmbiguous        Code = "notify-ambiguous"
	NotifySource           Code = "notify-source"
	PathRelative           Code = "path-relative"
	KeyFileMode            Code = "key-file-mode"
	KeyFileForm            Code = "key-file-form"
	KeyCase                Code = "key-case"
	SecretCut              Code = "secret-cut"
	SecretShort            Code = "secret-short"
	SecretShared           Code = "secret-shared"
	CertificateWeak        Code = "certificate-weak"
	CertificateAnyCA       Code = "certificate-any-ca"
	ReloadMissing          Code = "reload-missing"
	ReloadAfterSignal      Code = "reload-after-signal"
	TLSWeakRule            Code = "tls-weak-rule"
	TLSRuleClosed          Code = "tls-rule-closed"
	TLSUntilOver           Code = "tls-until-over"
	RuleExpiresSoon        Code = "rule-expires-soon"
	ExpectOver             Code = "expect-over"
	TLSPlain               Code = "tls-plain"
	FileZoneTwice          Code = "file-zone-twice"
	BlocksAlike            Code = "blocks-alike"
	AcksUnknown            Code = "acks-unknown"
)

// Level says how much a finding weighs.
type Level string

// The levels. `findings fail` counts those that warn.
const (
	Info Level = "info"
	Warn Level = "warn"
)

// spec is what all findings of one code have in common.
type spec struct {
	code  Code
	level Level
	title string
}

// specs is the one table of codes, in the order of docs/FINDINGS.md.
var specs = []spec{
	{BlockTransferUnguarded, Warn, "a server block with transfer has no xfrguard"},
	{ZonesUnguarded, Info, "a plugin of the server block has zones that no xfrguard names"},
	{ZoneNoBackend, Warn, "no plugin of the server block can hand out a zone"},
	{PolicyEmpty, Warn, "nobody is allowed anything"},
	{RuleAnyNet, Warn, "a rule lets in most addresses there are"},
	{DenyNoEffect, Warn, "a deny stands behind the rules that it is about"},
	{PropertyIgnored, Warn, "a property has no effect where it stands"},
	{PathRelative, Info, "a path depends on where the server is started"},
	{BandwidthTooLow, Warn, "a transfer is so slow that secondaries give up"},
	{KeyUnused, Info, "no rule and no notify names a key"},
	{KeyFileMode, Warn, "others of this host may read, change or replace a file with keys"},
	{KeyFileForm, Warn, "the tsig plugin does not read a key file as it is meant"},
	{KeyCase, Warn, "the name of a key has capitals"},
	{SecretCut, Warn, "the tsig plugin has only a part of a secret"},
	{SecretShort, Warn, "a secret is shorter than 128 bits"},
	{SecretShared, Warn, "two keys have one secret"},
	{CertificateWeak, Warn, "a certificate has a weak key"},
	{CertificateAnyCA, Warn, "a name in a certificate is believed of every CA of the system"},
	{ReloadMissing, Info, "new keys and certificates count when the server is restarted"},
	{ReloadAfterSignal, Warn, "a signal has ended the reload plugin"},
	{TLSWeakRule, Warn, "a rule over TLS asks for less than RFC 9103 wants"},
	{TLSRuleClosed, Warn, "a rule over TLS lets nobody in"},
	{TLSUntilOver, Warn, "the date behind until has passed"},
	{RuleExpiresSoon, Info, "a rule ends within 30 days, or has ended"},
	{ExpectOver, Warn, "an expectation no longer holds, because a date of a rule has passed"},
	{TLSPlain, Warn, "a tls:// listener has no certificate"},
	{ACLBlocksSOA, Warn, "acl refuses the SOA query of a secondary that a rule allows"},
	{TSIGRequireIgnored, Warn, "tsig require does not hold for a rule"},
	{TransferToRefused, Warn, "transfer names somebody whom no rule allows"},
	{TransferBesideHold, Warn, "transfer tells secondaries of a version that hold keeps back"},
	{PluginBeforeGuard, Warn, "a plugin in front of xfrguard may answer or drop transfers"},
	{ProxyOpen, Warn, "anybody may send a PROXY header"},
	{NotifyAmbiguous, Warn, "an address to notify may be meant in another way"},
	{NotifySource, Warn, "nothing says from which address a secondary is notified"},
	{AnswersNotTransferred, Warn, "a plugin answers in the zone what no transfer has"},
	{DNSSECOnTheFly, Warn, "dnssec signs answers, and secondaries get the zone unsigned"},
	{ReverseKubernetes, Warn, "the transfer of a reverse zone of kubernetes is not that zone"},
	{FileZoneTwice, Warn, "file has a zone twice, and reloads never end"},
	{BlocksAlike, Warn, "two server blocks cannot be told apart"},
	{AcksUnknown, Info, "this system does not tell what clients acknowledge"},
	{SerialBackwards, Warn, "the serial of a zone went back, and secondaries do not follow"},
	{SerialStatic, Warn, "the content of a zone changed under its serial, and secondaries do not learn of it"},
	{ApexNoNS, Warn, "a zone has no NS record at its apex"},
	{PeersRefuse, Warn, "a zone has records that other servers refuse"},
	{CaseChanged, Warn, "CoreDNS lowers letters of a name, and that makes it another one"},
	{SerialZero, Warn, "a zone has serial 0, and CoreDNS does not start with its file"},
	{SOATTLZero, Warn, "the SOA of a zone has a TTL of 0, mostly because $TTL is missing"},
}

// Codes returns every code, in the order of docs/FINDINGS.md.
func Codes() []Code {
	codes := make([]Code, len(specs))
	for i := range specs {
		codes[i] = specs[i].code
	}
	return codes
}

// Level returns how much a finding of this code weighs. What is in no table warns.
func (c Code) Level() Level {
	for i := range specs {
		if specs[i].code == c {
			return specs[i].level
		}
	}
	return Warn
}

// Title says in a few words what findings of this code are about, "" for an unknown one.
func (c Code) Title() string {
	for i := range specs {
		if specs[i].code == c {
			return specs[i].title
		}
	}
	return ""
}
