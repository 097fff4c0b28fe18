// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package coredns

import (
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/auto"
	"github.com/coredns/coredns/plugin/file"

	"github.com/miekg/dns"
)

// ZonesOf returns the zones of a handler, and whether it says which they are. Every plugin
// keeps them in a field of one of these names, mostly for itself alone.
func ZonesOf(h plugin.Handler) (zones []string, known bool) {
	defer func() {
		if recover() != nil { // a field of a struct that is not there
			zones, known = nil, false
		}
	}()
	v := reflect.Indirect(reflect.ValueOf(h))
	if v.Kind() != reflect.Struct {
		return nil, false
	}
	for _, name := range []string{"Zones", "zones", "Origins", "Zone"} {
		switch f := v.FieldByName(name); {
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.String:
			return stringsIn(f), true
		case f.Kind() == reflect.String:
			return []string{f.String()}, true
		}
	}
	return nil, false
}

// MayTransfer reports whether a backend may have a zone to hand out: it has it, it may
// have it later, or it does not say what it has.
func MayTransfer(h plugin.Handler, apex string) bool {
	same := func(z string) bool { return dns.CanonicalName(z) == apex }
	below := func(z string) bool { return dns.IsSubDomain(z, apex) }
	switch b := h.(type) {
	case file.File:
		return slices.ContainsFunc(b.Zones.Names, same)
	case auto.Auto:
		return slices.ContainsFunc(b.Zones.Origins(), below)
	case *auto.Auto:
		return slices.ContainsFunc(b.Zones.Origins(), below)
	}
	if h.Name() == "secondary" { // its lists change while it runs
		return true
	}
	zones, known := ZonesOf(h)
	return !known || slices.ContainsFunc(zones, same)
}

// Answers returns a name in one of the zones for which the handler answers out of
// something that is no part of the zone, or "". What it answers is looked for where the
// handler shows it; of others its zones have to do.
func Answers(h plugin.Handler, zones []string) string {
	switch h.Name() {
	case "hosts":
		for _, name := range hostNames(h) {
			if z := plugin.Zones(zones).Matches(name); z != "" {
				return name
			}
		}
		return ""
	case "template":
		return meet(templateZones(h), zones)
	case "etcd", "dnssec":
		own, _ := ZonesOf(h)
		return meet(own, zones)
	}
	return ""
}

// meet returns the larger name of two zones of which one is in the other, or "".
func meet(a, b []string) string {
	for _, x := range a {
		for _, y := range b {
			switch {
			case dns.IsSubDomain(x, y):
				return y
			case dns.IsSubDomain(y, x):
				return dns.CanonicalName(x)
			}
		}
	}
	return ""
}

// templateZones are those of all templates.
func templateZones(h plugin.Handler) (zones []string) {
	v := reflect.Indirect(reflect.ValueOf(h))
	if v.Kind() != reflect.Struct {
		return nil
	}
	all := v.FieldByName("Templates")
	if all.Kind() != reflect.Slice || all.Type().Elem().Kind() != reflect.Struct {
		return nil
	}
	for i := range all.Len() {
		zones = append(zones, stringsIn(all.Index(i).FieldByName("zones"))...)
	}
	return zones
}

// hostNames are the names that hosts answers, for addresses and for names, sorted.
func hostNames(h plugin.Handler) (names []string) {
	v := reflect.Indirect(reflect.ValueOf(h))
	if v.Kind() != reflect.Struct {
		return nil
	}
	f := reflect.Indirect(v.FieldByName("Hostsfile"))
	if f.Kind() != reflect.Struct {
		return nil
	}
	if lock := f.FieldByName("RWMutex"); lock.IsValid() && lock.CanAddr() && lock.CanInterface() {
		if mu, ok := lock.Addr().Interface().(*sync.RWMutex); ok {
			mu.RLock()
			defer mu.RUnlock()
		}
	}
	for _, list := range []string{"hmap", "inline"} {
		maps := reflect.Indirect(f.FieldByName(list))
		if maps.Kind() != reflect.Struct {
			continue
		}
		for _, field := range []string{"name4", "name6", "wildName4", "wildName6", "addr"} {
			m := maps.FieldByName(field)
			if m.Kind() != reflect.Map || m.Type().Key().Kind() != reflect.String {
				continue
			}
			for _, key := range m.MapKeys() {
				name := key.String()
				if reverse, err := dns.ReverseAddr(name); err == nil {
					name = reverse
				}
				names = append(names, strings.ToLower(name))
			}
		}
	}
	slices.Sort(names)
	return names
}
