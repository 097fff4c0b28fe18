// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/coredns/coredns/core/dnsserver"
)

func TestDirectivesPutGuardAfterDnstap(t *testing.T) {
	core := slices.Clone(dnsserver.Directives)
	got, err := directives(core)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.Index(got, "xfrguard")
	if at < 1 || got[at-1] != "dnstap" || got[at+1] != "local" {
		t.Errorf("xfrguard is at %d of %v, want it between dnstap and local", at, got)
	}
	if rest := slices.Delete(slices.Clone(got), at, at+1); !slices.Equal(rest, core) {
		t.Errorf("without xfrguard: %v, want CoreDNS's own order %v", rest, core)
	}
	if !slices.Equal(core, dnsserver.Directives) {
		t.Error("directives changed the list it was given")
	}
}

func TestDirectivesRefuseAnotherOrder(t *testing.T) {
	move := func(name, to string) []string {
		list := slices.DeleteFunc(slices.Clone(dnsserver.Directives), func(d string) bool { return d == name })
		return slices.Insert(list, slices.Index(list, to), name)
	}
	without := func(name string) []string {
		return slices.DeleteFunc(slices.Clone(dnsserver.Directives), func(d string) bool { return d == name })
	}
	for name, tc := range map[string]struct {
		core []string
		want string // has to be in the error
	}{
		"empty":                  {nil, "dnstap"},
		"no dnstap":              {without("dnstap"), "dnstap"},
		"no tsig":                {without("tsig"), "tsig"},
		"no transfer":            {without("transfer"), "transfer"},
		"no log":                 {without("log"), "log"},
		"xfrguard twice":         {append(slices.Clone(dnsserver.Directives), "xfrguard"), "already"},
		"tsig before dnstap":     {move("tsig", "errors"), "tsig"},
		"rewrite before dnstap":  {move("rewrite", "root"), "rewrite"},
		"forward before dnstap":  {move("forward", "dnstap"), "forward"},
		"transfer before dnstap": {move("transfer", "dnstap"), "transfer"},
		"log after dnstap":       {move("log", "local"), "log"},
		"prometheus after tsig":  {move("prometheus", "rewrite"), "prometheus"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := directives(tc.core)
			if err == nil {
				t.Fatalf("got %v, want an error", got)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q does not name %q", err, tc.want)
			}
		})
	}
}

func TestVersionSuffix(t *testing.T) {
	for module, want := range map[string]string{
		"":                                     "",
		"(devel)":                              "",
		"v0.1.0":                               ".0.1.0",
		"v0.1.1-0.20260101000000-abcdefabcdef": ".0.1.1-0.20260101000000-abcdefabcdef",
		"v0.1.0+dirty":                         ".0.1.0.dirty",
	} {
		if got := suffix(module); got != want {
			t.Errorf("suffix(%q) = %q, want %q", module, got, want)
		}
	}
}
