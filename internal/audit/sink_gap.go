// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import "encoding/json"

// standsFor says of a lost event for how many allow decisions and for how many denials it
// stood: a folded line stands for many.
func standsFor(event []byte) (allowed, denials uint64) {
	var e struct {
		Action  Action `json:"event.action"`
		Outcome string `json:"event.outcome"`
		Count   uint64 `json:"coredns.xfr.suppressed.count"`
	}
	if json.Unmarshal(event, &e) != nil {
		return 0, 0
	}
	switch {
	case e.Action == ActionAnswered:
		return e.Count, 0
	case e.Action == ActionDenied:
		return 0, e.Count
	case e.Action == ActionDecision && e.Outcome == "success":
		return 1, 0
	case e.Action == ActionDecision:
		return 0, 1
	}
	return 0, 0
}
