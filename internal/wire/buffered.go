// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bufio"
	"crypto/tls"
	"net"
	"reflect"
)

// buffered reports whether a connection may have read more from its socket than it has
// given to its reader, such as the next request. Nobody may read from it meanwhile.
//
// crypto/tls and go-proxyproto do not tell, so their buffers are looked at; what is not
// known here may have read anything.
func buffered(conn net.Conn) bool {
	for range maxConns {
		v := reflect.ValueOf(conn)
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		switch c := conn.(type) {
		case *net.TCPConn:
			return false
		case *tls.Conn:
			if c == nil || heldByTLS(v) {
				return true
			}
			conn = c.NetConn()
		case interface{ Raw() net.Conn }:
			if heldByReader(v) {
				return true
			}
			conn = c.Raw()
		default:
			if v.Kind() != reflect.Struct || holdsBytes(v.Type()) {
				return true
			}
			conn = innerConn(conn)
		}
		if conn == nil {
			return true
		}
	}
	return true
}

// heldByTLS looks at the records that a tls.Conn has read and not opened, and at what
// it has opened and not given away.
func heldByTLS(v reflect.Value) bool {
	raw, input := v.FieldByName("rawInput"), v.FieldByName("input")
	if !raw.IsValid() || !input.IsValid() {
		return true
	}
	buf, off := raw.FieldByName("buf"), raw.FieldByName("off")
	s, i := input.FieldByName("s"), input.FieldByName("i")
	if buf.Kind() != reflect.Slice || off.Kind() != reflect.Int || s.Kind() != reflect.Slice || i.Kind() != reflect.Int64 {
		return true
	}
	return buf.Len() > int(off.Int()) || s.Len() > int(i.Int())
}

var readerType = reflect.TypeFor[*bufio.Reader]()

// heldByReader looks at the buffer that a connection of go-proxyproto has until it is
// empty.
func heldByReader(v reflect.Value) bool {
	if v.Kind() != reflect.Struct {
		return true
	}
	r := v.FieldByName("bufReader")
	if !r.IsValid() || r.Type() != readerType {
		return true
	}
	if r.IsNil() {
		return false
	}
	from, to := r.Elem().FieldByName("r"), r.Elem().FieldByName("w")
	return from.Kind() != reflect.Int || to.Kind() != reflect.Int || from.Int() != to.Int()
}

// holdsBytes reports whether a wrapper has a field, of its own and not of what it
// wraps, that could hold what was read.
func holdsBytes(t reflect.Type) bool {
	for i := range t.NumField() {
		switch f := t.Field(i).Type; f.Kind() {
		case reflect.Slice, reflect.Struct:
			return true
		case reflect.Pointer:
			if !f.Implements(connType) {
				return true
			}
		}
	}
	return false
}
