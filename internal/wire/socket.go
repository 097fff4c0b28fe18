// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"net"
	"reflect"
	"sync"
)

// maxConns bounds the walk down the connections that wrap one another; real ones have
// TLS, a PROXY protocol and a counter, about four.
const maxConns = 16

// TCPConnOf returns the TCP connection at the bottom of conn: below TLS, below the
// PROXY protocol, and below any other wrapper that says what it wraps, by a method
// NetConn (as crypto/tls) or Raw (as go-proxyproto), or in its only exported field that
// is a net.Conn. It returns false where the bottom is something else or cannot be seen.
func TCPConnOf(conn net.Conn) (*net.TCPConn, bool) {
	for range maxConns {
		if c, ok := conn.(*net.TCPConn); ok {
			return c, c != nil
		}
		conn = below(conn)
	}
	return nil, false
}

// below returns the connection that conn wraps, nil if it does not say.
func below(conn net.Conn) net.Conn {
	switch c := conn.(type) {
	case nil:
		return nil
	case interface{ NetConn() net.Conn }:
		return c.NetConn()
	case interface{ Raw() net.Conn }:
		return c.Raw()
	}
	return innerConn(conn)
}

// innerConn returns the connection in an exported field of conn, nil if there is none
// or more than one.
func innerConn(conn net.Conn) net.Conn {
	v := reflect.ValueOf(conn)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return nil
	}
	i := connField(v.Type())
	if i < 0 {
		return nil
	}
	next, _ := v.Field(i).Interface().(net.Conn)
	return next
}

// connFieldOf remembers connField by type. The types are those of the program's
// connections.
var connFieldOf sync.Map

// connField returns the index of the only exported field of a struct that may hold a
// connection, -1 if there is none or more than one.
func connField(t reflect.Type) int {
	if known, ok := connFieldOf.Load(t); ok {
		return known.(int)
	}
	found := -1
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() && f.Type.Implements(connType) {
			if found >= 0 {
				found = -1
				break
			}
			found = i
		}
	}
	connFieldOf.Store(t, found)
	return found
}

// Abort closes a connection on which a transfer has failed, at once: with a reset, so
// that the kernel drops what the client has not read and the client cannot take the
// end for a regular one; and at its bottom, below TLS, whose Close would wait up to 5 s
// to say goodbye to a client that does not read. Who has a wrapper of it still closes
// that.
func Abort(conn net.Conn) error {
	if t, ok := TCPConnOf(conn); ok {
		_ = t.SetLinger(0) // if it fails, the connection closes the slow way
		conn = t
	}
	if err := conn.Close(); err != nil {
		return fmt.Errorf("closing the connection: %w", err)
	}
	return nil
}
