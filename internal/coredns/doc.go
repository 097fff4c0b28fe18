// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package coredns reads what CoreDNS and caddy do not export. When one of them moves,
// this is what can break without a compile error; TestPinned says where. What is read
// out of miekg/dns, the connection below a writer, stands in internal/wire/conn.go.
//
//   - [Blocks]: the server blocks of a Corefile, from a map of the dns context.
//   - [Chain]: the handlers of a block, along their exported Next.
//   - [Corefile]: the text that an instance is made of, while it starts.
//   - [NotifyToOf]: whom the transfer plugin notifies.
//   - [RequiresTSIG]: what the tsig plugin requires.
//   - [CheckOrder], [Harmless]: the order of the plugins, by their names.
//   - [ListenerNames], [BelievesAnybody]: what a server listens on, and whose PROXY header
//     it believes.
package coredns
