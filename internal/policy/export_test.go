// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package policy

import "testing"

// MaxListed is in how many lists of the index a rule may be.
var MaxListed = maxListed

// SetMaxListed is another bound for one test.
func SetMaxListed(t *testing.T, n int) {
	before := maxListed
	maxListed = n
	t.Cleanup(func() { maxListed = before })
}
