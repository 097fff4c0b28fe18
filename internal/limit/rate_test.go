// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"
)

func TestLimitRate(t *testing.T) {
	const c, d = "192.0.2.1", "192.0.2.2"
	def := policy.DefaultLimits
	def.Rate = policy.Rate{Count: 1, Period: time.Second, Burst: 2}
	def.Wait = 0
	faster, slower, none := def, def, def
	faster.Rate = policy.Rate{Count: 4, Period: time.Second, Burst: 4}
	slower.Rate = policy.Rate{Count: 1, Period: 4 * time.Second, Burst: 1}
	none.Rate = policy.Rate{}
	own := &policy.Rate{Count: 1, Period: time.Minute, Burst: 1}
	const sec = time.Second

	runLimitScript(t, def, []limitStep{
		{at: 0, client: c, zone: "a.", text: "first of the burst"},
		{at: 1, client: c, zone: "a.", text: "second of the burst"},
		{at: 2, client: c, zone: "a.", want: policy.ReasonRateLimited, text: "the burst is used up"},
		{at: 3, client: c, zone: "b.", text: "another zone has its own bucket"},
		{at: 4, client: d, zone: "a.", text: "another client has its own bucket"},
		{at: 5, client: c, zone: "a.", scope: "other", text: "another directive has its own bucket"},
		{at: 6, client: c, zone: "a.", rule: "r", ownRate: own, text: "a rule with a rate has its own bucket"},
		{at: 7, client: c, zone: "a.", rule: "r", ownRate: own, want: policy.ReasonRateLimited, text: "and its own rate"},
		{at: 8, client: c, zone: "a.", rule: "q", ownRate: own, text: "each rule for itself"},
		{at: 9, client: c, zone: "a.", rule: "p", want: policy.ReasonRateLimited, text: "a rule without one shares the block's"},
		{at: sec / 2, client: c, zone: "a.", want: policy.ReasonRateLimited, text: "half a token"},
		{at: sec, client: c, zone: "a.", text: "one second, one token; what was refused cost nothing"},
		{at: sec + 1, client: c, zone: "a.", want: policy.ReasonRateLimited, text: "and not two"},
		{at: 100 * sec, client: c, zone: "a.", text: "full again"},
		{at: 100*sec + 1, client: c, zone: "a.", text: "up to the burst"},
		{at: 100*sec + 2, client: c, zone: "a.", want: policy.ReasonRateLimited, text: "and no further"},
	})
	runLimitScript(t, def, []limitStep{
		{at: 0, client: c, zone: "a.", text: "burst"},
		{at: 1, client: c, zone: "a.", text: "burst"},
		{at: 2, client: c, zone: "a.", limits: &faster, want: policy.ReasonRateLimited, text: "a reload fills no bucket"},
		{at: sec / 4, client: c, zone: "a.", limits: &faster, want: policy.ReasonRateLimited, text: "nearly"},
		{at: sec/4 + 2, client: c, zone: "a.", limits: &faster, text: "but it fills faster from then on"},
		{at: 9 * sec, client: c, zone: "a.", limits: &slower, text: "a smaller burst"},
		{at: 9*sec + 1, client: c, zone: "a.", limits: &slower, want: policy.ReasonRateLimited, text: "cuts what had been saved"},
		{at: 12 * sec, client: c, zone: "a.", limits: &slower, want: policy.ReasonRateLimited, text: "and the slower rate holds"},
		{at: 13 * sec, client: c, zone: "a.", limits: &slower, text: "to the second"},
	})
	runLimitScript(t, def, []limitStep{
		{at: 0, client: "2001:db8:0:1::1", zone: "a.", text: "one host"},
		{at: 1, client: "2001:db8:0:1:ffff::2", zone: "a.", text: "the same /64"},
		{at: 2, client: "2001:db8:0:1::3%eth0", zone: "a.", want: policy.ReasonRateLimited, text: "is the same client"},
		{at: 3, client: "2001:db8:0:2::1", zone: "a.", text: "the next /64 is not"},
		{at: 4, client: "192.0.2.1", zone: "a.", text: "IPv4"},
		{at: 5, client: "::ffff:192.0.2.1", zone: "a.", text: "mapped into IPv6"},
		{at: 6, client: "192.0.2.1", zone: "a.", want: policy.ReasonRateLimited, text: "is the same client"},
		{at: 7, client: "192.0.2.3", zone: "a.", text: "the next address is not"},
	})
	runLimitScript(t, none, []limitStep{
		{client: c, zone: "a.", want: policy.ReasonRateLimited, text: "no rate is no permission"},
		{client: c, zone: "a.", rule: "r", ownRate: &policy.Rate{Count: 1, Period: sec}, want: policy.ReasonRateLimited, text: "no burst neither"},
		{client: c, zone: "a.", rule: "r", ownRate: &policy.Rate{Count: 1, Burst: 1}, want: policy.ReasonRateLimited, text: "no period neither"},
		{client: c, zone: "a.", rule: "r", ownRate: &policy.Rate{Period: 1, Burst: 1}, want: policy.ReasonRateLimited, text: "no count neither"},
	})
}

