// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"reflect"
	"testing"
)

// TestEntrySize: what `cache` counts for a record's entry is what the entry takes.
func TestEntrySize(t *testing.T) {
	if size := reflect.TypeFor[entry]().Size(); size != entrySize {
		t.Errorf("an entry takes %d octets, and %d are counted", size, entrySize)
	}
}
