// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package wire knows the DNS wire format and connections, and nothing of policy.
//
// It turns records into the packed messages of a zone transfer ([Packer]), makes
// them the answer to one request ([Envelope]), signs them ([Signer]), and writes
// them ([Sender]). Packed messages are immutable and belong to no request, so one
// packed zone serves any number of clients at the same time: everything that
// differs from one transfer to the next (message ID, RD, the client's spelling of
// the question, OPT, TSIG) is set on the copy in the sender's buffer.
//
// The records of a message may be compressed against each other but never against
// the question, and only when every octet, letter case included, is the same.
package wire
