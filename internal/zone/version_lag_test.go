// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/wire"
)

// A version outgrows the cache while its index is far behind, as it is of a large cache on
// a busy machine, and its clients have had all. They have to wait for the index, which
// must not wait for anybody.
func TestIndexBehindItsReaders(t *testing.T) {
	v := newVersion(apex, &stream{soa: soaRecord(1)})
	index, client := v.attach(true), v.attach(false)
	message := wire.Message{Bytes: make([]byte, 64<<10)}
	const messages = 2 * window / (64 << 10)
	for range messages {
		if err := v.append(message, 1<<30); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	appended := make(chan error, 1)
	go func() { appended <- v.append(message, 0) }() // now it is too large
	if _, err := client.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(lag + lag/2)
	caughtUp := make(chan error, 1)
	go func() {
		for range messages + 1 {
			if _, err := index.Next(t.Context()); err != nil {
				caughtUp <- err
				return
			}
		}
		caughtUp <- nil
	}()
	for name, done := range map[string]chan error{"index": caughtUp, "build": appended} {
		select {
		case err := <-done:
			if err != nil {
				t.Error(name, err)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("the %s waits for ever", name)
		}
	}
	client.Close()
	index.Close()
}
