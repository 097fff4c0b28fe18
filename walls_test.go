// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"cmp"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/xfrguard/xfrguard/"

// CoreDNS and what every plugin of it has.
const (
	coreDNS    = "github.com/coredns/coredns"
	caddyFiles = "github.com/coredns/caddy/caddyfile"
	caddyWhole = "github.com/coredns/caddy"
	miekg      = "github.com/miekg/dns"
	prom       = "github.com/prometheus/client_golang"
)

// walls says what each package may import: packages of this module, by their path below
// internal, and modules of others. What is not listed is behind a wall; a new package
// has to be entered here. Tests may import more.
var walls = map[string][]string{
	"internal/pool":         {},
	"internal/plainfile":    {"golang.org/x/sys"},
	"internal/control":      {"golang.org/x/sys"}, // small: the operator's tool writes with it
	"internal/policy":       {miekg, "github.com/gaissmai/bart"},
	"internal/finding":      {},
	"internal/keyfile":      {},
	"internal/lint":         {"internal/corefile", "internal/finding", "internal/policy"},
	"internal/corefile":     {"internal/finding", "internal/policy", miekg, caddyFiles}, // no CoreDNS: a command reads Corefiles with it
	"internal/check":        {"internal/corefile", "internal/finding", "internal/keyfile", "internal/lint", "internal/policy", miekg, caddyFiles},
	"internal/wire":         {miekg, "golang.org/x/sys", "golang.org/x/time"},
	"internal/notify":       {"internal/wire", miekg, "golang.org/x/time"},
	"internal/trail":        {"internal/plainfile", "github.com/google/uuid", "golang.org/x/mod"},
	"internal/verify":       {"internal/wire", miekg}, // no CoreDNS: what pulls zones judges them too
	"internal/zone":         {"internal/verify", "internal/wire", "internal/zone/journal", miekg, coreDNS},
	"internal/zone/journal": {"internal/plainfile", "go.etcd.io/bbolt"},
	"internal/limit":        {"internal/policy", "golang.org/x/time", "github.com/hashicorp/golang-lru/v2"},
	"internal/evidence":     {"internal/audit", "internal/limit", "internal/policy", "internal/wire", miekg, coreDNS},
	"internal/coredns":      {miekg, coreDNS, caddyWhole, "github.com/pires/go-proxyproto"},
	"internal/audit": {
		"internal/corefile", "internal/finding", "internal/policy", "internal/pool", "internal/trail", coreDNS, prom,
		"github.com/coreos/go-systemd", "github.com/google/uuid", "github.com/hashicorp/golang-lru/v2",
		"github.com/leodido/go-syslog", "golang.org/x/sys", "golang.org/x/time",
	},
	".": {
		"internal/audit", "internal/control", "internal/coredns", "internal/corefile", "internal/evidence", "internal/finding", "internal/keyfile",
		"internal/limit", "internal/lint", "internal/notify", "internal/plainfile",
		"internal/policy", "internal/pool", "internal/verify", "internal/wire", "internal/zone", "internal/zone/journal",
		miekg, coreDNS, caddyWhole, prom, "github.com/google/uuid", "github.com/opentracing/opentracing-go", "golang.org/x/time",
	},
	"cmd/coredns": {".", "internal/coredns", coreDNS, caddyWhole},
	"cmd/xfrguard": { // neither CoreDNS nor the plugin: the tool stays small
		"internal/check", "internal/corefile", "internal/finding", "internal/policy", "internal/trail",
		miekg, "github.com/jedib0t/go-pretty/v6", "github.com/owenrumney/go-sarif/v3", "github.com/spf13/cobra",
	},
}

// behindWall returns why a package must not import another, "" when it may.
func behindWall(pkg, imported string) string {
	allowed, known := walls[pkg]
	if !known {
		return fmt.Sprintf("%s is no package of walls_test.go: enter it, with what it may import", pkg)
	}
	name := imported
	if own, ok := strings.CutPrefix(imported+"/", modulePath); ok {
		name = cmp.Or(strings.TrimSuffix(own, "/"), ".")
	} else if !strings.Contains(strings.Split(imported, "/")[0], ".") {
		return "" // the standard library
	}
	for _, a := range allowed {
		if name == a || !strings.HasPrefix(a, "internal/") && strings.HasPrefix(name, a+"/") && a != caddyFiles {
			return ""
		}
	}
	return fmt.Sprintf("the wall of %s: it must not import %s", pkg, name)
}

// TestWalls holds the imports of every package against the list: a vocabulary does not
// leak into another, and a command needs no server.
func TestWalls(t *testing.T) {
	seen := make(map[string]bool)
	for _, root := range []string{".", "internal", "cmd"} {
		err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (root == "." && file != "." || d.Name() == "testdata" || strings.HasSuffix(d.Name(), "test") && root == "internal"):
				return fs.SkipDir
			case d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
				return nil
			}
			pkg := filepath.ToSlash(filepath.Dir(file))
			seen[pkg] = true
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			for _, i := range f.Imports {
				imported, err := strconv.Unquote(i.Path.Value)
				if err != nil {
					return err
				}
				if why := behindWall(pkg, imported); why != "" {
					t.Errorf("%s: %s", file, why)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for pkg := range walls {
		if !seen[pkg] {
			t.Errorf("%s is in the list and not in the tree", pkg)
		}
	}
}

// TestWallsHold: the list lets nothing through that it does not name.
func TestWallsHold(t *testing.T) {
	for _, tt := range []struct {
		pkg, imported string
		may           bool
	}{
		{"internal/policy", "net/netip", true},
		{"internal/policy", "github.com/miekg/dns", true},
		{"internal/policy", "github.com/coredns/coredns/plugin", false},
		{"internal/policy", modulePath + "internal/corefile", false},
		{"internal/corefile", "github.com/coredns/caddy/caddyfile", true},
		{"internal/corefile", "github.com/coredns/caddy", false},
		{"internal/corefile", modulePath + "internal/audit", false},
		{"internal/zone", modulePath + "internal/zone/journal", true},
		{"internal/notify", modulePath + "internal/zone", false},
		{"cmd/xfrguard", strings.TrimSuffix(modulePath, "/"), false},
		{"cmd/coredns", strings.TrimSuffix(modulePath, "/"), true},
		{"internal/unheard", "fmt", false},
	} {
		why := behindWall(tt.pkg, tt.imported)
		if (why == "") != tt.may || !tt.may && !strings.Contains(why, tt.pkg) {
			t.Errorf("%s imports %s: %q", tt.pkg, tt.imported, why)
		}
	}
}
