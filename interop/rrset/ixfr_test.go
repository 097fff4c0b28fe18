// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package rrset

import (
	"strings"
	"testing"
)

// The example of RFC 1995 §7, whose three zones are given there.
func TestApply(t *testing.T) {
	const (
		soa1 = "@ 1 IN SOA ns hostmaster 1 600 600 3600000 604800\n"
		soa2 = "@ 1 IN SOA ns hostmaster 2 600 600 3600000 604800\n"
		soa3 = "@ 1 IN SOA ns hostmaster 3 600 600 3600000 604800\n"

		common = "@ 1 IN NS ns\nns 1 IN A 133.69.136.1\n"
		nezu   = "nezu 1 IN A 133.69.136.5\n"
		jain1  = "jain-bb 1 IN A 133.69.136.4\n"
		jain2  = "jain-bb 1 IN A 192.41.197.2\n"
		jain3  = "jain-bb 1 IN A 133.69.136.3\n"
	)
	steps := soa3 + soa1 + nezu + soa2 + jain1 + jain2 + soa2 + jain1 + soa3 + jain3 + soa3
	condensed := soa3 + soa1 + nezu + soa3 + jain3 + jain2 + soa3
	whole := soa3 + common + jain3 + jain2 + soa3
	for _, tt := range []struct {
		name, answer string
		want         Answer // "": refused
	}{
		{"two sequences", steps, Difference},
		{"condensed", condensed, Difference},
		{"whole zone", whole, Whole},
		{"empty zone", soa3 + soa3, Whole},
		{"up to date", soa3, SOAOnly},
		{"empty", "", ""},
		{"no SOA", nezu, ""},
		{"cut short", strings.TrimSuffix(condensed, soa3), ""},
		{"cut while it removes", soa3 + soa1 + nezu + soa3, ""},
		{"from another version", strings.Replace(condensed, soa1, soa2, 1), ""},
		{"to another version", strings.Replace(condensed, nezu+soa3, nezu+soa2, 1), ""},
		{"removes what is not there", strings.Replace(condensed, nezu, nezu+jain1, 1), ""},
		{"removes with another TTL", strings.Replace(condensed, nezu, "nezu 2 IN A 133.69.136.5\n", 1), ""},
		{"adds what is there", strings.Replace(condensed, jain3, jain3+common, 1), ""},
		{"leaves out a step", soa3 + soa1 + nezu + soa2 + jain1 + jain2 + soa1 + soa3 + jain3 + soa3, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			have := jain(t, soa1+common+nezu)
			rrs, err := ParseAll(strings.NewReader(tt.answer), "jain.ad.jp.", "answer")
			if err != nil {
				t.Fatal(err)
			}
			got, answer, err := Apply(have, rrs)
			if (err == nil) != (tt.want != "") || answer != tt.want && err == nil {
				t.Fatalf("%q, %v, want %q", answer, err, tt.want)
			}
			if tt.want != Difference && tt.name != "whole zone" {
				return
			}
			if diff := Diff(jain(t, soa3+common+jain3+jain2), got); diff != "" {
				t.Error(diff)
			}
			if diff := Diff(jain(t, soa1+common+nezu), have); diff != "" {
				t.Errorf("the old zone was changed: %s", diff)
			}
		})
	}
}

func jain(t *testing.T, text string) Set {
	t.Helper()
	set, err := Parse(strings.NewReader(text), "jain.ad.jp.", "test")
	if err != nil {
		t.Fatal(err)
	}
	return set
}
