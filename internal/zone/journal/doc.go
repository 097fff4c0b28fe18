// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package journal keeps what is needed to answer IXFR after a restart: of each zone one
// whole version (the base), the changes from version to version (the deltas), to whom
// each version was given, and what serials have meant. It knows nothing of DNS: messages
// and records are octets.
//
// # What a caller may rely on
//
// [Journal.Update] is one transaction. When it returns nil the change is on stable
// storage; when the process or the machine dies before that, the state is the one
// before or the one after, never a mix. When it returns an error nothing changed, with
// one exception: after a failed write or sync it is unknown which of the two states is
// on disk. The journal is then closed to all further use, and opening it again tells.
//
// [Journal.Load] returns what was stored or [ErrCorrupt], never something else. What
// can be damaged is checked in this order: [Open] reads the file's structure with
// ordinary reads and strict bounds before a memory map exists, so that neither a wild
// pointer nor a cycle in a damaged file reaches code that trusts it, and verifies all
// small records and their counts; Load verifies every octet that it returns. A page
// that cannot be read any more while the file is open (it was truncated, the disk
// fails) is an error, not the end of the process.
//
// The file is a cache. Nothing is lost for good without it: its zones are transferred
// whole once more. So there is no repair.
//
// # The file
//
// DIR/xfrguard.journal is a bbolt file with pages of 4096 octets. Both of its meta
// pages must be valid, although bbolt would go on with one: that would silently be an
// older state. Eight buckets hold:
//
//	top     "format" → "xfrguard journal 3"; "state" → next slot, zones, counted octets
//	zones   "z" zone → the head: slot, base, range of links, counts
//	links   slot, number → a delta's serials, digests and lengths
//	given   slot, digest, rule → nothing
//	bases   slot, number, chunk → messages, each after its length (16 bits)
//	deltas  slot, number, chunk → records
//	serials slot → serials, each with its content's print and whether it had two
//	notes   slot → what the caller notes of the zone, opaque
//
// Numbers are big endian. A slot belongs to one lineage of one zone and is never used
// again, nor is a number within it, so all keys but the heads and the state are written
// once. Every value but the format ends with 16 octets of SHA-256 over bucket, key and
// value: a value is good only in its own place.
//
// A file of format 1, which has no serials, or 2, which has no notes, is brought to this
// one by [Open].
package journal
