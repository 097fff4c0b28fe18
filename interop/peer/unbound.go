// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// unbound is NLnet Labs' resolver with an auth-zone. It signs nothing, and hands no zone
// out: what it has got is in its zone file.
var unbound = Software{
	Name: "unbound", Version: []string{"unbound", "-V"}, configure: configureUnbound,
	file: func(c config, zone string) string { return filepath.Join(c.Dir, strings.TrimSuffix(zone, ".")+".zone") },
}

func configureUnbound(t testing.TB, c config) []string {
	WriteFile(t, c.path("unbound.conf"), fmt.Sprintf(`server:
	interface: 127.0.0.1@%[2]d
	num-threads: 1
	do-ip6: no
	username: ""
	chroot: ""
	directory: "%[1]s"
	pidfile: ""
	use-syslog: no
	logfile: ""
	verbosity: 1
	module-config: "iterator"
	do-not-query-localhost: no
	access-control: 127.0.0.0/8 allow
	local-zone: "test." nodefault
remote-control:
	control-enable: yes
	control-interface: "%[1]s/unbound.sock"
	control-use-cert: no
`, c.Dir, c.Port))
	return []string{"unbound", "-d", "-p", "-c", c.path("unbound.conf")}
}
