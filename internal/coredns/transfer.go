// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package coredns

import (
	"net/netip"
	"reflect"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/transfer"
)

// NotifyTo is what the transfer plugin is told about one zone.
type NotifyTo struct {
	Addrs  []netip.AddrPort // of `to`, but for *
	Source netip.Addr       // of `source`; the zero Addr when it has none

	Everybody bool // `to` has *
}

// NotifyToOf looks into the transfer plugin of a block, which tells nobody whom it
// notifies. What is not found there is not notified twice: transfer does it alone.
func NotifyToOf(h plugin.Handler, apex string) (to NotifyTo) {
	t, ok := h.(*transfer.Transfer)
	if !ok {
		return to
	}
	all := reflect.ValueOf(t).Elem().FieldByName("xfrs")
	if all.Kind() != reflect.Slice {
		return to
	}
	best := ""
	for i := range all.Len() {
		one := reflect.Indirect(all.Index(i))
		if one.Kind() != reflect.Struct {
			return to
		}
		// As transfer has it: the longest match wins, then the later in the alphabet.
		z := plugin.Zones(stringsIn(one.FieldByName("Zones"))).Matches(apex)
		if z == "" || len(z) < len(best) || (len(z) == len(best) && z <= best) {
			continue
		}
		best = z
		to = NotifyTo{}
		for _, s := range stringsIn(one.FieldByName("to")) {
			if s == "*" {
				to.Everybody = true
			}
			if ap, err := netip.ParseAddrPort(s); err == nil {
				to.Addrs = append(to.Addrs, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
			}
		}
		if f := one.FieldByName("source"); f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Uint8 {
			a, _ := netip.AddrFromSlice(f.Bytes())
			to.Source = a.Unmap()
		}
	}
	return to
}

// stringsIn reads a []string, of an unexported field too.
func stringsIn(v reflect.Value) []string {
	if v.Kind() != reflect.Slice || v.Type().Elem().Kind() != reflect.String {
		return nil
	}
	list := make([]string, v.Len())
	for i := range list {
		list[i] = v.Index(i).String()
	}
	return list
}
