// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/coredns/coredns/pb"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// Carrier sends a packed message over a transport and returns the packed answer.
type Carrier func(t *testing.T, addr string, q []byte) []byte

// OverHTTPS carries it over HTTP/2.
func OverHTTPS(t *testing.T, addr string, q []byte) []byte {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: ClientTLS(), ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+addr+"/dns-query", bytes.NewReader(q))
	if err != nil {
		t.Fatal(err)
	}
	return RoundTrip(t, tr, r)
}

// OverHTTP3 carries it over HTTP/3.
func OverHTTP3(t *testing.T, addr string, q []byte) []byte {
	t.Helper()
	tr := &http3.Transport{TLSClientConfig: ClientTLS()}
	defer tr.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+addr+"/dns-query", bytes.NewReader(q))
	if err != nil {
		t.Fatal(err)
	}
	return RoundTrip(t, tr, r)
}

// RoundTrip sends the HTTP request of a DNS message and returns the body of the answer.
func RoundTrip(t *testing.T, tr http.RoundTripper, r *http.Request) []byte {
	t.Helper()
	r.Header.Set("Content-Type", "application/dns-message")
	r.Header.Set("Accept", "application/dns-message")
	answer, err := (&http.Client{Timeout: 5 * time.Second, Transport: tr}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", answer.Status, err)
	}
	return b
}

// OverGRPC carries it over gRPC.
func OverGRPC(t *testing.T, addr string, q []byte) []byte {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(ClientTLS())))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	p, err := pb.NewDnsServiceClient(conn).Query(ctx, &pb.DnsPacket{Msg: q})
	if err != nil {
		t.Fatal(err)
	}
	return p.GetMsg()
}

// OverQUIC carries it over QUIC.
func OverQUIC(t *testing.T, addr string, q []byte) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, err := quic.DialAddr(ctx, addr, ClientTLS("doq"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)); err != nil {
		t.Fatal(err)
	}
	_ = stream.Close()
	_ = stream.SetReadDeadline(time.Now().Add(5 * time.Second))
	b, err := io.ReadAll(stream)
	if err != nil || len(b) < 2 {
		t.Fatalf("%d octets: %v", len(b), err)
	}
	return b[2:]
}
