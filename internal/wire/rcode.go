// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"strconv"

	"github.com/miekg/dns"
)

// RcodeName is the mnemonic of an rcode, such as REFUSED, or RCODE and its number for one
// that has none.
func RcodeName(rcode int) string {
	if name, ok := dns.RcodeToString[rcode]; ok {
		return name
	}
	return "RCODE" + strconv.Itoa(rcode)
}
