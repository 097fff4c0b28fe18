// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// benchEvent is as long as a decision with all its fields.
var benchEvent = []byte(`{"message":"zone transfer allowed","pad":"` + strings.Repeat("x", 900) + `"}`)

func BenchmarkSeal(b *testing.B) {
	c := newTestChain(b)
	b.ReportAllocs()
	b.SetBytes(int64(len(benchEvent)))
	for b.Loop() {
		if _, err := c.Seal(benchEvent); err != nil {
			b.Fatal(err)
		}
	}
}

// The physical limit: one write and one fsync a line, nothing else.
func BenchmarkWriteAndSync(b *testing.B) {
	f, err := os.OpenFile(filepath.Join(b.TempDir(), "raw"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	line := append([]byte(strings.Repeat("x", 1200)), '\n')
	for b.Loop() {
		if _, err := f.Write(line); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}

// The physical limit of a group: 64 lines in one write and one fsync.
func BenchmarkWriteAndSync64(b *testing.B) {
	f, err := os.OpenFile(filepath.Join(b.TempDir(), "raw"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	lines := []byte(strings.Repeat(strings.Repeat("x", 1200)+"\n", 64))
	for b.Loop() {
		if _, err := f.Write(lines); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	f := openTest(b, filepath.Join(b.TempDir(), "audit.log"), Options{})
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Append(context.Background(), benchEvent); err != nil {
			b.Fatal(err)
		}
	}
}

// 64 callers at once: ns/op is the time a line, ns/append what one caller waits,
// lines/sync the size of a group.
func BenchmarkAppend64(b *testing.B) {
	f := openTest(b, filepath.Join(b.TempDir(), "audit.log"), Options{})
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	before := f.stats()
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := f.Append(context.Background(), benchEvent); err != nil {
				b.Error(err)
			}
		}
	})
	b.StopTimer()
	after := f.stats()
	b.ReportMetric(float64(after.lines-before.lines)/float64(after.syncs-before.syncs), "lines/sync")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())*64/float64(b.N), "ns/append")
}

// An append while some 10,000 posts a second come.
func BenchmarkAppendBesidePosts(b *testing.B) {
	f := openTest(b, filepath.Join(b.TempDir(), "audit.log"), Options{})
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				for range 10 {
					_ = f.Post(benchEvent)
				}
				time.Sleep(500 * time.Microsecond)
			}
		}
	}()
	for b.Loop() {
		if err := f.Append(context.Background(), benchEvent); err != nil {
			b.Fatal(err)
		}
	}
	close(stop)
	<-stopped
}

func BenchmarkVerify(b *testing.B) {
	c := newTestChain(b)
	var log strings.Builder
	for range 10_000 {
		line, err := c.Seal(benchEvent)
		if err != nil {
			b.Fatal(err)
		}
		log.Write(line)
	}
	s := Source{Name: "log", Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(log.String())), nil }}
	b.SetBytes(int64(log.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if r, err := Verify([]Source{s}, VerifyOptions{}); err != nil || !r.OK() {
			b.Fatal(err)
		}
	}
}
