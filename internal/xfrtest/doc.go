// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package xfrtest runs a whole CoreDNS in the process of a test, asks it, and reads what
// it has put on record. It does not import the plugin, so that its own tests can use it:
// the test does, and Corefiles have it then.
package xfrtest
