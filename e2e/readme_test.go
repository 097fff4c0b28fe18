// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/evidence/catest"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/prometheus/client_golang/prometheus"
)

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestReadmeCorefiles starts CoreDNS with every Corefile of the README, on a free
// port of loopback and with the files it names.
func TestReadmeCorefiles(t *testing.T) {
	keys := ""
	for _, name := range []string{"ns2.example.net.", "ns3.example.net."} {
		keys += fmt.Sprintf("key \"%s\" {\n\talgorithm hmac-sha256;\n\tsecret \"%s\";\n};\n", name, xfrtest.SecretA)
	}
	ca := catest.New(t)
	cert, key := ca.Issue(t, "ns1.example.org")
	files := map[string]string{"xfr.keys": keys, "db.example.org": xfrtest.ZoneOrg, "ca.pem": ca.Pem, "server.pem": cert, "server.key": key}
	blocks := regexp.MustCompile("(?s)~~~ corefile\n(.*?)~~~").FindAllStringSubmatch(readme(t), -1)
	if len(blocks) < 4 {
		t.Fatalf("only %d Corefiles in the README", len(blocks))
	}
	for i, b := range blocks {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			corefile := b[1]
			for name := range files {
				corefile = regexp.MustCompile(`(\s)`+regexp.QuoteMeta(name)).ReplaceAllString(corefile, "${1}DIR/"+name)
			}
			corefile = strings.ReplaceAll(corefile, "audit file ", "audit file DIR/")
			corefile = regexp.MustCompile(`(?m)^((?:tls://)?example\.org) \{`).ReplaceAllString(corefile, "${1}:0 {\n    bind 127.0.0.1")
			// Nothing may leave this machine: who is to be notified is here, and nobody listens.
			corefile = regexp.MustCompile(`(?m)^(\s*(?:notify|to)) \d+\.\d+\.(\d+\.\d+)`).ReplaceAllString(corefile, "${1} 127.0.${2}:9")
			xfrtest.Serve(t, corefile, files)
		})
	}
}

// TestReadmeSections holds the README against CoreDNS's rules for them.
func TestReadmeSections(t *testing.T) {
	text := readme(t)
	for _, section := range []string{"# xfrguard\n", "## Name\n", "## Description\n", "## Syntax\n", "## Examples\n", "## Metrics\n", "## Bugs\n", "## See Also\n"} {
		if !strings.Contains(text, section) {
			t.Errorf("no section %q", section)
		}
	}
	for _, r := range policy.Reasons {
		if !strings.Contains(text, "`"+string(r)+"`") {
			t.Errorf("reason %s is not in the answers table", r)
		}
	}
}

// TestReadmeMetrics compares the list of metrics, with their labels, with those
// registered.
func TestReadmeMetrics(t *testing.T) {
	described := make(map[string]string)
	for _, m := range regexp.MustCompile("`(coredns_xfrguard_\\w+)\\{([^}]*)\\}`").FindAllStringSubmatch(readme(t), -1) {
		described[m[1]] = m[2]
	}
	var registered []string
	all := make(chan *prometheus.Desc, 1000)
	prometheus.DefaultRegisterer.(*prometheus.Registry).Describe(all)
	close(all)
	for d := range all {
		m := regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{([^}]*)\}`).FindStringSubmatch(d.String())
		if !strings.HasPrefix(m[1], "coredns_xfrguard_") {
			continue
		}
		labels := strings.ReplaceAll(m[2], ",", ", ")
		if got, ok := described[m[1]]; !ok || got != labels {
			t.Errorf("%s{%s} is in the README as {%s}", m[1], labels, got)
		}
		registered = append(registered, m[1])
	}
	n := 0
	for _, f := range []string{"metrics.go", "hold.go", "internal/audit/metrics.go"} {
		source, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		n += strings.Count(string(source), "promauto.New") + strings.Count(string(source), "prometheus.NewDesc(")
	}
	if n != len(registered) {
		t.Errorf("metrics.go has %d metrics, %d are registered", n, len(registered))
	}
	for name := range described {
		if !slices.Contains(registered, name) {
			t.Errorf("the README has %s, which does not exist", name)
		}
	}
}
