// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"context"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"
)

func BenchmarkLimitAdmit(b *testing.B) {
	a := Admission{
		Scope: "dns://:53", Client: netip.MustParseAddr("2001:db8::1"), Zone: "example.org.", Rule: "secondaries",
		Limits: policy.DefaultLimits,
	}
	a.Limits.Rate = policy.Rate{Count: 1e9, Period: time.Second, Burst: 1e9}
	b.Run("alone", func(b *testing.B) {
		l := New(time.Now)
		b.ReportAllocs()
		for b.Loop() {
			slot, _ := l.Admit(context.Background(), a)
			slot.Release()
		}
	})
	b.Run("64 clients", func(b *testing.B) { // none of which waits
		l := New(time.Now)
		var clients atomic.Uint32
		b.ReportAllocs()
		b.SetParallelism(max(1, 64/runtime.GOMAXPROCS(0)))
		b.RunParallel(func(pb *testing.PB) {
			own := a
			own.Client = netip.AddrFrom4([4]byte{192, 0, 2, byte(clients.Add(1))})
			own.Limits.Total = 64
			for pb.Next() {
				slot, _ := l.Admit(context.Background(), own)
				slot.Release()
			}
		})
	})
	b.Run("64 in line", func(b *testing.B) { // of one client with four slots
		l := New(time.Now)
		b.ReportAllocs()
		b.SetParallelism(max(1, 64/runtime.GOMAXPROCS(0)))
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				slot, _ := l.Admit(context.Background(), a)
				runtime.Gosched()
				slot.Release()
			}
		})
	})
	b.Run("a full line", func(b *testing.B) { // what a release costs that passes over all who wait
		l := New(time.Now)
		full := a
		full.Limits.PerClient, full.Limits.Wait = 1, time.Hour
		ctx, cancel := context.WithCancel(context.Background())
		var waiting sync.WaitGroup
		for c := range 4 {
			full.Client = netip.AddrFrom4([4]byte{192, 0, 2, byte(c)})
			slot, _ := l.Admit(ctx, full)
			defer slot.Release()
			for range maxLinePerClient {
				waiter := full
				waiting.Go(func() { l.Admit(ctx, waiter) })
			}
		}
		for {
			l.mu.Lock()
			n := l.scopes[full.Scope].line.Len()
			l.mu.Unlock()
			if n == maxLine {
				break
			}
			time.Sleep(time.Millisecond)
		}
		b.ReportAllocs()
		for b.Loop() {
			slot, _ := l.Admit(context.Background(), a)
			slot.Release()
		}
		cancel()
		waiting.Wait()
	})
}
