// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// pdns is PowerDNS Authoritative Server with its bind backend. TSIG keys live in
// that backend's own SQLite file, which pdnsutil makes; what it receives it keeps in
// zone files. Large zones are not compared by its AXFR: it puts 100 records into a message
// whatever their size, and breaks off when that is too much (PowerDNS/pdns#11804).
var pdns = Software{
	Name: "pdns_server", Version: []string{"pdns_server", "--version"}, configure: configurePDNS, LowersNSEC: true,
	flush:  func(testing.TB, config) {},
	repair: escapeNames,
}

// special are the characters that mean something in a zone file (RFC 1035 §5.1) and
// that PowerDNS writes into names as they are.
var special = strings.NewReplacer(`"`, `\"`, `;`, `\;`, `(`, `\(`, `)`, `\)`, `$`, `\$`)

// escapeNames escapes them in owners and in the targets of NS records, which are
// the first and the fourth column of a line.
func escapeNames(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		columns := strings.SplitN(line, "\t", 4)
		if len(columns) < 4 {
			continue
		}
		columns[0] = special.Replace(columns[0])
		if columns[2] == "NS" {
			columns[3] = special.Replace(columns[3])
		}
		lines[i] = strings.Join(columns, "\t")
	}
	return strings.Join(lines, "\n")
}

func configurePDNS(t testing.TB, c config) []string {
	var b strings.Builder
	for _, z := range c.Zones {
		fmt.Fprintf(&b, "zone %q { type slave; file %q; masters { %s:%d; }; };\n", z.short(), c.path(z.file()), c.primary(), c.Primary)
	}
	WriteFile(t, c.path("zones.conf"), b.String())
	WriteFile(t, c.path("pdns.conf"), fmt.Sprintf(`launch=bind
bind-config=%[1]s/zones.conf
bind-dnssec-db=%[1]s/keys.sqlite3
local-address=127.0.0.1
local-port=%[2]d
secondary=yes
allow-axfr-ips=127.0.0.1
allow-notify-from=127.0.0.0/8
socket-dir=%[1]s
daemon=no
guardian=no
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
zone-cache-refresh-interval=0
loglevel=6
%[3]s`, c.Dir, c.Port, notifyPDNS(c)))
	pdnsutil(t, c, "create-bind-db", c.path("keys.sqlite3"))
	for _, k := range c.keys() {
		pdnsutil(t, c, "import-tsig-key", k.Short(), k.Alg(), k.Secret)
	}
	for _, z := range c.Zones {
		if z.Key.Name != "" {
			pdnsutil(t, c, "activate-tsig-key", z.short(), z.Key.Short(), "secondary")
		}
		if z.Incremental {
			pdnsutil(t, c, "set-meta", z.short(), "IXFR", "1")
		}
	}
	return []string{"pdns_server", "--config-dir=" + c.Dir}
}

func pdnsutil(t testing.TB, c config, args ...string) {
	t.Helper()
	cmd := exec.Command(Binary(t, "pdnsutil"), append([]string{"--config-dir=" + c.Dir}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("pdnsutil %s: %v\n%s", args[0], err, out)
	}
}