// A request over the rate waits for its token, where one comes in time for all who wait
// before it.
func TestLimitRateWaits(t *testing.T) {
	const c, d, sec = "192.0.2.1", "192.0.2.2", time.Second
	def := policy.DefaultLimits
	def.Rate = policy.Rate{Count: 1, Period: 2 * sec, Burst: 1}
	def.Total, def.PerClient = 2, 2
	own := &policy.Rate{Count: 1, Period: 6 * sec, Burst: 1}
	runLimitScript(t, def, []limitStep{
		{at: 0, client: c, zone: "a.", text: "the burst"},
		{at: 1, client: c, zone: "a.", hold: sec, after: 2*sec - 1, text: "waits for the next token"},
		{at: 2, client: c, zone: "a.", hold: sec, after: 4*sec - 2, text: "and this one for the one behind it"},
		{at: 3, client: c, zone: "a.", want: policy.ReasonRateLimited, text: "the third comes too late: there is nothing to wait for"},
		{at: 4, client: c, zone: "b.", text: "another zone has its own"},
		{at: 5, client: d, zone: "a.", text: "another client, too"},
		{at: 6, client: d, zone: "a.", rule: "r", ownRate: own, text: "a rule's own rate"},
		{at: 7, client: d, zone: "a.", rule: "r", ownRate: own, want: policy.ReasonRateLimited, text: "is waited for as long as the block's"},
	})
	runLimitScript(t, def, []limitStep{
		{at: 0, client: c, zone: "a.", hold: 9 * sec, text: "full"},
		{at: 1, client: d, zone: "a.", hold: 3 * sec, text: "full"},
		{at: 2 * sec, client: c, zone: "a.", hold: sec, after: sec + 1, text: "has its token, and waits for a slot"},
	})
}

// A token is paid when the request starts: who is refused or leaves has paid nothing.
func TestLimitTokenIsPaidAtTheStart(t *testing.T) {
	def := policy.DefaultLimits
	def.Rate = policy.Rate{Count: 1, Period: time.Hour, Burst: 2}
	def.Total, def.PerClient, def.Wait = 1, 1, time.Second
	hasty := def
	hasty.Wait = 0
	const c, sec = "192.0.2.1", time.Second
	runLimitScript(t, def, []limitStep{
		{at: 0, client: c, zone: "a.", hold: 9 * sec, text: "takes one of two tokens"},
		{at: 1, client: c, zone: "a.", want: policy.ReasonConcurrencyLimited, after: sec, text: "needs the second while it waits"},
		{at: 2, client: c, zone: "a.", want: policy.ReasonRateLimited, text: "so that there is none for this one"},
		{at: 2 * sec, client: c, zone: "a.", want: policy.ReasonConcurrencyLimited, limits: &hasty, text: "paid nothing"},
		{at: 3 * sec, client: c, zone: "a.", want: policy.ReasonConcurrencyLimited, gone: sec / 2, after: sec / 2, text: "paid nothing either"},
		{at: 4 * sec, client: c, zone: "a.", want: policy.ReasonConcurrencyLimited, after: sec, text: "who leaves has paid nothing"},
		{at: 10 * sec, client: c, zone: "a.", text: "the second token"},
		{at: 10*sec + 1, client: c, zone: "a.", want: policy.ReasonRateLimited, text: "and no third"},
	})
}

// However many clients come and go, what is kept is bounded, and a client that is
// pushed out loses nothing.
func TestLimitBucketsAreBounded(t *testing.T) {
	const bound = 500
	now := time.Unix(0, 0)
	l := New(func() time.Time { return now })
	l.maxBuckets = bound
	a := Admission{Zone: "a.", Limits: policy.DefaultLimits}
	a.Limits.Rate = policy.Rate{Count: 1, Period: time.Hour, Burst: 2}
	ask := func(client netip.Addr) policy.Reason {
		a.Client = client
		slot, why := l.Admit(context.Background(), a)
		slot.Release()
		return why
	}
	honest := netip.MustParseAddr("192.0.2.1")
	other := func(i int) netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})
	}
	ask(honest)
	for i := range 3 * bound {
		if why := ask(other(i)); why != "" {
			t.Fatalf("client %d: %q", i, why)
		}
		if i%100 == 0 { // whoever keeps coming is not pushed out
			if got := ask(other(0)); (got == "") != (i == 0) {
				t.Fatalf("after %d clients: %q", i, got)
			}
		}
	}
	if n := l.scopes[""].buckets.Len(); n != bound {
		t.Errorf("%d buckets, want %d", n, bound)
	}
	for i, want := range []policy.Reason{"", "", policy.ReasonRateLimited} {
		if got := ask(honest); got != want {
			t.Errorf("request %d of the client that was pushed out: got %q, want %q", i, got, want)
		}
	}
	now = now.Add(3 * time.Hour) // all are full again
	for range bound {
		now = now.Add(time.Minute)
		ask(honest)
	}
	if n := l.scopes[""].buckets.Len(); n != 1 {
		t.Errorf("%d buckets are left of a crowd that is gone, want the one in use", n)
	}
}
