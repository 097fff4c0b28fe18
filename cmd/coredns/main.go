// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Command coredns is CoreDNS with the xfrguard plugin in its place.
//
// It has every plugin of CoreDNS but the cloud and cluster ones, which make a build
// several times larger and slower; build with "-tags full" to have those as well.
package main

import (
	"log"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
)

func main() {
	order, err := directives(dnsserver.Directives)
	if err != nil {
		log.Fatal(err)
	}
	if err := dnsserver.SetDirectives(order); err != nil {
		log.Fatal(err)
	}
	caddy.AppVersion = version(coremain.CoreVersion)
	coremain.Run()
}
