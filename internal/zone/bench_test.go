// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"fmt"
	"runtime"
	"testing"
)

var sizes = []int{10_000, 100_000, 1_000_000}

// BenchmarkBuild is a cold transfer without the client: from the backend to the last
// packed message ("packed"), and to the version with index and digest ("settled"). It
// reports the memory that the version takes as a multiple of its wire size.
func BenchmarkBuild(b *testing.B) {
	for _, n := range sizes {
		src := newInMemory()
		src.set(b, 1, many(b, n))
		for _, until := range []string{"packed", "settled"} {
			b.Run(fmt.Sprint(n, "/", until), func(b *testing.B) {
				var v *Version
				for b.Loop() {
					s := newStoreOf(src, Options{Limit: 1 << 30})
					r := current(b, s)
					if _, err := readAll(r); err != nil {
						b.Fatal(err)
					}
					v = r.Version
					if until == "settled" {
						<-v.settled
					}
					r.Close()
					b.StopTimer()
					<-v.settled
					s.Close()
					b.StartTimer()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/record")
				b.ReportMetric(float64(v.memory())/float64(v.Size()), "memory/wire")
			})
		}
		runtime.GC()
	}
}

// BenchmarkTenChanges is what a new version with ten changes costs: to compare it with the
// one before, and to answer a client then.
func BenchmarkTenChanges(b *testing.B) {
	for _, n := range sizes {
		records := many(b, n)
		src := newInMemory()
		src.set(b, 1, records)
		s := newStoreOf(src, Options{Limit: 1 << 30})
		first := current(b, s)
		<-first.Version.settled
		s.Give(context.Background(), first.Version, "rule")
		first.Close()
		for i := range 10 {
			records[1+i*n/10] = rr(b, "new%d.%s 300 IN A 192.0.2.1", i, apex)
		}
		src.set(b, 2, records)
		second := current(b, s)
		<-second.Version.settled
		second.Close()
		old, _ := first.Version.contents()
		now, _ := second.Version.contents()
		b.Run(fmt.Sprint(n, "/compare"), func(b *testing.B) {
			for b.Loop() {
				d, err := compare(old, now)
				if err != nil || d.RemovedCount != 10 || d.AddedCount != 10 {
					b.Fatal(err, d.RemovedCount, d.AddedCount)
				}
			}
		})
		l := s.slots[apex].lineage
		for _, state := range []string{"first answer", "answer"} {
			b.Run(fmt.Sprint(n, "/", state), func(b *testing.B) {
				for b.Loop() {
					if state == "first answer" {
						clear(l.packed)
					}
					messages, err := s.Since(context.Background(), second.Version, 1, []string{"rule"})
					if err != nil || len(messages) != 1 {
						b.Fatal(len(messages), err)
					}
				}
			})
		}
		s.Close()
		runtime.GC()
	}
}
