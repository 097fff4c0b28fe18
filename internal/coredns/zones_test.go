// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package coredns

import (
	"reflect"
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/dnssec"
	"github.com/coredns/coredns/plugin/file"
	"github.com/coredns/coredns/plugin/hosts"
	"github.com/coredns/coredns/plugin/template"
)

// TestPinnedZones: the fields in which plugins keep their zones and names are where
// CoreDNS of go.mod has them.
func TestPinnedZones(t *testing.T) {
	path := func(v reflect.Type, names ...string) {
		t.Helper()
		for _, name := range names {
			for v.Kind() == reflect.Pointer || v.Kind() == reflect.Slice {
				v = v.Elem()
			}
			f, ok := v.FieldByName(name)
			if !ok {
				t.Errorf("%v has no %s any more", v, name)
				return
			}
			v = f.Type
		}
	}
	path(reflect.TypeFor[template.Handler](), "Templates", "zones")
	path(reflect.TypeFor[hosts.Hosts](), "Hostsfile", "RWMutex")
	for _, list := range []string{"hmap", "inline"} {
		for _, names := range []string{"name4", "name6", "wildName4", "wildName6", "addr"} {
			path(reflect.TypeFor[hosts.Hosts](), "Hostsfile", list, names)
		}
	}
}

// TestAnswers: dnssec answers for the zones that it signs and those in or above them; a
// plugin that only hands on what it gets answers for none.
func TestAnswers(t *testing.T) {
	signs := func(zones ...string) plugin.Handler { return dnssec.New(zones, nil, false, nil, nil) }
	for _, c := range []struct {
		h     plugin.Handler
		zones []string
		want  string
	}{
		{signs("example.org."), []string{"example.org."}, "example.org."},
		{signs("."), []string{"example.org."}, "example.org."},
		{signs("sub.example.org."), []string{"example.org."}, "sub.example.org."},
		{signs("example.net."), []string{"example.org."}, ""},
		{signs(), []string{"example.org."}, ""},
		{file.File{}, []string{"example.org."}, ""},
	} {
		if got := Answers(c.h, c.zones); got != c.want {
			t.Errorf("%s for %v: got %q, want %q", c.h.Name(), c.zones, got, c.want)
		}
	}
}
