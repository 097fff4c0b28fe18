// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"net/netip"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"
)

// DefaultAnswers bounds what answers may write that hold no zone data: `up-to-date`,
// `use-tcp`, and in observe mode what is allowed. A client may ask for them as often as
// its rates let it, for each zone of the server: thousands of times a second. The first
// line of an identity for each zone within an hour costs a budget that a server with
// thousands of zones and secondaries does not use up.
var DefaultAnswers = foldLimits{
	window:    30 * time.Second,
	perPrefix: 16,
	Class: [foldClasses]foldBudget{
		FoldUDP:       {foldRate: foldRate{5, 50}, windows: 1024},
		foldSignedUDP: {foldRate: foldRate{10, 100}, windows: 1024, identity: foldRate{2, 20}, first: foldRate{200, 20_000}},
		foldStream:    {foldRate: foldRate{20, 200}, windows: 1024, identity: foldRate{2, 20}, first: foldRate{50, 5000}},
		foldProven:    {foldRate: foldRate{50, 500}, windows: 1024, identity: foldRate{2, 20}, first: foldRate{200, 100_000}},
	},
	first: foldFirst{within: time.Hour, everyOne: true, remember: 1 << 16},
}

// newAnswerFolder returns a folder for allowed requests that are answered without zone data.
func newAnswerFolder(limits foldLimits, emit func(*Event)) *folder {
	if limits.window == 0 {
		limits = DefaultAnswers
	}
	f := newFolder(limits, emit)
	f.action, f.keyOf = ActionAnswered, answerKey
	return f
}

// answerKey sorts an answer into its kind. A client without a proof is its address, which
// over a connection is its own.
func answerKey(e *Event, client netip.Addr) foldKey {
	k := keyOf(e, client)
	k.reason = e.Reason
	if e.Complete {
		k.reason = string(e.Served)
	}
	if k.class == foldStream {
		k.identity = policy.HostOf(client).String()
	}
	return k
}

// own reports whether the answer is to have a line of its own. Otherwise tally counts it,
// once it has been sent.
func (f *folder) own(e *Event) bool {
	client, _ := netip.ParseAddr(e.Client)
	f.Mu.Lock()
	defer f.Mu.Unlock()
	return f.Closed || f.place(f.keyOf(e, client), e, client) == nil
}

// tally counts an answer that has no line of its own.
func (f *folder) tally(e *Event) {
	client, _ := netip.ParseAddr(e.Client)
	k := f.keyOf(e, client)
	f.Mu.Lock()
	if f.Closed {
		f.Mu.Unlock()
		f.Emit(e)
		return
	}
	defer f.Mu.Unlock()
	w := f.windows[k]
	if w == nil {
		w = f.openWindow(k, e)
	}
	w.add(e, client, k.reason)
}
