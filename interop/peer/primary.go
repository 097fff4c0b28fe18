// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Primary is a server that hands out zones from files, to compare what it makes of them.
type Primary struct {
	*Process
	port int
	dir  string
}

// Addr is its HOST:PORT.
func (p *Primary) Addr() string { return Loopback(p.port) }

// Primaries are the programs that StartPrimary knows.
func Primaries() []string { return []string{"named", "knotd", "nsd"} }

// StartPrimary runs a server with these zone files, by origin, and returns when it has
// read all of them. It checks in them what it cannot do without, and no more: a random
// zone has aliases that lead nowhere. A zone that it refuses it answers with SERVFAIL. It
// gives its zones to 127.0.0.1 without a key.
func StartPrimary(t testing.TB, name string, files map[string]string) *Primary {
	t.Helper()
	p := &Primary{port: Port(t), dir: t.TempDir()}
	argv := map[string]func(testing.TB, map[string]string) []string{
		"named": p.named, "knotd": p.knot, "nsd": p.nsd,
	}[name](t, files)
	argv[0] = Binary(t, argv[0])
	p.Process = Run(t, name, p.dir, argv...)
	p.Await(t, time.Minute, "read its zones", func(ctx context.Context) error {
		if name == "named" && !strings.Contains(strings.Join(p.Stderr.Lines(), "\n"), "all zones loaded") {
			return errors.New("it has not said so")
		}
		q := new(dns.Msg)
		q.SetQuestion(slices.Sorted(maps.Keys(files))[0], dns.TypeSOA)
		_, _, err := (&dns.Client{Timeout: time.Second}).ExchangeContext(ctx, q, p.Addr())
		return err //nolint:wrapcheck // Await says of whom
	})
	return p
}

func (p *Primary) write(t testing.TB, file string, head string, zone func(origin, path string) string, files map[string]string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(head)
	for _, origin := range slices.Sorted(maps.Keys(files)) {
		b.WriteString(zone(cmp.Or(strings.TrimSuffix(origin, "."), "."), files[origin]))
	}
	path := filepath.Join(p.dir, file)
	WriteFile(t, path, b.String())
	return path
}

func (p *Primary) named(t testing.TB, files map[string]string) []string {
	t.Helper()
	head := fmt.Sprintf(`options {
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
	max-records-per-type 0;
	max-types-per-name 0;
	check-names primary ignore;
	check-integrity no;
	check-mx ignore;
	check-mx-cname ignore;
	check-srv-cname ignore;
	check-sibling no;
	check-wildcard no;
	check-spf ignore;
};
controls { };
`, p.dir, p.port)
	path := p.write(t, "named.conf", head, func(origin, path string) string {
		return fmt.Sprintf("zone %q { type primary; file %q; };\n", origin, path)
	}, files)
	return []string{"named", "-g", "-n", "2", "-c", path}
}

func (p *Primary) knot(t testing.TB, files map[string]string) []string {
	t.Helper()
	head := fmt.Sprintf(`server:
    listen: 127.0.0.1@%[2]d
    rundir: "%[1]s"
    udp-workers: 1
    tcp-workers: 2
    background-workers: 2
log:
  - target: stderr
    any: info
database:
    storage: "%[1]s"
control:
    listen: "%[1]s/knot.sock"
acl:
  - id: loopback
    address: 127.0.0.1
    action: transfer
template:
  - id: default
    acl: loopback
    zonefile-sync: -1
    journal-content: none
zone:
`, p.dir, p.port)
	path := p.write(t, "knot.conf", head, func(origin, path string) string {
		return fmt.Sprintf("  - domain: %q\n    file: %q\n", origin, path)
	}, files)
	return []string{"knotd", "-c", path}
}

func (p *Primary) nsd(t testing.TB, files map[string]string) []string {
	t.Helper()
	head := fmt.Sprintf(`server:
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
	verbosity: 2
remote-control:
	control-enable: no
`, p.dir, p.port)
	path := p.write(t, "nsd.conf", head, func(origin, path string) string {
		return fmt.Sprintf("zone:\n\tname: %q\n\tzonefile: %q\n\tprovide-xfr: 127.0.0.1 NOKEY\n", origin, path)
	}, files)
	return []string{"nsd", "-d", "-c", path}
}
