// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package coredns

import (
	"reflect"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

// maxChain bounds the walk along the handlers of a block; CoreDNS has about 60.
const maxChain = 256

// Chain follows the exported Next fields of the handlers.
func Chain(h plugin.Handler) []plugin.Handler {
	var chain []plugin.Handler
	for range maxChain {
		if h == nil {
			break
		}
		chain = append(chain, h)
		h = nextOf(h)
	}
	return chain
}

func nextOf(h plugin.Handler) plugin.Handler {
	v := reflect.Indirect(reflect.ValueOf(h))
	if v.Kind() != reflect.Struct {
		return nil
	}
	f := v.FieldByName("Next")
	if !f.IsValid() || !f.CanInterface() {
		return nil
	}
	next, _ := f.Interface().(plugin.Handler)
	return next
}

// UsesTSIG reports whether the tsig plugin wants signatures of anybody but a transfer.
func UsesTSIG(h plugin.Handler) bool {
	v := reflect.Indirect(reflect.ValueOf(h))
	if v.Kind() != reflect.Struct {
		return false
	}
	for _, name := range []string{"allTypes", "allOpcodes"} {
		if f := v.FieldByName(name); f.Kind() == reflect.Bool && f.Bool() {
			return true
		}
	}
	if f := v.FieldByName("opcodes"); f.Kind() == reflect.Map && f.Len() > 0 {
		return true
	}
	types := v.FieldByName("types")
	if types.Kind() != reflect.Map {
		return false
	}
	for _, k := range types.MapKeys() {
		if k.CanUint() && k.Uint() != uint64(dns.TypeAXFR) && k.Uint() != uint64(dns.TypeIXFR) {
			return true
		}
	}
	return false
}

// RequiresTSIG looks into the tsig plugin, which tells nobody what it requires.
func RequiresTSIG(h plugin.Handler) bool {
	v := reflect.Indirect(reflect.ValueOf(h))
	if v.Kind() != reflect.Struct {
		return false
	}
	if all := v.FieldByName("allTypes"); all.Kind() == reflect.Bool && all.Bool() {
		return true
	}
	types := v.FieldByName("types")
	if types.Kind() != reflect.Map {
		return false
	}
	for _, k := range types.MapKeys() {
		if k.CanUint() && (k.Uint() == uint64(dns.TypeAXFR) || k.Uint() == uint64(dns.TypeIXFR)) {
			return true
		}
	}
	return false
}
