// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"
)

// TestFoldWhose: a line names the rule and the secondary when all that it stands for have the same, also
// the line for several kinds, and forgets them with the window.
func TestFoldWhose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &foldLog{}
		f := newFolder(onlyFirst(), l.emit)
		whose := func(secondaries ...string) string {
			for _, secondary := range secondaries {
				e := refusal("198.51.100.1", policy.ReasonRateLimited, policy.TransportTCP)
				e.Rule, e.Secondary = "lan", secondary
				f.add(e)
			}
			l.take()
			time.Sleep(DefaultFold.window + time.Millisecond)
			got := l.take()
			if len(got) != 1 || got[0].Suppressed == nil {
				t.Fatalf("%v made %v", secondaries, got)
			}
			return got[0].Rule + " " + got[0].Secondary
		}
		whose("198.51.100.1", "198.51.100.1") // the first has its own line
		for want, secondaries := range map[string][]string{
			"lan a.": {"a.", "a."}, "lan b.": {"b."}, "lan ": {"a.", "b.", "a."},
		} {
			if got := whose(secondaries...); got != want {
				t.Errorf("%v is of %q, want %q", secondaries, got, want)
			}
		}
		f.close()
	})
	var all foldWhose
	all.add(foldWhose{})
	all.add(foldWhose{rule: "lan", secondary: "a.", some: true})
	all.add(foldWhose{})
	if all != (foldWhose{rule: "lan", secondary: "a.", some: true}) {
		t.Errorf("windows without events change what others have: %+v", all)
	}
	if all.add(foldWhose{rule: "wan", secondary: "a.", some: true}); all.rule != "" || all.secondary != "a." {
		t.Errorf("two rules are one: %+v", all)
	}
}
