// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/xfrguard/xfrguard/interop/lab"
	"github.com/xfrguard/xfrguard/interop/peer"
)

// Names as configuration files have them.
var (
	shortOrigin = strings.TrimSuffix(origin, ".")
	shortKey    = strings.TrimSuffix(keyName, ".")
	shortAlg    = strings.TrimSuffix(keyAlgorithm, ".")
)

var (
	named = software{name: "named", peer: true, configure: configureNamed, reload: func(s *server) []string {
		return []string{peer.Binary(s.life, "rndc"), "-c", s.path("rndc.conf"), "reload", shortOrigin}
	}}
	nsd = software{name: "nsd", peer: true, configure: configureNSD, reload: func(s *server) []string {
		return []string{peer.Binary(s.life, "nsd-control"), "-c", s.path("nsd.conf"), "reload", shortOrigin}
	}}
	knotd = software{name: "knotd", peer: true, configure: configureKnot, reload: func(s *server) []string {
		return []string{peer.Binary(s.life, "knotc"), "-c", s.path("knot.conf"), "zone-reload", shortOrigin}
	}}
	pdns = software{
		name: "pdns_server", peer: true, configure: configurePDNS, patient: true, noIXFR: "its bind backend has no deltas",
		reload: func(s *server) []string {
			return []string{peer.Binary(s.life, "pdns_control"), "--config-dir=" + s.dir, "bind-reload-now", shortOrigin}
		},
	}
)

func configureNamed(t *lab.Lifetime, s *server) []string {
	key := fmt.Sprintf("key %q { algorithm %s; secret %q; };\n", shortKey, shortAlg, keySecret)
	// More transfers at a time than its defaults permit; no glue is needed, and sets of
	// any size are welcome.
	s.write(t, "named.conf", key+fmt.Sprintf(`options {
	directory "%[1]s";
	pid-file "%[1]s/named.pid";
	session-keyfile "%[1]s/session.key";
	lock-file none;
	listen-on port %[2]d { 127.0.0.1; };
	listen-on-v6 { none; };
	recursion no;
	dnssec-validation no;
	empty-zones-enable no;
	allow-transfer { 127.0.0.1; };
	notify no;
	tcp-clients 1000;
	tcp-listen-queue 1000;
	transfers-out 1000;
	max-records-per-type 0;
};
controls { inet 127.0.0.1 port %[3]d allow { 127.0.0.1; } keys { %[4]q; }; };
zone %[5]q { type primary; file "%[6]s"; check-integrity no; ixfr-from-differences yes; };
`, s.dir, s.port, s.control, shortKey, shortOrigin, s.zoneFile()))
	s.write(t, "rndc.conf", key+fmt.Sprintf("options { default-key %q; default-server 127.0.0.1; default-port %d; };\n", shortKey, s.control))
	return []string{peer.Binary(t, "named"), "-g", "-c", s.path("named.conf")}
}

func configureNSD(t *lab.Lifetime, s *server) []string {
	s.write(t, "nsd.conf", fmt.Sprintf(`server:
	ip-address: 127.0.0.1@%[2]d
	server-count: 2
	tcp-count: 1000
	username: ""
	chroot: ""
	zonesdir: "%[1]s"
	database: ""
	pidfile: "%[1]s/nsd.pid"
	zonelistfile: "%[1]s/zone.list"
	xfrdfile: "%[1]s/xfrd.state"
	xfrdir: "%[1]s"
remote-control:
	control-enable: yes
	control-interface: "%[1]s/nsd.sock"
key:
	name: %[3]q
	algorithm: %[4]s
	secret: %[5]q
zone:
	name: %[6]q
	zonefile: "%[7]s"
	provide-xfr: 127.0.0.1 NOKEY
	provide-xfr: 127.0.0.1 %[3]s
	store-ixfr: yes
	create-ixfr: yes
	ixfr-size: 0
`, s.dir, s.port, shortKey, shortAlg, keySecret, shortOrigin, s.zoneFile()))
	return []string{peer.Binary(t, "nsd"), "-d", "-c", s.path("nsd.conf")}
}

func configureKnot(t *lab.Lifetime, s *server) []string {
	if err := os.Mkdir(s.path("db"), 0o700); err != nil { // without it no journal, and no new version
		t.Fatal(err)
	}
	s.write(t, "knot.conf", fmt.Sprintf(`server:
    listen: 127.0.0.1@%[2]d
    rundir: "%[1]s"
    tcp-workers: 2
    tcp-max-clients: 1000
log:
  - target: stderr
    any: info
database:
    storage: "%[1]s/db"
control:
    listen: "%[1]s/knot.sock"
key:
  - id: %[3]s
    algorithm: %[4]s
    secret: %[5]s
acl:
  - id: plain
    address: 127.0.0.1
    action: transfer
  - id: signed
    address: 127.0.0.1
    key: %[3]s
    action: transfer
zone:
  - domain: %[6]s
    file: "%[7]s"
    acl: [plain, signed]
    zonefile-sync: -1
    zonefile-load: difference
    journal-content: changes
`, s.dir, s.port, shortKey, shortAlg, keySecret, shortOrigin, s.zoneFile()))
	return []string{peer.Binary(t, "knotd"), "-c", s.path("knot.conf")}
}

func configurePDNS(t *lab.Lifetime, s *server) []string {
	s.write(t, "zones.conf", fmt.Sprintf("zone %q { type master; file %q; };\n", shortOrigin, s.zoneFile()))
	s.write(t, "pdns.conf", fmt.Sprintf(`launch=bind
bind-config=%[1]s/zones.conf
bind-dnssec-db=%[1]s/keys.sqlite3
local-address=127.0.0.1
local-port=%[2]d
allow-axfr-ips=127.0.0.1
max-tcp-connections=1000
socket-dir=%[1]s
daemon=no
guardian=no
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
zone-cache-refresh-interval=0
`, s.dir, s.port))
	for _, args := range [][]string{
		{"create-bind-db", s.path("keys.sqlite3")},
		{"import-tsig-key", shortKey, shortAlg, keySecret},
		{"activate-tsig-key", shortOrigin, shortKey, "primary"},
	} {
		cmd := exec.Command(peer.Binary(t, "pdnsutil"), append([]string{"--config-dir=" + s.dir}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("pdnsutil %s: %w\n%s", args[0], err, out)
		}
	}
	return []string{peer.Binary(t, "pdns_server"), "--config-dir=" + s.dir}
}
