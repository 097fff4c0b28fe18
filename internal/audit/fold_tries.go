// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"net/netip"
	"slices"
	"time"
)

// foldShare is what one source has, as long as it has a window.
type foldShare struct {
	windows int
	lines   int // that were written of its windows, summaries not included
}

// foldTry counts the lines of one client in a window.
type foldTry struct {
	client netip.Addr
	lines  int
}

// another reports whether a denial, though its kind has its line, is one of the first few
// of its client and has one too: who sets up a secondary tries more than once, and looks
// for what became of each. One source has a share of such lines, and all of them half of
// the budget, so that they take no other kind's first line.
func (f *folder) another(w *foldWindow, client netip.Addr, cost int) bool {
	if f.limits.tries == 0 || w.key.all || !client.IsValid() {
		return false
	}
	if share := f.sources[w.key.source()]; share.lines >= f.limits.perPrefix || w.linesOf(client) >= f.limits.tries {
		return false
	}
	class := w.key.class
	left := f.budget[class].TokensAt(time.Now()) - float64(cost)
	if left < float64(f.limits.Class[class].Burst)/2 || !f.affords(w.key, cost) {
		return false
	}
	f.wrote(w, client)
	return true
}

// wrote notes that a client has a line of its own.
func (f *folder) wrote(w *foldWindow, client netip.Addr) {
	f.sources[w.key.source()].lines++
	if i := w.tryOf(client); i >= 0 {
		w.tries[i].lines++
		return
	}
	w.tries = append(w.tries, foldTry{client, 1}) // no more than the lines of its source
}

func (w *foldWindow) tryOf(client netip.Addr) int {
	return slices.IndexFunc(w.tries, func(t foldTry) bool { return t.client == client })
}

func (w *foldWindow) linesOf(client netip.Addr) int {
	if i := w.tryOf(client); i >= 0 {
		return w.tries[i].lines
	}
	return 0
}

const (
	lineUnit = 1500 // bytes of the file that one line of the budgets stands for
	lineBare = 1200 // bytes of a denial without what the client can make long
)

// cost is how many lines of the budget the event takes: one, or more when the client has
// made it long. Answers go to clients that are allowed to ask.
func (f *folder) cost(e *Event) int {
	if f.action == ActionAnswered {
		return 1
	}
	n := lineBare
	long := func(length, limit int) { n += min(2*length, limit) } // escaped
	long(len(e.QueryName), capQuery)
	long(len(e.TSIG.Key), capName)
	long(len(e.TSIG.Algorithm), capRule)
	long(len(e.TLS.ServerName), capServer)
	if e.TLS.Leaf != nil { // it is rendered when the line is written
		n += CapSubject + CapSANs
	}
	if s := e.Suppressed; s != nil {
		for _, k := range s.Keys {
			long(len(k), capText)
		}
		n += 20 * len(s.Clients)
	}
	return (n + lineUnit - 1) / lineUnit
}

// affords takes a line of that cost off the budget of the identity, if there is one, and
// of the class.
func (f *folder) affords(k foldKey, cost int) bool {
	if k.identity != "" && !f.proven.affords(k, cost) {
		return false
	}
	return f.budget[k.class].AllowN(time.Now(), cost)
}
