// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"io"
	"net"
	"testing"
	"time"
)

// A transfer begins while the client acknowledges what it was sent before it. All of
// that is before the transfer, once.
func TestMeterBeginsWhileAcknowledged(t *testing.T) {
	server, client := pairAsIs(t)
	if err := server.(*net.TCPConn).SetWriteBuffer(1 << 20); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, client) }()
	raw := rawConnOf(server)
	sent := int64(0)
	b := make([]byte, 16<<10)
	begun := 0
	for range 2000 {
		before, ok := look(raw)
		if !ok || before.unacked != 0 {
			t.Fatalf("%+v, %v", before, ok)
		}
		sent = before.acked + int64(len(b))
		if _, err := server.Write(b); err != nil {
			t.Fatal(err)
		}
		for at := before; at.unacked != 0 || at.acked != sent; at, _ = look(raw) {
			m := newMeter(raw, time.Minute, 0)
			if m == nil {
				t.Fatal("no meter")
			}
			if begun++; m.base != sent {
				t.Fatalf("meter %d begins at %d, %d were sent", begun, m.base, sent)
			}
		}
	}
}
