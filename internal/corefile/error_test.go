// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package corefile

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
)

// TestParseErrors holds what an operator is told, word for word. Each text stands
// in the block of a directive for example.org; errors are on its line 2 unless
// they say otherwise.
func TestParseErrors(t *testing.T) {
	const all = "algorithms, allow, audit, audit_failure, audit_key, bandwidth, cache, concurrent, control, deny, elsewhere, expect, findings, hold, journal, mode, notify, rate, timeout, verify"
	tests := []struct{ text, want string }{
		// The block.
		{"foo", "unknown property 'foo', expected one of " + all},
		{"alow key k", "unknown property 'alow' (did you mean 'allow'?), expected one of " + all},
		{"audit-key x", "unknown property 'audit-key' (did you mean 'audit_key'?), expected one of " + all},
		{"rate 60/1m\nrate 60/1m", "3: 'rate' is given twice, first at Testfile:2"},
		{"mode enforce {\n}", "unexpected '{' after 'mode', which has no block of its own"},
		{"{\n}", "unknown property '{', expected one of " + all},
		{"mode enforce }", "unexpected '}' after 'mode', expected it on a line of its own"},
		{"}\nmode enforce", "3: 'mode' stands where 'xfrguard' was expected"},

		// Rules.
		{"allow", "allow: no proof of who asks is needed: add 'key NAME' or 'cert NAME', or 'unsigned' if an address alone shall do"},
		{"allow net 10.0.0.0/8", "allow: no proof of who asks is needed: add 'key NAME' or 'cert NAME', or 'unsigned' if an address alone shall do"},
		{"allow net 10.0.0.0/8 tls", "allow: no proof of who asks is needed: add 'key NAME' or 'cert NAME', or 'unsigned' if an address alone shall do"},
		{"allow key k unsigned", "allow: 'unsigned' and 'key' contradict each other: one needs no signature, the other does"},
		{"allow cert a.example tls until 2027-01-31", "allow: 'tls until' and 'cert' contradict each other: a certificate needs TLS from the start"},
		{"allow ns2 key k", "allow: unknown condition 'ns2', expected one of as, cert, concurrent, expires, key, net, notify, rate, tls, type, unsigned"},
		{"allow until 2027-01-31", "allow: unknown condition 'until', expected one of as, cert, concurrent, expires, key, net, notify, rate, tls, type, unsigned"},
		{"allow kee k", "allow: unknown condition 'kee' (did you mean 'key'?), expected one of as, cert, concurrent, expires, key, net, notify, rate, tls, type, unsigned"},
		{"allow key a key b", "allow: 'key' is given twice, expected all its values behind one 'key'"},
		{"allow as net 10.0.0.1 key k", "allow: as: expected one NAME, which is none of the words that start a condition"},
		{"allow as a b key k", "allow: as: expected one NAME, which is none of the words that start a condition"},
		{"allow as a/b key k", "allow: as: 'a/b' is no name of a rule, expected up to 63 letters, digits, '.', '_' and '-'"},
		{"allow as x key a\nallow as x key b", "3: allow: the rule at Testfile:2 is named 'x' too, expected another name behind 'as'"},
		{"allow as rule-2 key a\nallow key b", "3: allow: the rule at Testfile:2 is named 'rule-2' too, expected another name behind 'as'"},
		{"allow type key k", "allow: type: expected AXFR or IXFR"},
		{"allow type SOA key k", "allow: type: 'SOA' is not AXFR or IXFR"},
		{"allow type AXFR axfr key k", "allow: type: 'axfr' is listed twice"},
		{"allow unsigned 10.0.0.1", "allow: unsigned: unexpected '10.0.0.1', expected no value"},
		{"allow key k concurrent", "allow: concurrent: expected one COUNT"},
		{"allow key k concurrent 0", "allow: concurrent: '0' is not a COUNT, expected a whole number from 1 to 1000000"},
		{"allow as x key k concurrent 20\nmode enforce", "rule 'x' allows 20 transfers at once, but 'concurrent' allows 16 in all"},
		{"allow key k rate", "allow: rate: expected COUNT/PERIOD [burst COUNT], such as 60/1m burst 10"},
		{"deny", "deny: expected 'net' and the addresses to deny, or 'net *' for all"},
		{"deny as x", "deny: expected 'net' and the addresses to deny, or 'net *' for all"},
		{"deny net 10.0.0.1 key k", "deny: unexpected 'key': a deny rule goes by 'net' alone, for what a client can leave out must not be what denies it"},
		{"deny unsigned", "deny: unexpected 'unsigned': a deny rule goes by 'net' alone, for what a client can leave out must not be what denies it"},

		// Addresses.
		{"allow net key k", "allow: net: expected addresses or prefixes, or '*' for every address"},
		{"allow net * 10.0.0.1 key k", "allow: net: '*' is every address, expected no others beside it"},
		{"allow net 10.0.0.1 * key k", "allow: net: '*' is every address, expected no others beside it"},
		{"allow net 10.0.0.1/8 key k", "allow: net: '10.0.0.1/8' has bits set behind its length, expected 10.0.0.0/8 for the network or 10.0.0.1 for the one address"},
		{"allow net ::ffff:10.0.0.1/104 key k", "allow: net: '::ffff:10.0.0.1/104' has bits set behind its length, expected 10.0.0.0/8 for the network or 10.0.0.1 for the one address"},
		{"allow net 2001:db8::1/32 key k", "allow: net: '2001:db8::1/32' has bits set behind its length, expected 2001:db8::/32 for the network or 2001:db8::1 for the one address"},
		{"allow net fe80::1%eth0 key k", "allow: net: 'fe80::1%eth0' has a zone identifier, expected it without '%eth0', such as 'fe80::1'"},
		{"allow net 10.0.0.0/33 key k", "allow: net: '10.0.0.0/33' is no prefix, expected one such as 192.0.2.0/24 or 2001:db8::/32"},
		{"allow net 10.0.0.0/08 key k", "allow: net: '10.0.0.0/08' is no prefix, expected one such as 192.0.2.0/24 or 2001:db8::/32"},
		{"allow net 010.0.0.1 key k", "allow: net: '010.0.0.1' is no address, prefix or '*'"},
		{"allow net ns2.example.org key k", "allow: net: 'ns2.example.org' is no address, prefix or '*'"},
		{"allow net 10.0.0.1 keys k", "allow: net: 'keys' is no address, prefix or '*' (did you mean 'key'?)"},
		{"allow net 10.0.0.1 ::ffff:10.0.0.1 key k", "allow: net: '::ffff:10.0.0.1' is listed twice"},

		// Keys and certificates.
		{"allow key", "allow: key: expected names of TSIG keys"},
		{"allow key . tls", "allow: key: '.' is not the name of a key, expected letters, digits, '-', '_' and '.'"},
		{"allow key a..b", "allow: key: 'a..b' is not the name of a key, expected letters, digits, '-', '_' and '.'"},
		{"allow key a:b", "allow: key: 'a:b' is not the name of a key, expected letters, digits, '-', '_' and '.'"},
		{"allow key k 10.0.0.1", "allow: key: '10.0.0.1' is an address, not the name of a key; addresses stand behind 'net'"},
		{"allow key K. k", "allow: key: 'k' is listed twice"},
		{"allow key k c2VjcmV0IHNlY3JldA==", "allow: key: a value looks like a secret, expected names of keys; secrets belong into the tsig plugin (write a trailing dot if it is a name)"},
		{"allow cert", "allow: cert: expected DNS names of client certificates, or pins sha256:HEX"},
		{"allow cert 10.0.0.1", "allow: cert: '10.0.0.1' is an address, expected the DNS name of a certificate; addresses stand behind 'net'"},
		{"allow cert *", "allow: cert: '*' is no certificate, expected a DNS name ('*' only as its whole first label), sha256: with 64 hex digits, or 44 characters of base64"},
		{"allow cert n*.example.org", "allow: cert: 'n*.example.org' is no certificate, expected a DNS name ('*' only as its whole first label), sha256: with 64 hex digits, or 44 characters of base64"},
		{"allow cert a.*.example.org", "allow: cert: 'a.*.example.org' is no certificate, expected a DNS name ('*' only as its whole first label), sha256: with 64 hex digits, or 44 characters of base64"},
		{"allow cert *.org", "allow: cert: '*.org' is too wide, expected two labels or more behind '*.'"},
		{"allow cert sha256:01ab", "allow: cert: 'sha256:01ab' is no pin, expected the SHA-256 of a public key: sha256: with 64 hex digits, or 44 characters of base64"},
		{"allow cert sha256:" + strings.Repeat("0", 64), "allow: cert: a pin of zeros is no public key's"},
		{"allow cert " + hexPin + " " + base64Pin, "allow: cert: a value of 44 characters (not shown, it may be a secret) is listed twice"},
		{"allow key k tls 1.3", "allow: tls: unexpected '1.3', expected nothing or 'until DATE'"},
		{"allow key k tls until", "allow: tls: 'until' needs one DATE, such as 2027-01-31"},
		{"allow key k expires", "allow: expires: expected one DATE, the first moment at which the rule allows nobody any more, such as 2027-03-31"},
		{"allow key k expires 2027-03-31 2027-04-01", "allow: expires: expected one DATE, the first moment at which the rule allows nobody any more, such as 2027-03-31"},
		{"allow key k expires soon", "allow: expires: 'soon' is not a DATE, expected one such as 2027-01-31 (its first moment, UTC) or 2027-01-31T18:00:00Z"},
		{"allow key k expires 2027-03-31 expires 2027-04-01", "allow: 'expires' is given twice, expected all its values behind one 'expires'"},
		{"deny net 192.0.2.1 expires 2027-03-31", "deny: unexpected 'expires': a deny rule goes by 'net' alone, for what a client can leave out must not be what denies it"},
		{"allow key k tls until 31.1.2027", "allow: tls: '31.1.2027' is not a DATE, expected one such as 2027-01-31 (its first moment, UTC) or 2027-01-31T18:00:00Z"},
		{"allow key k tls until 2027-02-30", "allow: tls: '2027-02-30' is not a DATE, expected one such as 2027-01-31 (its first moment, UTC) or 2027-01-31T18:00:00Z"},

		// Rules that can never match.
		{"deny net 10.0.0.0/8\nallow net 10.1.0.0/16 10.2.0.1 key k", "3: allow: rule 'rule-2' can never match: rule 'rule-1' at Testfile:2 comes first and decides all that it could; remove it, or move it up"},
		{"deny as all net *\nallow as a key k", "3: allow: rule 'a' can never match: rule 'all' at Testfile:2 comes first and decides all that it could; remove it, or move it up"},
		{"allow as a key j k\nallow as b net 10.0.0.1 key k tls", "3: allow: rule 'b' can never match: rule 'a' at Testfile:2 comes first and decides all that it could; remove it, or move it up"},
		{"allow as a unsigned\ndeny as b net 10.0.0.1", "3: deny: rule 'b' can never match: rule 'a' at Testfile:2 comes first and decides all that it could; remove it, or move it up"},
		{"allow as a cert *.example.org\nallow as b cert ns1.example.org key k", "3: allow: rule 'b' can never match: rule 'a' at Testfile:2 comes first and decides all that it could; remove it, or move it up"},

		// The other properties.
		{"algorithms", "algorithms: expected one or more TSIG algorithms, such as hmac-sha256"},
		{"algorithms hmac-md5", "algorithms: 'hmac-md5' must not be used (RFC 8945 §6), expected hmac-sha256, hmac-sha384 or hmac-sha512"},
		{"algorithms hmac-md5.sig-alg.reg.int.", "algorithms: 'hmac-md5.sig-alg.reg.int.' must not be used (RFC 8945 §6), expected hmac-sha256, hmac-sha384 or hmac-sha512"},
		{"algorithms sha256", "algorithms: 'sha256' is no TSIG algorithm known here, expected hmac-sha256, hmac-sha384 or hmac-sha512; only for old clients hmac-sha224, hmac-sha1"},
		{"algorithms hmac-sha256 HMAC-SHA256", "algorithms: 'HMAC-SHA256' is listed twice"},
		{"rate 60", "rate: '60' is not COUNT/PERIOD, expected a whole number from 1 to 1000000 and a duration from 1ms to 8760h, such as 60/1m"},
		{"rate 60/m", "rate: '60/m' is not COUNT/PERIOD, expected a whole number from 1 to 1000000 and a duration from 1ms to 8760h, such as 60/1m"},
		{"rate -1/1m", "rate: '-1/1m' is not COUNT/PERIOD, expected a whole number from 1 to 1000000 and a duration from 1ms to 8760h, such as 60/1m"},
		{"rate 60/-1m", "rate: '60/-1m' is not COUNT/PERIOD, expected a whole number from 1 to 1000000 and a duration from 1ms to 8760h, such as 60/1m"},
		{"rate 60/1m 10", "rate: unexpected '10', expected nothing or burst"},
		{"rate 60/1m burts 10", "rate: unexpected 'burts' (did you mean 'burst'?), expected nothing or burst"},
		{"rate 60/1m burst", "rate: 'burst' needs a value"},
		{"rate 60/1m burst 0", "rate: burst: '0' is not a COUNT, expected a whole number from 1 to 1000000"},
		{"rate 60/1m burst 1 burst 1", "rate: 'burst' is given twice"},
		{"concurrent", "concurrent: expected TOTAL [per-client COUNT] [wait DURATION], such as 16 per-client 4 wait 5s"},
		{"concurrent 99999999999999999999", "concurrent: '99999999999999999999' is not a COUNT, expected a whole number from 1 to 1000000"},
		{"concurrent 4 per-client 5", "concurrent: per-client 5 is more than the 4 in all"},
		{"concurrent 4 wait -1s", "concurrent: wait: '-1s' is not a DURATION, expected one from 0s to 8760h, such as 30s or 1h30m"},
		{"concurrent 4 foo 5", "concurrent: unexpected 'foo', expected nothing or per-client, wait"},
		{"bandwidth", "bandwidth: expected one SIZE, the bytes a second of one transfer, such as 10MiB"},
		{"bandwidth 10", "bandwidth: '10' is not a SIZE, expected a whole number above 0 with one of B, KB, MB, GB, KiB, MiB, GiB, such as 256MiB"},
		{"bandwidth 0B", "bandwidth: '0B' is not a SIZE, expected a whole number above 0 with one of B, KB, MB, GB, KiB, MiB, GiB, such as 256MiB"},
		{"bandwidth 8589934592GiB", "bandwidth: '8589934592GiB' is not a SIZE, expected a whole number above 0 with one of B, KB, MB, GB, KiB, MiB, GiB, such as 256MiB"},
		{"timeout", "timeout: expected TOTAL [stall DURATION] [pace SIZE|off], such as 2h stall 30s pace 4KiB"},
		{"timeout 0s", "timeout: '0s' is not a DURATION, expected one from 1ms to 8760h, such as 30s or 1h30m"},
		{"timeout 30", "timeout: '30' is not a DURATION, expected one from 1ms to 8760h, such as 30s or 1h30m"},
		{"timeout 8761h", "timeout: '8761h' is not a DURATION, expected one from 1ms to 8760h, such as 30s or 1h30m"},
		{"timeout 1m stall 2m", "timeout: stall 2m0s is longer than the 1m0s of the whole transfer"},
		{"timeout 1m pace", "timeout: 'pace' needs a value"},
		{"timeout 1m pace 4", "timeout: pace: '4' is not a SIZE, expected a whole number above 0 with one of B, KB, MB, GB, KiB, MiB, GiB, such as 256MiB, or off"},
		{"timeout 1m pace no", "timeout: pace: 'no' is not a SIZE, expected a whole number above 0 with one of B, KB, MB, GB, KiB, MiB, GiB, such as 256MiB, or off"},
		{"timeout 1m pace off pace 4KiB", "timeout: 'pace' is given twice"},
		{"bandwidth 4KiB\ntimeout 1m pace 4KiB", "3: timeout: a pace of 4096 bytes a second is more than half of the 'bandwidth' 4096, which no transfer would keep"},
		{"audit", "audit: expected one of stdout, file PATH, journald, syslog [NETWORK ADDRESS]"},
		{"audit journal", "audit: unknown sink 'journal' (did you mean 'journald'?), expected one of stdout, file PATH, journald, syslog [NETWORK ADDRESS]"},
		{"audit file", "audit: 'file' needs one PATH"},
		{"audit file a b", "audit: 'file' needs one PATH"},
		{"audit stdout x", "audit: unexpected 'x' after 'stdout', which takes no value"},
		{"audit syslog udp 10.0.0.1:514", "audit: 'syslog udp' loses events without a trace, expected tcp, tls or unix"},
		{"audit syslog 10.0.0.1:514", "audit: unknown network '10.0.0.1:514' of syslog, expected tcp, tls or unix"},
		{"audit syslog tcp", "audit: 'syslog tcp' needs one HOST:PORT"},
		{"audit syslog tcp 10.0.0.1", "audit: '10.0.0.1' is not HOST:PORT"},
		{"audit syslog tls host:0", "audit: 'host:0': '0' is not a port, expected a number from 1 to 65535"},
		{"audit syslog unix dev/log", "audit: 'syslog unix' needs the absolute path of a socket, such as /dev/log"},
		{"audit file a.log\naudit file ./a.log", "3: audit: 'file ./a.log' is given twice"},
		{"audit_failure", "audit_failure: expected refuse or serve"},
		{"audit_failure server", "audit_failure: unknown value 'server' (did you mean 'serve'?), expected refuse or serve"},
		{"audit_failure serve now", "audit_failure: unexpected 'now', expected refuse or serve alone"},
		{"audit_key", "audit_key: expected one FILE"},
		{"audit_key a.key\nmode enforce", "audit_key: there is no file to sign checkpoints of, expected an 'audit file PATH' too"},
		{"mode watch", "mode: unknown value 'watch', expected enforce or observe"},
		{"elsewhere", "elsewhere: expected refuse or pass"},
		{"findings", "findings: expected warn or fail"},
		{"cache", "cache: expected one SIZE, such as 256MiB"},
		{"cache 256 MiB", "cache: expected one SIZE, such as 256MiB"},
		{"cache 1.5GiB", "cache: '1.5GiB' is not a SIZE, expected a whole number above 0 with one of B, KB, MB, GB, KiB, MiB, GiB, such as 256MiB"},
		{"journal a b", "journal: expected one DIR"},
		{"hold", "hold: expected shrink PERCENT, the part of its records that a zone may lose at once, such as shrink 20%"},
		{"hold shrink", "hold: expected shrink PERCENT, the part of its records that a zone may lose at once, such as shrink 20%"},
		{"hold 20%", "hold: expected shrink PERCENT, the part of its records that a zone may lose at once, such as shrink 20%"},
		{"hold shrink 20", "hold: '20' is not a PERCENT, expected a whole number from 1% to 99% with its sign, such as 20%"},
		{"hold shrink 0%", "hold: '0%' is not a PERCENT, expected a whole number from 1% to 99% with its sign, such as 20%"},
		{"hold shrink 100%", "hold: '100%' is not a PERCENT, expected a whole number from 1% to 99% with its sign, such as 20%"},
		{"hold shrink 2.5%", "hold: '2.5%' is not a PERCENT, expected a whole number from 1% to 99% with its sign, such as 20%"},
		{"hold shrink 20% 30%", "hold: expected shrink PERCENT, the part of its records that a zone may lose at once, such as shrink 20%"},
		{"hold shrink 20%", "hold: there is nothing that keeps the last good version over a restart, expected a 'journal DIR' too"},
		{"verify", "verify: expected zonemd off|warn|refuse, or dnssec off|warn|refuse [full] [anchor FILE]"},
		{"verify dnsec warn", "verify: unknown kind 'dnsec' (did you mean 'dnssec'?), expected zonemd off|warn|refuse, or dnssec off|warn|refuse [full] [anchor FILE]"},
		{"verify zonemd", "verify: 'zonemd' needs off, warn or refuse"},
		{"verify zonemd add", "verify: unknown value 'add', expected off, warn or refuse"},
		{"verify zonemd warn full", "verify: unexpected 'full' after 'zonemd warn'"},
		{"verify zonemd warn\nverify zonemd off", "3: verify: 'zonemd' is given twice, first at Testfile:2"},
		{"verify dnssec warn ful", "verify: unexpected 'ful' (did you mean 'full'?) after 'dnssec warn', expected full or anchor FILE"},
		{"verify dnssec warn full full", "verify: 'full' is given twice"},
		{"verify dnssec warn anchor", "verify: 'anchor' needs one FILE with DS or DNSKEY records"},
		{"verify dnssec off full", "verify: 'full' and 'anchor' have no effect with 'dnssec off'"},
		{"verify zonemd refuse", "verify: 'zonemd refuse' needs a 'journal DIR' too, which keeps the last good version"},
		{"verify dnssec refuse full", "verify: 'dnssec refuse' needs a 'journal DIR' too, which keeps the last good version"},
		{"control", "control: expected one DIR"},
		{"control xfr", "control: 'xfr' is not the whole path of a directory, expected one such as /run/coredns/xfr"},
		{"notify", "notify: expected ADDRESS... [key NAME] [source ADDRESS] [tls], such as 192.0.2.53 key ns2.example.org"},
		{"notify key k tls", "notify: expected ADDRESS... [key NAME] [source ADDRESS] [tls], such as 192.0.2.53 key ns2.example.org"},
		{"notify ns2.example.org", "notify: 'ns2.example.org' is no ADDRESS, expected one such as 192.0.2.53, 192.0.2.53:5300 or [2001:db8::53]:5300"},
		{"notify 0.0.0.0", "notify: '0.0.0.0' cannot be notified, expected the address of one secondary and a port above 0"},
		{"notify 255.255.255.255", "notify: '255.255.255.255' cannot be notified, expected the address of one secondary and a port above 0"},
		{"notify [::ffff:255.255.255.255]:53", "notify: '[::ffff:255.255.255.255]:53' cannot be notified, expected the address of one secondary and a port above 0"},
		{"notify 192.0.2.1:0", "notify: '192.0.2.1:0' cannot be notified, expected the address of one secondary and a port above 0"},
		{"notify 192.0.2.1 key", "notify: 'key' needs a NAME"},
		{"notify 192.0.2.1 tls tls", "notify: 'tls' is given twice"},
		{"notify 192.0.2.1 192.0.2.1:53", "notify: '192.0.2.1:53' is listed twice"},
		{"notify 192.0.2.1\nnotify 192.0.2.1 key k", "3: notify: 192.0.2.1:53 is notified already, by the line at Testfile:2"},
		{"notify 2001:db8::1%eth0", "notify: '2001:db8::1%eth0' has a zone identifier, expected it without '%eth0': only link-local addresses have one"},
		{"notify ff02::1%eth0", "notify: 'ff02::1%eth0' cannot be notified, expected the address of one secondary and a port above 0"},
		{"notify 192.0.2.1 source", "notify: 'source' needs an ADDRESS"},
		{"notify 192.0.2.1 source 192.0.2.2 source 192.0.2.3", "notify: 'source' is given twice"},
		{"notify source 192.0.2.2", "notify: expected ADDRESS... [key NAME] [source ADDRESS] [tls], such as 192.0.2.53 key ns2.example.org"},
		{"notify 192.0.2.1 source 192.0.2.2:53", "notify: '192.0.2.2:53' is no source, expected an address of this host without a port, such as 192.0.2.1"},
		{"notify 192.0.2.1 source eth0", "notify: 'eth0' is no source, expected an address of this host without a port, such as 192.0.2.1"},
		{"notify 192.0.2.1 source 0.0.0.0", "notify: '0.0.0.0' is no source, expected an address of this host without a port, such as 192.0.2.1"},
		{"notify fe80::2%eth0 source fe80::1", "notify: source fe80::1 is link-local, expected it with its interface, such as fe80::1%eth0"},
		{"notify fe80::2%eth0 source fe80::1%eth1", "notify: source fe80::1%eth1 is on another link than fe80::2%eth0, expected the same zone identifier"},
		{"notify 192.0.2.1 2001:db8::1 source 192.0.2.2", "notify: source 192.0.2.2 is of another family than 2001:db8::1, expected a line of its own for each family"},
		{"notify source 2001:db8::2 [2001:db8::1]:53 192.0.2.1:5300", "notify: source 2001:db8::2 is of another family than 192.0.2.1, expected a line of its own for each family"},
		{"deny net 192.0.2.1 notify", "deny: unexpected 'notify': a deny rule goes by 'net' alone, for what a client can leave out must not be what denies it"},
		{"allow net 192.0.2.1 key k notify 192.0.2.1", "allow: notify: unexpected '192.0.2.1', expected no value: the rule says whom and with which key"},
		{"allow key k notify", "allow: 'notify' needs the addresses to tell, expected single ones behind 'net'; or write 'notify ADDRESS... key NAME' on a line of its own"},
		{"allow net * key k notify", "allow: 'notify' needs the addresses to tell, expected single ones behind 'net'; or write 'notify ADDRESS... key NAME' on a line of its own"},
		{"allow notify net 192.0.2.1 198.51.100.0/24 key k", "allow: 'notify' needs single addresses, but net has 198.51.100.0/24; put it into a rule of its own, or write 'notify ADDRESS... key NAME' on a line of its own"},
		{"allow net 192.0.2.1 key k l notify", "allow: 'notify' needs one key to sign with, but the rule has 2; write 'notify ADDRESS... key NAME' on a line of its own"},
		{"allow net fe80::2 key k notify", "allow: 'notify' cannot tell the link-local fe80::2, as 'net' does not say on which link it is; write 'notify fe80::2%eth0', with your interface, on a line of its own"},
		{"allow net 255.255.255.255 key k notify", "allow: '255.255.255.255' cannot be notified, expected the address of one secondary and a port above 0"},
		{"allow net 192.0.2.1 key k notify\nallow net 192.0.2.1 192.0.2.2 key l notify", "3: allow: 192.0.2.1:53 is notified already, by the line at Testfile:2"},
		{"notify 192.0.2.1 key k\nallow net 192.0.2.1 key k notify", "3: allow: 192.0.2.1:53 is notified already, by the line at Testfile:2"},
		{"allow net 192.0.2.1 key k notify\nnotify 192.0.2.1 key k", "3: notify: 192.0.2.1:53 is notified already, by the line at Testfile:2"},

		// Expectations.
		{"expect", "expect: expected allow|deny [zone ZONE] [type AXFR|IXFR] from ADDRESS [key NAME] [algorithm ALG] [tls] [san NAME...] [pin PIN] [at DATE] [by RULE]"},
		{"expect refuse from 192.0.2.1", "expect: unknown value 'refuse', expected allow or deny"},
		{"expect allow", "expect: expected 'from ADDRESS', the address of who asks"},
		{"expect allow from ns2", "expect: from: 'ns2' is no address, expected one such as 192.0.2.53"},
		{"expect allow from", "expect: 'from' needs a value"},
		{"expect allow form 192.0.2.1", "expect: unexpected 'form' (did you mean 'from'?), expected one of algorithm, at, by, from, key, pin, san, tls, type, zone"},
		{"expect allow from 192.0.2.1 from 192.0.2.2", "expect: 'from' is given twice"},
		{"expect allow from 192.0.2.1 tls yes", "expect: unexpected 'yes', expected one of algorithm, at, by, from, key, pin, san, tls, type, zone"},
		{"expect allow type ANY from 192.0.2.1", "expect: type: unknown value 'ANY', expected AXFR or IXFR"},
		{"expect allow from 192.0.2.1 algorithm hmac-sha256", "expect: 'algorithm' needs 'key NAME' beside it"},
		{"expect allow from 192.0.2.1 key k algorithm hmac-md5", "expect: algorithm: 'hmac-md5' must not be used (RFC 8945 §6), expected hmac-sha256, hmac-sha384 or hmac-sha512"},
		{"expect allow from 192.0.2.1 san", "expect: 'san' needs one or more values"},
		{"expect allow from 192.0.2.1 san 192.0.2.1", "expect: san: '192.0.2.1' is no name of a certificate, expected a DNS name"},
		{"expect allow from 192.0.2.1 pin a.example", "expect: pin: 'a.example' is no pin, expected sha256: with 64 hex digits, or 44 characters of base64"},
		{"expect allow from 192.0.2.1 at tomorrow", "expect: at: 'tomorrow' is not a DATE, expected one such as 2027-01-31 (its first moment, UTC) or 2027-01-31T18:00:00Z"},
		{"expect allow zone example.com from 192.0.2.1", "expect: zone 'example.com.' is none of this directive, which guards example.org."},
		{"expect allow from 192.0.2.1 by ns2", "expect: this directive has no rule 'ns2'"},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			line, want, ok := strings.Cut(tt.want, ": ")
			if !ok || line != "3" {
				line, want = "2", tt.want
			}
			_, err := parseText("xfrguard example.org {\n"+tt.text+"\n}", "example.org")
			wantErr(t, err, "Testfile:"+line+" - Error during parsing: "+want)
		})
	}
}

