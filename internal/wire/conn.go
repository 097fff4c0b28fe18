// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/tls"
	"net"
	"reflect"
	"sync"
	"unsafe" // only here

	"github.com/miekg/dns"
)

// maxWriters bounds the walk down a chain of writers; real ones have about five.
const maxWriters = 32

var (
	writerType = reflect.TypeFor[dns.ResponseWriter]()
	connType   = reflect.TypeFor[net.Conn]()
)

// Unwrap calls found with w and each writer that it wraps, from the outermost to the
// innermost, until found returns true; then it returns true. A writer wraps another in
// an exported field: the one named ResponseWriter, else the only one that is a
// dns.ResponseWriter.
func Unwrap(w dns.ResponseWriter, found func(dns.ResponseWriter) bool) bool {
	for range maxWriters {
		if w == nil {
			return false
		}
		if found(w) {
			return true
		}
		w = inner(w)
	}
	return false
}

// inner returns the writer that w wraps, nil if there is none or more than one.
func inner(w dns.ResponseWriter) dns.ResponseWriter {
	v := reflect.ValueOf(w)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return nil
	}
	var only dns.ResponseWriter
	for _, i := range writerFields(v.Type()) {
		next, _ := v.Field(i).Interface().(dns.ResponseWriter)
		if next != nil && only != nil {
			return nil
		}
		if next != nil {
			only = next
		}
	}
	return only
}

// fieldsOf remembers writerFields by type. The types are those of the program's
// writers.
var fieldsOf sync.Map

// writerFields returns the indexes of the exported fields of a struct that may hold a
// writer, or that of the one named ResponseWriter alone.
func writerFields(t reflect.Type) []int {
	if known, ok := fieldsOf.Load(t); ok {
		return known.([]int)
	}
	var fields []int
	for i := range t.NumField() {
		field := t.Field(i)
		if !field.IsExported() || !field.Type.Implements(writerType) {
			continue
		}
		if field.Name == "ResponseWriter" {
			fields = []int{i}
			break
		}
		fields = append(fields, i)
	}
	fieldsOf.Store(t, fields)
	return fields
}

// Origin is where a request came from, as miekg/dns's own writer has it: below every
// plugin, none of which can change it.
type Origin struct {
	Stream net.Conn // nil over UDP
	Remote net.Addr
	Local  net.Addr
}

// OriginOf returns the origin of the request that w answers; false where w does not
// lead to miekg/dns's writer for UDP, TCP and TLS, or does so on a way that cannot be
// followed.
func OriginOf(w dns.ResponseWriter) (o Origin, ok bool) {
	Unwrap(w, func(w dns.ResponseWriter) bool {
		v := reflect.ValueOf(w)
		offset, known := connOffset(v.Type())
		if known && !v.IsNil() {
			o = Origin{Stream: *(*net.Conn)(unsafe.Add(v.UnsafePointer(), offset)), Remote: w.RemoteAddr(), Local: w.LocalAddr()}
			ok = true
		}
		return known
	})
	return o, ok
}

// Ends returns the addresses of the stream's TCP connection itself, which may be one to
// a proxy; false where there is none.
func (o *Origin) Ends() (remote, local net.Addr, ok bool) {
	conn, ok := TCPConnOf(o.Stream)
	if !ok {
		return nil, nil, false
	}
	return conn.RemoteAddr(), conn.LocalAddr(), true
}

// TLS returns the TLS connection of the stream, nil if there is none.
func (o *Origin) TLS() *tls.Conn {
	conn := o.Stream
	for range maxConns {
		if t, ok := conn.(*tls.Conn); ok {
			return t
		}
		conn = below(conn)
	}
	return nil
}

// ConnOf returns the TCP or TLS connection below w, for a Sender. It finds it in
// miekg/dns's unexported response struct; where that is not what it knows, and for
// UDP, DoH, DoQ and gRPC, it returns false, and the caller uses [NewMessageSender].
// What is written to the connection is seen by no writer of the chain. The connection
// may be used as long as the handler runs.
func ConnOf(w dns.ResponseWriter) (net.Conn, bool) {
	if Unwrap(w, func(w dns.ResponseWriter) bool { return keepsAnswers(reflect.TypeOf(w)) }) {
		return nil, false
	}
	o, _ := OriginOf(w)
	return o.Stream, o.Stream != nil
}

// offsets remembers connOffset by type. The types are those of the program's writers.
var offsets sync.Map // of reflect.Type to uintptr, noOffset for none

const noOffset = ^uintptr(0)

// connOffset returns where miekg/dns's *response keeps its TCP connection; known is
// false for any other type, and if the field is not what this code was written for.
func connOffset(t reflect.Type) (offset uintptr, known bool) {
	v, ok := offsets.Load(t)
	if !ok {
		v, _ = offsets.LoadOrStore(t, findConnOffset(t))
	}
	offset = v.(uintptr)
	return offset, offset != noOffset
}

func findConnOffset(t reflect.Type) uintptr {
	if t.Kind() != reflect.Pointer {
		return noOffset
	}
	t = t.Elem()
	if t.Kind() != reflect.Struct || t.PkgPath() != "github.com/miekg/dns" || t.Name() != "response" {
		return noOffset
	}
	field, ok := t.FieldByName("tcp")
	if !ok || len(field.Index) != 1 || field.Type != connType {
		return noOffset
	}
	return field.Offset
}

// keepsAnswers tells of CoreDNS's nonwriter, which holds an answer back on purpose:
// writing to the connection below it would send what another plugin wants to change.
func keepsAnswers(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath() == "github.com/coredns/coredns/plugin/pkg/nonwriter"
}
