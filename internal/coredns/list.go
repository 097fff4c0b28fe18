// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package coredns

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/auto"
	"github.com/coredns/coredns/plugin/file"
	"github.com/coredns/coredns/plugin/pkg/fall"
	"github.com/coredns/coredns/plugin/secondary"
	"github.com/coredns/coredns/plugin/transfer"

	"github.com/miekg/dns"
)

// Lister reads which zones the backends of a server block have, out of the lists that they
// keep. What a backend answers is no list: kubernetes answers any name below its zone. A
// backend without a list, or whose list cannot be read, has no zone here. It is not safe
// for concurrent use.
type Lister struct {
	lists []*listed
	zones map[string]string // by apex, the name of the backend
	read  bool
	fault error
}

// listed is one backend and what its list said last.
type listed struct {
	name    string
	list    list
	through func(apex string) bool // whether a query that it does not know goes on to the next
	apexes  []string
	fault   error
}

// list is what one backend keeps its zones in.
type list interface {
	// entries returns the canonical apexes, and whether they are those of the call before.
	entries() (apexes []string, same bool)
}

// NewLister returns what reads the lists of backends, in the order in which they answer.
// statics are what [StaticsOf] has seen of secondaries.
func NewLister(chain []plugin.Handler, statics Statics) *Lister {
	l := &Lister{}
	for _, h := range chain {
		if li := listOf(h, statics); li != nil {
			l.lists = append(l.lists, &listed{name: h.Name(), list: li, through: fallthroughOf(h)})
		}
	}
	return l
}

// Any reports whether any backend has a list.
func (l *Lister) Any() bool { return len(l.lists) > 0 }

// Read returns the zones by apex with the name of the backend, and whether they are others
// than at the call before. The map must not be changed. The error says which list could
// not be read, which has no zones then.
func (l *Lister) Read() (zones map[string]string, changed bool, err error) {
	changed = !l.read
	l.read = true
	for _, b := range l.lists {
		changed = b.look() || changed
	}
	if !changed {
		return l.zones, false, l.fault
	}
	type place struct{ at int }
	l.zones, l.fault = make(map[string]string), nil
	owner := make(map[string]place)
	for i, b := range l.lists {
		l.fault = errors.Join(l.fault, b.fault)
		for _, apex := range b.apexes {
			if _, taken := l.zones[apex]; taken {
				continue
			}
			hidden := false
			for off, end := dns.NextLabel(apex, 0); !end && !hidden; off, end = dns.NextLabel(apex, off) {
				above, ok := owner[apex[off:]]
				hidden = ok && above.at < i && !l.lists[above.at].through(apex)
			}
			if root, ok := owner["."]; ok && apex != "." {
				hidden = hidden || root.at < i && !l.lists[root.at].through(apex)
			}
			if !hidden { // else a backend before it answers for that name
				l.zones[apex], owner[apex] = b.name, place{i}
			}
		}
	}
	return l.zones, true, l.fault
}

// look reads the list anew, and reports whether it is another one.
func (b *listed) look() (changed bool) {
	defer func() {
		if p := recover(); p != nil {
			changed = b.fault == nil || len(b.apexes) > 0
			b.apexes, b.fault = nil, fmt.Errorf("the zones of %s cannot be read: %v", b.name, p)
		}
	}()
	apexes, same := b.list.entries()
	changed = !same || b.fault != nil
	b.apexes, b.fault = apexes, nil
	return changed
}

func listOf(h plugin.Handler, statics Statics) list {
	switch b := h.(type) {
	case file.File:
		return fileList(&b)
	case *file.File:
		return fileList(b)
	case auto.Auto:
		return &autoList{zones: b.Zones}
	case *auto.Auto:
		return &autoList{zones: b.Zones}
	case *secondary.Secondary:
		if static, ok := statics[b]; ok {
			return newSecondaryList(b, static)
		}
		return nil
	}
	if _, ok := h.(transfer.Transferer); !ok {
		return nil
	}
	v := reflect.Indirect(reflect.ValueOf(h))
	if v.Kind() != reflect.Struct {
		return nil
	}
	if t := v.Type(); t.PkgPath() == "github.com/coredns/coredns/plugin/dynupdate" && t.Name() == "DynUpdate" {
		if f := v.FieldByName("Zone"); f.Kind() == reflect.String {
			return newFixedList(f.String())
		}
		return nil
	}
	if f, ok := v.Type().FieldByName("Zones"); !ok || !f.IsExported() || f.Type.Kind() != reflect.Slice {
		return nil
	}
	var forward []string
	for _, z := range stringsIn(v.FieldByName("Zones")) {
		if !dns.IsSubDomain("arpa.", dns.CanonicalName(z)) { // it transfers services under that name, not PTR records
			forward = append(forward, z)
		}
	}
	return newFixedList(forward...)
}

// fixedList never changes.
type fixedList struct {
	apexes []string
	read   bool
}

func newFixedList(zones ...string) *fixedList {
	l := &fixedList{}
	for _, z := range zones {
		if apex, ok := apexOf(z); ok {
			l.apexes = append(l.apexes, apex)
		}
	}
	return l
}

func (l *fixedList) entries() ([]string, bool) {
	same := l.read
	l.read = true
	return l.apexes, same
}

func fileList(f *file.File) list {
	if f.ZoneLookupFunc != nil { // its names are not all there is
		return nil
	}
	return newFixedList(f.Zones.Names...)
}

// autoList reads what auto has loaded. Each change of its names leaves another slice: one
// that is longer, or that stands elsewhere.
type autoList struct {
	zones  *auto.Zones
	names  []string
	apexes []string
	read   bool
}

func (l *autoList) entries() ([]string, bool) {
	names := l.zones.Names() // under its lock; what it holds up to its length is never written again
	if l.read && len(names) == len(l.names) && (len(names) == 0 || &names[0] == &l.names[0]) {
		return l.apexes, true
	}
	l.read, l.names, l.apexes = true, names, make([]string, 0, len(names))
	for _, name := range names {
		apex, ok := apexOf(name)
		// It loads and transfers zones outside its origins, and answers for none of them.
		if ok && plugin.Zones(l.zones.Origins()).Matches(apex) != "" {
			l.apexes = append(l.apexes, apex)
		}
	}
	return l.apexes, false
}

// apexOf returns the canonical name of a zone, as it comes in a message.
func apexOf(name string) (string, bool) {
	buf := make([]byte, 256)
	end, err := dns.PackDomainName(dns.Fqdn(name), buf, 0, nil, false)
	if err != nil {
		return "", false
	}
	apex, _, err := dns.UnpackDomainName(buf[:end], 0)
	if err != nil || strings.HasPrefix(apex, "*.") {
		return "", false
	}
	return dns.CanonicalName(apex), true
}

// fallthroughOf says which names a backend hands on when it has a zone for them and
// nothing in it.
func fallthroughOf(h plugin.Handler) func(string) bool {
	v := reflect.Indirect(reflect.ValueOf(h))
	if v.Kind() == reflect.Struct {
		if f := v.FieldByName("Fall"); f.IsValid() && f.CanInterface() {
			if fall, ok := f.Interface().(fall.F); ok {
				return fall.Through
			}
		}
	}
	return func(string) bool { return false }
}