func wantErr(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %s", want)
	}
	if err.Error() != want {
		t.Errorf("\ngot  %s\nwant %s", err, want)
	}
}

// TestParseDirectiveErrors is for what is wrong outside of one property.
func TestParseDirectiveErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"xfrguard foo.example", "1 - Error during parsing: zone 'foo.example.' is outside of this server block, which serves example.com., example.org."},
		{"xfrguard org", "1 - Error during parsing: zone 'org.' is outside of this server block, which serves example.com., example.org."},
		{"xfrguard example.org Example.ORG.", "1 - Error during parsing: zone 'example.org.' is named twice, first at Testfile:1"},
		{"xfrguard example.org\nxfrguard", "2 - Error during parsing: zone 'example.org.' is named twice, first at Testfile:1"},
		{"xfrguard\nxfrguard", "2 - Error during parsing: zone 'example.com.' is named twice, first at Testfile:1"},
		{"xfrguard {}", "1 - Error during parsing: '{}' is no zone, expected a name such as example.org, or a prefix such as 10.0.0.0/24 for its reverse zone"},
		{"xfrguard *.example.net", "1 - Error during parsing: zone '*.example.net.' is outside of this server block, which serves example.com., example.org."},
		{"xfrguard *.org", "1 - Error during parsing: zone '*.org.' is outside of this server block, which serves example.com., example.org."},
		{"xfrguard *.example.org *.Example.ORG.", "1 - Error during parsing: zone '*.example.org.' is named twice, first at Testfile:1"},
		{"xfrguard *\nxfrguard *", "2 - Error during parsing: zone '*' is named twice, first at Testfile:1"},
		{"xfrguard * example.org", "1 - Error during parsing: '*' stands for every zone of the server block, expected it alone: give other zones a directive of their own"},
		{"xfrguard *.", noPattern("*.")},
		{"xfrguard *.10.0.0.0/24", noPattern("*.10.0.0.0/24")},
		{"xfrguard *.*.example.org", noPattern("*.*.example.org")},
		{"xfrguard *.example.org:53", noPattern("*.example.org:53")},
		{"xfrguard *example.org", "1 - Error during parsing: '*example.org' is no zone, expected a name such as example.org, or a prefix such as 10.0.0.0/24 for its reverse zone"},
		{"xfrguard a.*.example.org", "1 - Error during parsing: 'a.*.example.org' is no zone, expected a name such as example.org, or a prefix such as 10.0.0.0/24 for its reverse zone"},
		{"xfrguard tls://example.org", "1 - Error during parsing: 'tls://example.org' is no zone, expected a name such as example.org, or a prefix such as 10.0.0.0/24 for its reverse zone"},
		{"xfrguard example.org:53", "1 - Error during parsing: 'example.org:53' has a port, expected a zone alone: the server block says where it listens"},
		{"xfrguard a..example.org", "1 - Error during parsing: 'a..example.org' is no zone, expected a name such as example.org, or a prefix such as 10.0.0.0/24 for its reverse zone"},
		{"xfrguard bücher.example.org", "1 - Error during parsing: 'bücher.example.org' is no zone, expected a name such as example.org, or a prefix such as 10.0.0.0/24 for its reverse zone"},
		{"xfrguard \"\"", "1 - Error during parsing: '' is no zone, expected a name such as example.org, or a prefix such as 10.0.0.0/24 for its reverse zone"},
		{"xfrguard {\n mode enforce", "2 - Error during parsing: the file ends inside the block that xfrguard opens at Testfile:1, expected '}'"},
		{"xfrguard {\n mode enforce\n} xfrguard2", "3 - Error during parsing: 'xfrguard2' stands where 'xfrguard' was expected"},
		{"xfrguard example.org {\n mode enforce\n}\nxfrguard example.com {\n mode observe\n}", "5 - Error during parsing: mode: 'observe' contradicts 'enforce' at Testfile:2, expected one value in a server block"},
		{"xfrguard example.org {\n elsewhere pass\n}\nxfrguard example.com {\n elsewhere refuse\n}", "5 - Error during parsing: elsewhere: 'refuse' contradicts 'pass' at Testfile:2, expected one value in a server block"},
		{"xfrguard example.org {\n findings warn except\n}", "2 - Error during parsing: findings: 'except' needs one or more codes of findings, such as path-relative"},
		{"xfrguard example.org {\n findings except path-relative\n}", "2 - Error during parsing: findings: expected warn or fail"},
		{"xfrguard example.org {\n findings fail path-relative\n}", "2 - Error during parsing: findings: unexpected 'path-relative', expected warn or fail alone"},
		{"xfrguard example.org {\n findings fail except path-relativ\n}", "2 - Error during parsing: findings: unknown code 'path-relativ' of a finding (did you mean 'path-relative'?), expected those that stand in front of findings in the log; docs/FINDINGS.md has all"},
		{"xfrguard example.org {\n findings fail except key-case key-case\n}", "2 - Error during parsing: findings: 'key-case' is listed twice"},
		{"xfrguard example.org {\n findings fail except key-case\n}\nxfrguard example.com {\n findings fail\n}", "5 - Error during parsing: findings: 'fail' contradicts 'fail except key-case' at Testfile:2, expected one value in a server block"},
		{"xfrguard example.org {\n findings warn\n}\nxfrguard example.com {\n findings fail\n}", "5 - Error during parsing: findings: 'fail' contradicts 'warn' at Testfile:2, expected one value in a server block"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			_, err := parseText(tt.text, "example.org", "example.com")
			wantErr(t, err, "Testfile:"+tt.want)
		})
	}
}

