// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package coredns

import (
	"reflect"
	"slices"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/transfer"
	"github.com/coredns/coredns/plugin/tsig"
)

// TestPinned holds the fields that are read by name against the CoreDNS in go.mod. One
// that fails names what this package no longer finds.
func TestPinned(t *testing.T) {
	field := func(v reflect.Type, name string, kind reflect.Kind) reflect.Type {
		t.Helper()
		for v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		f, ok := v.FieldByName(name)
		if !ok || f.Type.Kind() != kind {
			t.Errorf("%v has no %v %s any more", v, kind, name)
			return reflect.TypeFor[struct{}]()
		}
		return f.Type
	}
	configs := field(reflect.TypeOf(caddy.NewTestController("dns", "").Context()), "keysToConfigs", reflect.Map)
	if configs != reflect.TypeFor[map[string]*dnsserver.Config]() {
		t.Errorf("the server blocks are a %v", configs)
	}
	instance := field(reflect.TypeFor[caddy.Controller](), "instance", reflect.Pointer)
	field(instance, "caddyfileInput", reflect.Interface)
	field(reflect.TypeFor[caddy.CaddyfileInput](), "Contents", reflect.Slice)

	xfrs := field(reflect.TypeFor[transfer.Transfer](), "xfrs", reflect.Slice)
	if xfrs.Kind() == reflect.Slice {
		for _, name := range []string{"Zones", "to", "source"} {
			field(xfrs.Elem(), name, reflect.Slice)
		}
	}
	field(reflect.TypeFor[tsig.TSIGServer](), "allTypes", reflect.Bool)
	field(reflect.TypeFor[tsig.TSIGServer](), "types", reflect.Map)
	if next := field(reflect.TypeFor[tsig.TSIGServer](), "Next", reflect.Interface); next != reflect.TypeFor[plugin.Handler]() {
		t.Errorf("the next handler is a %v", next)
	}
}

// TestOrderKnown: each plugin in the lists is one that CoreDNS has, so that a renamed
// one is seen.
func TestOrderKnown(t *testing.T) {
	for _, name := range append(slices.Clone(Answering), Harmless...) {
		if name != guardName && !slices.Contains(dnsserver.Directives, name) {
			t.Errorf("CoreDNS has no plugin %s", name)
		}
	}
	for _, name := range dnsserver.Directives {
		if i := slices.Index(dnsserver.Directives, "dnstap"); slices.Index(dnsserver.Directives, name) > i {
			continue
		}
		if slices.Contains(Answering, name) {
			t.Errorf("CoreDNS has %s, which answers, before dnstap", name)
		}
	}
}
