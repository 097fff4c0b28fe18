// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"strings"
	"testing"
)

func TestPaired(t *testing.T) {
	const dataset = `"event.dataset":"coredns.xfr",`
	allow := func(event, id string) string {
		return `{` + dataset + `"event.action":"zone-transfer-decision","event.type":["allowed","start"],"event.id":"` + event + `","coredns.xfr.id":"` + id + `"}`
	}
	deny := func(event, id string) string {
		return `{` + dataset + `"event.action":"zone-transfer-decision","event.type":["denied"],"event.id":"` + event + `","coredns.xfr.id":"` + id + `"}`
	}
	end := func(event, id string) string {
		return `{` + dataset + `"event.action":"zone-transfer-end","event.type":["end"],"event.id":"` + event + `","coredns.xfr.id":"` + id + `"}`
	}
	whole := func(event, id string) string {
		return strings.Replace(allow(event, id), `}`, `,"coredns.xfr.complete":true}`, 1)
	}
	tests := []struct {
		name  string
		lines []string
		pairs int // -1: an error
	}{
		{"nothing", []string{"CoreDNS-1.15.0", `{"other":1}`}, 0},
		{"two", []string{allow("1", "a"), allow("2", "b"), end("3", "b"), end("4", "a")}, 2},
		{"denied", []string{deny("1", "a"), allow("2", "b"), end("3", "b")}, 1},
		{"no end", []string{allow("1", "a")}, -1},
		{"two ends", []string{allow("1", "a"), end("2", "a"), end("3", "a")}, -1},
		{"two decisions", []string{allow("1", "a"), allow("2", "a"), end("3", "a")}, -1},
		{"end first", []string{end("1", "a"), allow("2", "a")}, -1},
		{"end of a denied one", []string{deny("1", "a"), end("2", "a")}, -1},
		{"event twice", []string{allow("1", "a"), end("1", "a")}, -1},
		{"no id", []string{allow("1", ""), end("2", "")}, -1},
		{"whole in one line", []string{whole("1", "a"), allow("2", "b"), end("3", "b")}, 2},
		{"whole, and not sent", []string{whole("1", "a"), end("2", "a")}, 1},
		{"whole, and said again", []string{whole("1", "a"), strings.Replace(end("2", "a"), `}`, `,"coredns.xfr.complete":true}`, 1)}, -1},
		{"torn line", []string{`{"event.dataset":"coredns.xfr"`}, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			events, err := Events(tt.lines)
			var pairs [][2]Event
			if err == nil {
				pairs, err = Paired(events)
			}
			if (err != nil) != (tt.pairs < 0) || (err == nil && len(pairs) != tt.pairs) {
				t.Errorf("%d pairs, %v; want %d", len(pairs), err, tt.pairs)
			}
		})
	}
}
