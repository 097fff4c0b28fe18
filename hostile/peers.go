// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// The limits of other people's servers are their defaults, as those of ours are.

var (
	shortOrigin = strings.TrimSuffix(origin, ".")
	shortBig    = strings.TrimSuffix(bigOrigin, ".")
)

func configureNamed(s *server) []string {
	var keys, names strings.Builder
	for _, k := range allKeys() {
		fmt.Fprintf(&keys, "key %q { algorithm %s; secret %q; };\n", k.Short(), k.Alg(), k.Secret)
		fmt.Fprintf(&names, "key %q; ", k.Short())
	}
	s.write("named.conf", keys.String()+fmt.Sprintf(`options {
	directory "%[1]s";
	pid-file "%[1]s/named.pid";
	session-keyfile "%[1]s/session.key";
	lock-file none;
	listen-on port %[2]d { 127.0.0.1; };
	listen-on-v6 { none; };
	recursion no;
	dnssec-validation no;
	empty-zones-enable no;
	notify no;
	max-records-per-type 0;
};
controls { };
zone %[3]q { type primary; file "%[4]s"; check-integrity no; allow-transfer { %[5]s}; };
zone %[6]q { type primary; file "%[7]s"; check-integrity no; allow-transfer { %[5]s}; };
`, s.dir, s.port, shortOrigin, s.zoneFile(), names.String(), shortBig, s.bigFile()))
	return []string{peer.Binary(s.life, "named"), "-g", "-c", s.path("named.conf")}
}

func configureNSD(s *server) []string {
	var keys, provide strings.Builder
	for _, k := range allKeys() {
		fmt.Fprintf(&keys, "key:\n\tname: %q\n\talgorithm: %s\n\tsecret: %q\n", k.Short(), k.Alg(), k.Secret)
		fmt.Fprintf(&provide, "\tprovide-xfr: 127.0.0.0/8 %s\n", k.Short())
	}
	s.write("nsd.conf", fmt.Sprintf(`server:
	ip-address: 127.0.0.1@%[2]d
	username: ""
	chroot: ""
	zonesdir: "%[1]s"
	database: ""
	pidfile: "%[1]s/nsd.pid"
	zonelistfile: "%[1]s/zone.list"
	xfrdfile: "%[1]s/xfrd.state"
	xfrdir: "%[1]s"
remote-control:
	control-enable: no
%[3]szone:
	name: %[4]q
	zonefile: "%[5]s"
%[6]szone:
	name: %[7]q
	zonefile: "%[8]s"
%[6]s`, s.dir, s.port, keys.String(), shortOrigin, s.zoneFile(), provide.String(), shortBig, s.bigFile()))
	return []string{peer.Binary(s.life, "nsd"), "-d", "-c", s.path("nsd.conf")}
}

func configureKnot(s *server) []string {
	if err := os.Mkdir(s.path("db"), 0o700); err != nil {
		s.life.Fatal(err)
	}
	var keys strings.Builder
	var names []string
	for _, k := range allKeys() {
		fmt.Fprintf(&keys, "  - id: %s\n    algorithm: %s\n    secret: %s\n", k.Short(), k.Alg(), k.Secret)
		names = append(names, k.Short())
	}
	s.write("knot.conf", fmt.Sprintf(`server:
    listen: 127.0.0.1@%[2]d
    rundir: "%[1]s"
log:
  - target: stderr
    any: error
database:
    storage: "%[1]s/db"
control:
    listen: "%[1]s/knot.sock"
key:
%[3]sacl:
  - id: all
    key: [%[4]s]
    action: transfer
zone:
  - domain: %[5]s
    file: "%[6]s"
    acl: all
    zonefile-sync: -1
  - domain: %[7]s
    file: "%[8]s"
    acl: all
    zonefile-sync: -1
`, s.dir, s.port, keys.String(), strings.Join(names, ", "), shortOrigin, s.zoneFile(), shortBig, s.bigFile()))
	return []string{peer.Binary(s.life, "knotd"), "-c", s.path("knot.conf")}
}

func configurePDNS(s *server) []string {
	s.write("zones.conf", fmt.Sprintf("zone %q { type master; file %q; };\nzone %q { type master; file %q; };\n",
		shortOrigin, s.zoneFile(), shortBig, s.bigFile()))
	s.write("pdns.conf", fmt.Sprintf(`launch=bind
bind-config=%[1]s/zones.conf
bind-dnssec-db=%[1]s/keys.sqlite3
local-address=127.0.0.1
local-port=%[2]d
allow-axfr-ips=
socket-dir=%[1]s
daemon=no
guardian=no
zone-cache-refresh-interval=0
`, s.dir, s.port))
	commands := [][]string{{"create-bind-db", s.path("keys.sqlite3")}}
	for _, k := range allKeys() {
		commands = append(commands, []string{"import-tsig-key", k.Short(), k.Alg(), k.Secret},
			[]string{"activate-tsig-key", shortOrigin, k.Short(), "primary"},
			[]string{"activate-tsig-key", shortBig, k.Short(), "primary"})
	}
	for _, args := range commands {
		cmd := exec.Command(peer.Binary(s.life, "pdnsutil"), append([]string{"--config-dir=" + s.dir}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			s.life.Fatalf("pdnsutil %s: %w\n%s", args[0], err, out)
		}
	}
	return []string{peer.Binary(s.life, "pdns_server"), "--config-dir=" + s.dir}
}
