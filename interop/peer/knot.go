// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// knotd is CZ.NIC's Knot DNS.
var knotd = Software{Name: "knotd", Version: []string{"knotd", "-V"}, configure: configureKnot}

func configureKnot(t testing.TB, c config) []string {
	var b strings.Builder
	fmt.Fprintf(&b, `server:
    listen: 127.0.0.1@%[2]d
    rundir: "%[1]s"
    udp-workers: 1
    tcp-workers: 1
    background-workers: 2
log:
  - target: stderr
    any: info
database:
    storage: "%[1]s/db"
control:
    listen: "%[1]s/knot.sock"
`, c.Dir, c.Port)
	if err := os.Mkdir(c.path("db"), 0o700); err != nil { // knotd makes what is in it only
		t.Fatal(err)
	}
	b.WriteString("key:\n")
	for _, k := range c.keys() {
		fmt.Fprintf(&b, "  - id: %s\n    algorithm: %s\n    secret: %s\n", k.Short(), k.Alg(), k.Secret)
	}
	b.WriteString("remote:\n")
	for _, k := range c.keys() {
		fmt.Fprintf(&b, "  - id: primary-%s\n    address: %s@%d\n    key: %s\n", k.Short(), c.primary(), c.Primary, k.Short())
	}
	if source := c.source(); source != "" {
		fmt.Fprintf(&b, "    via: %s\n", source) // of the last remote
	}
	b.WriteString("acl:\n  - id: loopback\n    address: 127.0.0.1\n    action: transfer\n")
	fmt.Fprintf(&b, "  - id: primary\n    address: %s\n    action: notify\n", c.primary())
	acls, acl := notifyKnot(c)
	b.WriteString(acls + "zone:\n")
	for _, z := range c.Zones {
		fmt.Fprintf(&b, "  - domain: %s\n    storage: %q\n    file: %q\n    zonefile-sync: -1\n    master: primary-%s\n    acl: %s\n",
			z.short(), c.Dir, z.file(), z.Key.Short(), acl(z))
	}
	WriteFile(t, c.path("knot.conf"), b.String())
	return []string{"knotd", "-c", c.path("knot.conf")}
}
