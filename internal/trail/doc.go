// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package trail keeps a tamper-evident log: a file to which whole JSON lines are only
// ever appended, each of them chained to the one before by SHA-256, and a verifier that
// names the first line that was changed, removed, moved or inserted. It knows nothing
// of what the lines say.
//
// # What a caller may rely on
//
// [File.Append] returns nil only when the line is on stable storage and the path led to
// the file that holds it: written by one write(2), synced, and looked up again after
// the sync. Concurrent callers share one sync. [File.Post] hands a line over without
// waiting; it has a budget of its own and can neither delay nor fail an Append.
//
// A file that refuses or hangs is down: Append fails at once, and the file is opened
// again in the background. The first line after that is a [KindGap] event that tells what
// was lost.
//
// A file is open once: a second [Open] is refused with plainfile.ErrLocked, in another
// process and in this one. Users that overlap, as during a reload, share one [File], by
// the path that [Resolve] returns.
//
// # The line
//
// A line is one JSON object, at most [MaxLine] bytes with its newline. Its last four
// members are the seal:
//
//	…,"event.sequence":N,"coredns.xfr.chain.uid":"UID","coredns.xfr.chain.prev":"HEX","coredns.xfr.chain.hash":"HEX"}
//
// The hash is SHA-256 over the bytes of the line from its first byte up to and not
// including the comma that stands before "coredns.xfr.chain.hash"; prev is the hash of
// the line before and thereby part of what is hashed. So a line can be checked with sed
// and sha256sum alone:
//
//	sed -n 7p audit.log | sed 's/,"coredns.xfr.chain.hash":.*//' | tr -d '\n' | sha256sum
//
// The first line of a chain has sequence 1 and a prev of 64 zeros. The chain goes on
// over restarts and rotation.
//
// # What it cannot show
//
// A chain alone is no proof against one who may write the file: all of it can be made
// anew, and lines can be cut from its end. Signed checkpoints (see [Checkpoint]) close
// the first, and the second too when they are kept elsewhere.
//
// # Rotation
//
// Rename the file and leave it; no signal is needed. The writer notices within a
// second, and before any Append returns, and goes on in a new file. A compressor must
// not start before that second is over (logrotate: nocreate, delaycompress).
// copytruncate destroys what was written between the copy and the cut; this is
// recorded, and [Verify] shows it.
package trail
