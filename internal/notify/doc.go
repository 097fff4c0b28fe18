// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package notify tells secondaries that a zone has a new serial (NOTIFY, RFC 1996),
// signed with TSIG (RFC 8945), over UDP with TCP behind it, or over TLS.
//
// A [Sender] has one lane for each [Target]: its notices wait there, a newer serial of
// a zone takes the place of an older one, and a target that keeps silent holds up its
// own lane alone. A try sends over UDP and, when no answer comes or one that is cut
// short, over TCP; without an answer it is repeated with growing pauses. Each notice
// ends in exactly one [Result].
package notify
