// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// identity is who a client is: where it comes from and what it signs with.
type identity struct {
	address string
	key     peer.Key
	tls     bool
	zone    string // to ask for, "": origin
}

// request returns the identity's request for its zone as TCP carries it, and its id.
func (id identity) request() (uint16, []byte) {
	q := axfr(id.key)
	q.zone = cmp.Or(id.zone, origin)
	return q.stream()
}

// crowdKeys is how many keys the attackers have where they have many.
const crowdKeys = 16

// Who is who. The rule of the crowd names one single address besides its range: that of an
// honest client which shares the rule and the key.
const (
	ownAddress    = "127.0.1.1"
	sharedAddress = "127.0.2.1"
	crowdNet      = "127.64.0.0/10"
	crowdAddress  = "127.64.0.1"
	strangerAddr  = "127.9.9.9" // in no rule
)

var (
	ownKey  = keyNamed("own.test.")
	badKey  = keyNamed("nobody-has-it.test.")
	shadow  = peer.Key{Name: ownKey.Name, Algorithm: ownKey.Algorithm, Secret: badKey.Secret}
	ownID   = identity{address: ownAddress, key: ownKey}
	sharing = identity{address: sharedAddress, key: crowdKey(0)}
)

// keyNamed makes a key whose secret follows from its name: these are of the tests only.
func keyNamed(name string) peer.Key {
	sum := sha256.Sum256([]byte(name))
	return peer.Key{Name: name, Algorithm: "hmac-sha256.", Secret: base64.StdEncoding.EncodeToString(sum[:])}
}

func crowdKey(i int) peer.Key { return keyNamed(fmt.Sprintf("crowd-%d.test.", i%crowdKeys)) }

// allKeys are those that servers know.
func allKeys() []peer.Key {
	keys := []peer.Key{ownKey}
	for i := range crowdKeys {
		keys = append(keys, crowdKey(i))
	}
	return keys
}

// crowdID is the i-th attacker's identity.
func crowdID(i int, manyAddresses, manyKeys, overTLS bool) identity {
	id := identity{address: crowdAddress, key: crowdKey(0), tls: overTLS}
	if manyAddresses {
		id.address = fmt.Sprintf("127.%d.%d.%d", 64+i%60, i/250%250, 1+i%250)
	}
	if manyKeys {
		id.key = crowdKey(i)
	}
	if i%2 == 0 {
		id.zone = bigOrigin
	}
	return id
}

func (id identity) over(tls bool) identity {
	id.tls = tls
	return id
}

// dialLimit bounds a connection's beginning, handshake included.
const dialLimit = 10 * time.Second

// dial connects from the identity's address; window is the receive buffer to ask the
// kernel for, 0 for its default.
func (id identity) dial(ctx context.Context, s *server, window int) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	d := net.Dialer{
		LocalAddr: &net.TCPAddr{IP: net.ParseIP(id.address)},
		Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) {
				// The port is chosen at connect, for this pair of addresses alone.
				_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
				if window > 0 {
					_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, window)
				}
			})
		},
	}
	port := s.port
	if id.tls {
		port = s.tls
	}
	raw, err := d.DialContext(ctx, "tcp", peer.Loopback(port))
	if err != nil || !id.tls {
		return raw, err
	}
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"dot"}, MinVersion: tls.VersionTLS13}) //nolint:gosec // loopback
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// rawOf is the TCP connection below conn.
func rawOf(conn net.Conn) *net.TCPConn {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	c, _ := conn.(*net.TCPConn)
	return c
}

// alive reports whether the other end has not closed conn, without reading from it.
func alive(conn net.Conn) bool {
	raw := rawOf(conn)
	if raw == nil {
		return false
	}
	c, err := raw.SyscallConn()
	if err != nil {
		return false
	}
	established := false
	err = c.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		established = err == nil && info.State == 1 // TCP_ESTABLISHED
	})
	return err == nil && established
}

// cut resets conn.
func cut(conn net.Conn) {
	if raw := rawOf(conn); raw != nil {
		_ = raw.SetLinger(0)
		raw.Close()
	}
}
