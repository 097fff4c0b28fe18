// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/zonegen"
)

const otherZones = "Zone files that mean another zone"

// fragment is a zone file of docs/COMPATIBILITY.md and what it says of it.
type fragment struct {
	lines, included string
	sent            map[string][]string // records by server; nil: refused
	told            string              // a finding or the reason of a correction
	origin          string
}

// documentFragments are those of the n-th table of the chapter.
func documentFragments(t testing.TB, n int, origin string) (all []fragment) {
	t.Helper()
	for i, row := range documentTables(t, otherZones)[n] {
		f := fragment{origin: fmt.Sprintf("%s%d.test.", origin, i), sent: make(map[string][]string)}
		lines, included, _ := strings.Cut(row[0], " with ")
		f.lines = strings.Join(spans(lines), "\n") + "\n"
		f.included = strings.Join(spans(included), "\n") + "\n"
		if included != "" && strings.Contains(included, "<br>") { // what follows the first is of the zone
			first, rest, _ := strings.Cut(f.included, "\n")
			f.included = first + "\n"
			f.lines += rest
		}
		if len(row) == 2 {
			f.told = "refused"
			all = append(all, f)
			continue
		}
		for j, name := range []string{guardName, "named", "knotd"} {
			switch cell := row[j+1]; cell {
			case "refused":
			case "as CoreDNS":
				f.sent[name] = f.sent[guardName]
			case "as BIND":
				f.sent[name] = f.sent["named"]
			default:
				f.sent[name] = append([]string{}, spans(cell)...)
			}
		}
		if told := spans(row[4]); len(told) > 0 {
			f.told = told[0]
		}
		all = append(all, f)
	}
	return all
}

// text is the zone file of a fragment.
func (f fragment) text(included string) string {
	lines := strings.ReplaceAll(f.lines, "$INCLUDE included", "$INCLUDE "+included)
	if first, _, _ := strings.Cut(lines, "\n"); strings.HasPrefix(first, "@ ") && strings.Contains(first, " SOA ") && strings.Contains(lines, " NS ") {
		return lines
	}
	return zoneHead + lines
}

// The zone files in docs/COMPATIBILITY.md are read by CoreDNS, BIND and Knot DNS as it says,
// and what it calls a finding, a correction or nothing is one.
func TestZoneFileDocument(t *testing.T) {
	t.Parallel()
	fragments := append(documentFragments(t, 0, "other"), documentFragments(t, 1, "ours")...)
	fragments = append(fragments, documentFragments(t, 2, "refused")...)
	dir := t.TempDir()
	var origins []string
	for _, f := range fragments {
		included := filepath.Join(dir, "included."+f.origin)
		peer.WriteFile(t, included, f.included)
		peer.WriteFile(t, filepath.Join(dir, fileOf(f.origin)), f.text(included))
		origins = append(origins, f.origin)
	}
	r := startReaders(t, dir, origins[0], origins, "named", "knotd")
	for _, f := range fragments {
		got := r.read(t, f.origin)
		if f.told == "refused" {
			if got[guardName] != nil || got["named"] == nil {
				t.Errorf("%q is read by CoreDNS (%t) or not by BIND (%t)", f.lines, got[guardName] != nil, got["named"] != nil)
			}
			continue
		}
		for name, want := range f.sent {
			if sent := f.distinct(got[name], want); !slices.Equal(sent, want) {
				t.Errorf("%q: %s sends\n%s\nnot\n%s", f.lines, name, strings.Join(sent, "\n"), strings.Join(want, "\n"))
			}
		}
		for name, rrs := range got {
			if rrs != nil && f.sent[name] == nil {
				t.Errorf("%q is not refused by %s: %v", f.lines, name, rrs)
			}
		}
	}
	events := make(map[string][]string)
	all, err := peer.Events(r.all[guardName].Stdout.Lines())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		for _, f := range fragments {
			if e.Action == "policy-finding" && strings.Contains(e.Line, "zone "+f.origin+",") || e.Action == "zone-corrected" && e.Zone == f.origin {
				events[f.origin] = append(events[f.origin], e.Reason)
			}
		}
	}
	for _, f := range fragments {
		if f.told == "refused" {
			continue
		}
		if got := strings.Join(events[f.origin], " "); got != f.told {
			t.Errorf("%q: told of %q, the document has %q", f.lines, got, f.told)
		}
	}
}

