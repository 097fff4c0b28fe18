// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"cmp"
	"container/list"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"
)

const (
	clientsMax = 64  // distinct clients that a window tells apart
	keysMax    = 16  // distinct claimed key names
	keyNameMax = 128 // octets that it keeps of one
	listedMax  = 8   // how many of either a summary names
)

// foldWindow counts the denials of one kind.
type foldWindow struct {
	key    foldKey
	sample Event // what all of the kind have in common; of the identity in its own window; empty in a class's
	end    time.Time
	place  *list.Element

	count   int64
	since   time.Time
	clients []netip.Addr     // at most clientsMax
	keys    []string         // at most keysMax
	reasons map[string]int64 // in a window for several kinds
	tries   []foldTry        // lines of their own; at most perPrefix
	whose   foldWhose
}

// foldWhose is the rule and the secondary that all of a window have, as far as they have
// the same.
type foldWhose struct {
	rule, secondary string
	some            bool // it is of one event at least
}

// add takes note of more events.
func (w *foldWhose) add(o foldWhose) {
	if !w.some {
		*w = o
		return
	}
	if o.some && o.rule != w.rule {
		w.rule = ""
	}
	if o.some && o.secondary != w.secondary {
		w.secondary = ""
	}
}

// sampleOf keeps what a summary says of its kind. Nothing of it is a client's invention.
func sampleOf(e *Event, k *foldKey) Event {
	s := Event{Block: e.Block, View: e.View, Zone: e.Zone, Reason: k.reason, Enforced: e.Enforced}
	switch {
	case k.identity == "":
	case e.TSIG.Status == policy.TSIGValid:
		s.TSIG = e.TSIG
	case e.TLS.Verified:
		s.TLS = TLSFacts{Established: true, SPKI: e.TLS.SPKI, Verified: e.TLS.Verified}
	}
	return s
}

func (w *foldWindow) add(e *Event, client netip.Addr, reason string) {
	w.count++
	if w.since.IsZero() || e.Time.Before(w.since) {
		w.since = e.Time
	}
	w.addClient(client)
	w.whose.add(foldWhose{rule: e.Rule, secondary: e.Secondary, some: true})
	if e.TSIG.Key != "" {
		w.addKey(e.TSIG.Key)
	}
	if w.key.all {
		w.addReason(reason, 1)
	}
}

func (w *foldWindow) addClient(a netip.Addr) {
	if a.IsValid() && len(w.clients) < clientsMax && !slices.Contains(w.clients, a) {
		w.clients = append(w.clients, a)
	}
}

func (w *foldWindow) addKey(name string) {
	name = name[:min(len(name), keyNameMax)]
	if len(w.keys) < keysMax && !slices.Contains(w.keys, name) {
		w.keys = append(w.keys, strings.Clone(name)) // not the whole message it was cut from
	}
}

// addReason: reasons are a closed list, so the map is small.
func (w *foldWindow) addReason(reason string, n int64) {
	if w.reasons == nil {
		w.reasons = make(map[string]int64)
	}
	w.reasons[reason] += n
}

// merge adds what another window counted.
func (w *foldWindow) merge(o *foldWindow) {
	w.count += o.count
	if w.since.IsZero() || o.since.Before(w.since) {
		w.since = o.since
	}
	for _, a := range o.clients {
		w.addClient(a)
	}
	for _, k := range o.keys {
		w.addKey(k)
	}
	w.addReason(o.key.reason, o.count)
	w.whose.add(o.whose)
}

// summary is the line for what was counted.
func (w *foldWindow) summary(action Action) *Event {
	e := w.sample
	e.Time = time.Now()
	e.Action = action
	e.Rule, e.Secondary = w.whose.rule, w.whose.secondary
	s := &Suppressed{
		Count: w.count, Since: w.since, Class: foldClassNames[w.key.class], ClientsTotal: len(w.clients), KeysTotal: len(w.keys),
		Keys: w.keys[:min(len(w.keys), listedMax)],
	}
	for _, a := range w.clients[:min(len(w.clients), listedMax)] {
		s.Clients = append(s.Clients, a.String())
	}
	if w.key.prefix.IsValid() {
		s.Prefix = w.key.prefix.String()
	}
	if w.key.all {
		w.describe(&e, s)
	}
	e.Suppressed = s
	return &e
}

// describe fills the summary of a window that covers several kinds.
func (w *foldWindow) describe(e *Event, s *Suppressed) {
	e.Reason, e.Zone = reasonSeveral, "-"
	e.Message = specOf(e.Action).message + ": of kinds without a line of their own"
	e.Enforced = w.key.enforced
	byCount := func(a, b string) int {
		return cmp.Or(cmp.Compare(w.reasons[b], w.reasons[a]), cmp.Compare(a, b))
	}
	for _, r := range slices.SortedFunc(maps.Keys(w.reasons), byCount) {
		s.Reasons = append(s.Reasons, r+"="+strconv.FormatInt(w.reasons[r], 10))
	}
}

func (w *foldWindow) reset() {
	w.count, w.since, w.clients, w.keys, w.reasons = 0, time.Time{}, nil, nil, nil
	w.whose = foldWhose{}
}
