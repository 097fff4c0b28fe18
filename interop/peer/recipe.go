// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// Recipe is what a document says about one implementation as secondary of a zone, with
// the addresses and ports of the test in it.
type Recipe struct {
	Name     string // "named", "nsd", "knotd", "pdns_server", "unbound" or "coredns"
	Settings string // global settings: pdns_server's own
	Zone     string // what its configuration needs for the zone, with the key
	Commands string // shell lines to run before it starts
	CoreDNS  string // path of the binary, for "coredns"
}

// StartRecipe runs a secondary of zone on port by a recipe, beside the ordinary settings of
// these tests.
func StartRecipe(t testing.TB, r Recipe, port int, zone Zone) *Secondary {
	t.Helper()
	switch r.Name {
	case "named", "nsd", "knotd":
		return StartSnippet(t, r.Name, port, "127.0.0.1", zone, r.Zone)
	}
	c := config{Dir: t.TempDir(), Port: port, Zones: []Zone{zone}}
	s := &Secondary{config: c}
	var argv []string
	switch r.Name {
	case "pdns_server":
		s.software, argv = pdns, recipePDNS(t, c, r)
	case "unbound":
		s.software, argv = unbound, unbound.configure(t, c)
		ordinary, err := os.ReadFile(c.path("unbound.conf"))
		if err != nil {
			t.Fatal(err)
		}
		WriteFile(t, c.path("unbound.conf"), string(ordinary)+r.Zone)
	case "coredns":
		s.software = Software{Name: "coredns-secondary"}
		block, ok := strings.CutSuffix(strings.TrimSpace(r.Zone), "}")
		if !ok {
			t.Fatalf("no server block:\n%s", r.Zone)
		}
		WriteFile(t, c.path("Corefile"), fmt.Sprintf("%s    bind 127.0.0.1\n    errors\n    transfer {\n        to *\n    }\n}\n", block))
		argv = []string{r.CoreDNS, "-conf", c.path("Corefile")}
	default:
		t.Fatalf("no recipes for %s", r.Name)
	}
	argv[0] = Binary(t, argv[0])
	s.Process = Run(t, s.software.Name, c.Dir, argv...)
	return s
}

// recipePDNS puts a recipe's own settings in the place of those that the tests use.
func recipePDNS(t testing.TB, c config, r Recipe) []string {
	t.Helper()
	argv := pdns.configure(t, config{Dir: c.Dir, Port: c.Port})
	ordinary, err := os.ReadFile(c.path("pdns.conf"))
	if err != nil {
		t.Fatal(err)
	}
	kept := string(ordinary)
	for line := range strings.Lines(r.Settings) {
		name, _, _ := strings.Cut(line, "=")
		kept = regexp.MustCompile("(?m)^"+regexp.QuoteMeta(name)+"=.*\n").ReplaceAllString(kept, "")
	}
	if err := os.Remove(c.path("keys.sqlite3")); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.Settings, "launch=bind") {
		kept = regexp.MustCompile(`(?m)^(launch|bind-.*)=.*\n`).ReplaceAllString(kept, "")
	}
	WriteFile(t, c.path("pdns.conf"), c.placed(r.Settings)+kept+"xfr-cycle-interval=1\n")
	WriteFile(t, c.path("zones.conf"), c.placed(r.Zone))
	cmd := exec.Command("sh", "-euc", c.tools(c.placed(r.Commands)))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, r.Commands, out)
	}
	return argv
}

var documented = regexp.MustCompile(`/(?:etc|var/lib)/powerdns/`)

// placed puts the secondary's directory in the place of the one in documents.
func (c config) placed(text string) string { return documented.ReplaceAllString(text, c.Dir+"/") }

// tools has the tools of the servers find their configuration.
func (c config) tools(lines string) string {
	for tool, option := range map[string]string{
		"pdnsutil": "--config-dir=" + c.Dir, "nsd-control": "-c " + c.path("nsd.conf"), "knotc": "-s " + c.path("knot.sock"),
		"unbound-control": "-c " + c.path("unbound.conf"),
	} {
		lines = regexp.MustCompile("(?m)^"+tool+" ").ReplaceAllString(lines, tool+" "+option+" ")
	}
	return lines
}

// Ask runs shell lines beside the secondary, with its own tools, and returns what they print.
func (s *Secondary) Ask(t testing.TB, lines string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", s.config.tools(lines))
	cmd.Dir = s.config.Dir
	out, _ := cmd.CombinedOutput() // what it has to say, the caller knows
	return string(out)
}