// TestEveryMistakeIsTold: one reading tells them all, each with its place, and none that
// only follows from another.
func TestEveryMistakeIsTold(t *testing.T) {
	_, err := parseText(`xfrguard example.org example.net {
	alow net 10.0.0.1 key k
	allow kye k
	mode enforce {
		allow key x
	}
	rate often
	rate 60/1m
	audit_key /etc/key
	audit fle /var/log/x
	cache 1 MB
}
xfrguard example.org {
	notify example.com
	mode obsreve
}`, "example.org")
	var got []string
	for _, m := range Mistakes(err) {
		got = append(got, m.Pos.String()+" "+strings.Fields(m.Text)[0]+" "+strings.Fields(m.Text)[1])
	}
	want := []string{
		"Testfile:1 zone 'example.net.'", "Testfile:2 unknown property", "Testfile:3 allow: unknown", "Testfile:4 unexpected '{'",
		"Testfile:7 rate: 'often'", "Testfile:8 'rate' is", "Testfile:10 audit: unknown", "Testfile:11 cache: expected",
		"Testfile:13 zone 'example.org.'", "Testfile:14 notify: 'example.com'", "Testfile:15 mode: unknown",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v\ngot  %q\nwant %q", err, got, want)
	}
}

// TestErrorsShowNoSecret puts a key's secret wherever a tired operator might.
func TestErrorsShowNoSecret(t *testing.T) {
	for _, octets := range []int{16, 24, 32, 48, 64} {
		raw := make([]byte, octets)
		for i := range raw {
			raw[i] = byte(i*37 + 5)
		}
		secret := base64.StdEncoding.EncodeToString(raw)
		for _, line := range []string{
			"SECRET", "allow key k. SECRET", "allow key hmac-sha256:k:SECRET", "allow key k secret SECRET", "allow SECRET", "allow as SECRET key k",
			"allow net SECRET key k", "allow type SECRET key k", "allow key k tls SECRET", "allow key k tls until SECRET", "allow key k expires SECRET", "allow net 10.0.0.1 unsigned SECRET",
			"allow key k rate SECRET", "allow key k rate 1/1m SECRET", "allow key k concurrent SECRET", "allow cert SECRET SECRET", "deny net SECRET",
			"algorithms SECRET", "rate SECRET", "concurrent SECRET", "concurrent 4 wait SECRET", "bandwidth SECRET", "timeout SECRET", "audit SECRET",
			"audit stdout SECRET", "audit syslog SECRET", "audit syslog tcp SECRET", "audit_failure SECRET", "mode SECRET", "cache SECRET",
			"notify SECRET", "notify 192.0.2.1 source SECRET", "allow net 192.0.2.1 key k notify SECRET", "notify 192.0.2.1 key SECRET", "notify 192.0.2.1 SECRET", "audit syslog tls SECRET:0",
			"control SECRET", "hold SECRET", "hold shrink SECRET", "findings SECRET", "findings fail except SECRET", "elsewhere SECRET",
			"verify SECRET", "verify zonemd SECRET", "verify dnssec warn anchor a SECRET",
			"expect SECRET", "expect allow from SECRET", "expect allow from ::1 SECRET", "expect allow from ::1 zone SECRET", "expect allow from ::1 type SECRET",
			"expect allow from ::1 key SECRET", "expect allow from ::1 key k algorithm SECRET", "expect allow from ::1 san SECRET",
			"expect allow from ::1 pin SECRET x", "expect allow from ::1 at SECRET", "expect allow from ::1 by SECRET",
		} {
			_, err := parseText("xfrguard example.org {\n"+strings.ReplaceAll(line, "SECRET", secret)+"\n}", "example.org")
			if err == nil {
				t.Errorf("%s, %d octets: no error", line, octets)
			} else if shows(err, secret) {
				t.Errorf("%s: the error shows the secret: %v", line, err)
			}
		}
		for _, zones := range []string{"SECRET", "*.SECRET", "SECRET SECRET", "*.SECRET *.SECRET", "example.org SECRET"} {
			for _, block := range []string{".", "example.org"} {
				if _, err := parseText("xfrguard "+strings.ReplaceAll(zones, "SECRET", secret), block); err != nil && shows(err, secret) {
					t.Errorf("%s in %s: the error shows the secret: %v", zones, block, err)
				}
			}
		}
	}
}

// shows reports whether the error has the beginning of the secret, in whatever case: what
// is taken for a name is shown in lower case.
func shows(err error, secret string) bool {
	return strings.Contains(strings.ToLower(err.Error()), strings.ToLower(secret[:10]))
}
