// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// StartSnippet runs "named", "nsd" or "knotd" on port, with the ordinary settings of
// these tests and with snippet, a piece of its configuration that ends with the zone's
// section, as users write it. Its requests to 127.0.0.1 come from the address source,
// except knotd's.
func StartSnippet(t testing.TB, name string, port int, source string, zone Zone, snippet string) *Secondary {
	t.Helper()
	var software Software
	var file string
	switch name {
	case "named":
		software, file = named, "named.conf"
		snippet += fmt.Sprintf("server 127.0.0.1 { transfer-source %s; };\n", source)
	case "nsd":
		software, file = nsd, "nsd.conf"
		snippet += fmt.Sprintf("    outgoing-interface: %s\n    provide-xfr: 127.0.0.1 NOKEY\n", source)
	case "knotd":
		software, file = knotd, "knot.conf"
		snippet += "    acl: loopback\n"
	default:
		t.Fatalf("no snippets for %s", name)
	}
	c := config{Dir: t.TempDir(), Port: port, OwnTimers: true}
	if name == "knotd" { // its zone files are not relative to where it runs
		snippet = fmt.Sprintf("template:\n  - id: default\n    storage: %q\n", c.Dir) + snippet
	}
	argv := software.configure(t, c)
	argv[0] = Binary(t, argv[0])
	ordinary, err := os.ReadFile(c.path(file))
	if err != nil {
		t.Fatal(err)
	}
	WriteFile(t, c.path(file), string(ordinary)+snippet)
	c.Zones = []Zone{zone}
	return &Secondary{Process: Run(t, software.Name, c.Dir, argv...), software: software, config: c}
}

// NSDControl runs nsd-control on an NSD.
func (s *Secondary) NSDControl(t testing.TB, args ...string) {
	t.Helper()
	cmd := exec.Command(Binary(t, "nsd-control"), append([]string{"-c", s.config.path("nsd.conf")}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nsd-control %v: %v\n%s", args, err, out)
	}
}