// distinct are the records of a transfer that the head of the zone does not have, or that
// are wanted, as the document writes them.
func (f fragment) distinct(rrs []dns.RR, want []string) (all []string) {
	for i, rr := range rrs {
		if i > 0 && i == len(rrs)-1 {
			break // the SOA again
		}
		text := strings.Join(strings.Fields(rr.String()), " ")
		text = strings.Replace(text, " IN ", " ", 1)
		text = strings.ReplaceAll(text, "."+f.origin, "")
		text = strings.ReplaceAll(text, f.origin, "@")
		switch {
		case slices.Contains(want, text), rr.Header().Rrtype != dns.TypeSOA && rr.Header().Rrtype != dns.TypeNS && !strings.HasPrefix(text, "ns1 "):
			all = append(all, text)
		case rr.Header().Rrtype == dns.TypeSOA && slices.ContainsFunc(want, func(s string) bool { return strings.Contains(s, " SOA ") }):
			all = append(all, text)
		}
	}
	slices.SortStableFunc(all, func(a, b string) int { return slices.Index(want, a) - slices.Index(want, b) })
	return all
}

// The commands in docs/COMPATIBILITY.md that compare a zone file as BIND reads it with what
// CoreDNS hands out print nothing for a zone that is the same, and what differs.
func TestZoneFileCommands(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../docs/COMPATIBILITY.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "\n## "+otherZones+"\n")
	_, commands, _ := strings.Cut(text, "```\n")
	commands, _, _ = strings.Cut(commands, "```\n")
	for name, c := range map[string]struct {
		zone string
		want []string // what diff prints, in order
	}{
		"the same": {zonegen.Bulk("example.org.", 7, 60), nil},
		"another":  {zoneHead + "$GENERATE 1-1 g$ A 192.0.2.$\nl LOC 52 22 1.001 N 4 53 2.003 E 0m\n", []string{"< g1.example.org. 300", "> g1.example.org. 3600", "< l.example.org.", "> l.example.org."}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, port := t.TempDir(), peer.Port(t)
			db := filepath.Join(dir, "db.example.org")
			peer.WriteFile(t, db, c.zone)
			peer.WriteFile(t, filepath.Join(dir, "ns2.key"), fmt.Sprintf("key %q {\n\talgorithm hmac-sha256;\n\tsecret %q;\n};\n", sha256Key.Name, sha256Key.Secret))
			startGuarded(t, port, "example.org.", fmt.Sprintf("example.org:%d {\n\tbind 127.0.0.1\n\ttsig {\n\t\tsecrets %s/ns2.key\n\t}\n\txfrguard {\n\t\tallow as ns2 net 127.0.0.1 key %s\n\t}\n\tfile %s\n}\n", port, dir, sha256Key.Name, db))
			script := strings.ReplaceAll(commands, "-p 1053", fmt.Sprintf("-p %d", port))
			cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin")
			out, err := cmd.CombinedOutput()
			if (err == nil) != (c.want == nil) {
				t.Errorf("%v:\n%s", err, out)
			}
			var got []string
			for line := range strings.Lines(string(out)) {
				if strings.HasPrefix(line, "<") || strings.HasPrefix(line, ">") {
					got = append(got, strings.Join(strings.Fields(line), " "))
				}
			}
			slices.SortStableFunc(got, func(a, b string) int { return strings.Compare(a[2:3], b[2:3]) })
			if len(got) != len(c.want) {
				t.Fatalf("printed\n%s", out)
			}
			for i, want := range c.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("line %d is %q, want %q", i, got[i], want)
				}
			}
		})
	}
}
