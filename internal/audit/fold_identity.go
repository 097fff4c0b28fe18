// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"hash/maphash"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// maxFoldIdentities bounds the budgets that are kept: of those used longest ago the next
// line finds a full one. The class's budget stands behind them.
const maxFoldIdentities = 4096

// foldIdentities are the budgets of proven identities, so that none of them takes another
// one's lines. They are guarded by the folder's lock.
type foldIdentities struct {
	limits  *foldLimits
	budgets *simplelru.LRU[foldSource, *rate.Limiter]
	seed    maphash.Seed
	firsts  *simplelru.LRU[uint64, time.Time] // by the hash of a foldLine, of which there are many
	reserve [foldClasses]*rate.Limiter
}

// foldLine is what has a first line: an identity, or a zone of it.
type foldLine struct {
	source            foldSource
	block, view, zone string
}

func newFoldIdentities(limits *foldLimits) *foldIdentities {
	budgets, err := simplelru.NewLRU[foldSource, *rate.Limiter](maxFoldIdentities, nil)
	if err != nil {
		panic(err) // only for a size below one
	}
	firsts, err := simplelru.NewLRU[uint64, time.Time](max(1, limits.first.remember), nil)
	if err != nil {
		panic(err)
	}
	p := &foldIdentities{limits: limits, budgets: budgets, seed: maphash.MakeSeed(), firsts: firsts}
	for c := range p.reserve {
		p.reserve[c] = limits.Class[c].first.limiter()
	}
	return p
}

func (r foldRate) limiter() *rate.Limiter { return rate.NewLimiter(rate.Limit(r.perSecond), r.Burst) }

// affords takes a line of that cost off the budget of the key's identity.
func (p *foldIdentities) affords(k foldKey, cost int) bool {
	source := k.source()
	b, ok := p.budgets.Get(source)
	if !ok {
		b = p.limits.Class[k.class].identity.limiter()
		p.budgets.Add(source, b)
	}
	return b.AllowN(time.Now(), cost)
}

// first reports whether this is the identity's first line for some time, and whether there
// is a budget for it.
func (p *foldIdentities) first(k foldKey, cost int) bool {
	line, now := foldLine{source: k.source()}, time.Now()
	if p.limits.first.everyOne {
		line.block, line.view, line.zone = k.block, k.view, k.zone
	}
	id := maphash.Comparable(p.seed, line)
	if last, ok := p.firsts.Get(id); ok && now.Sub(last) < p.limits.first.within || !p.reserve[k.class].AllowN(now, cost) {
		return false
	}
	p.firsts.Add(id, now)
	return true
}
