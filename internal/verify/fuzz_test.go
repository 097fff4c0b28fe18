// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"context"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/verify"
)

// FuzzJudge: records of any form are judged without a panic, alone and as what changed.
func FuzzJudge(f *testing.F) {
	for _, name := range []string{"bind-13-nsec", "knot-15-nsec3", "bind-13-optout"} {
		z := readSigned(f, "testdata/signed/"+name+".zone")
		f.Add(rowOf(f, z.records), []byte{})
		f.Add(rowOf(f, z.records[:20]), rowOf(f, z.records[10:]))
	}
	f.Fuzz(func(t *testing.T, row, other []byte) {
		o := verify.Options{Zonemd: true, Dnssec: true, Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
		table, err := verify.NewTable(row)
		if err != nil || table.Apex() == nil {
			return
		}
		_, state, err := verify.Judge(context.Background(), verify.Input{Zone: table}, o)
		if err != nil {
			t.Fatal(err)
		}
		changed, err := verify.NewTable(row, other)
		if err != nil {
			return
		}
		_, _, _ = verify.Judge(context.Background(), verify.Input{Zone: changed, Before: state, Change: &verify.Change{Added: other}}, o)
	})
}
