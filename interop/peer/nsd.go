// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// nsd is NLnet Labs' NSD. Large zones are not compared by its AXFR: 4.6.1 sends empty
// messages for ever when it comes to a record of more than 16 KiB
// (NLnetLabs/nsd#273).
var nsd = Software{Name: "nsd", Version: []string{"nsd", "-v"}, configure: configureNSD, flush: flushNSD}

func flushNSD(t testing.TB, c config) {
	t.Helper()
	for _, z := range c.Zones {
		cmd := exec.Command(Binary(t, "nsd-control"), "-c", c.path("nsd.conf"), "write", z.short())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("nsd-control write %s: %v\n%s", z.short(), err, out)
		}
	}
}

func configureNSD(t testing.TB, c config) []string {
	var b strings.Builder
	tls := ""
	if c.TLSPort != 0 {
		tls = fmt.Sprintf("\tip-address: 127.0.0.1@%[2]d\n\ttls-port: %[2]d\n\ttls-service-key: \"%[1]s/server.key\"\n\ttls-service-pem: \"%[1]s/server.pem\"\n", c.Dir, c.TLSPort)
	}
	fmt.Fprintf(&b, `server:
	ip-address: 127.0.0.1@%[2]d
	server-count: 1
	username: ""
	chroot: ""
	zonesdir: "%[1]s"
	database: ""
	pidfile: "%[1]s/nsd.pid"
	zonelistfile: "%[1]s/zone.list"
	xfrdfile: "%[1]s/xfrd.state"
	xfrdir: "%[1]s"
	xfrd-reload-timeout: 0
	verbosity: 2
%[3]sremote-control:
	control-enable: yes
	control-interface: "%[1]s/nsd.sock"
`, c.Dir, c.Port, tls)
	for _, k := range c.keys() {
		fmt.Fprintf(&b, "key:\n\tname: %q\n\talgorithm: %s\n\tsecret: %q\n", k.Short(), k.Alg(), k.Secret)
	}
	for _, z := range c.Zones {
		fmt.Fprintf(&b, "zone:\n\tname: %q\n\tzonefile: %q\n\trequest-xfr: %s@%d %s\n\tallow-notify: %s\n\tprovide-xfr: 127.0.0.1 NOKEY\n",
			z.short(), z.file(), c.primary(), c.Primary, z.Key.Short(), notifyNSD(c, z))
		if z.Source != "" {
			fmt.Fprintf(&b, "\toutgoing-interface: %s\n", z.Source)
		}
	}
	WriteFile(t, c.path("nsd.conf"), b.String())
	return []string{"nsd", "-d", "-c", c.path("nsd.conf")}
}
