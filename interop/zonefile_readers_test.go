// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// readers are CoreDNS with the guard, under its name, and other servers that all have read
// the same zone files. CoreDNS reads them with auto, which unlike file goes on without a zone
// that cannot be read; the parser is the same.
type readers struct {
	addrs map[string]string // by name
	all   map[string]*peer.Process
}

const guardName = "coredns"

// startReaders starts CoreDNS and the others. The zone files are in one directory, as
// db.ORIGIN without the final dot; CoreDNS must be able to read the first zone.
func startReaders(t testing.TB, dir, first string, origins []string, others ...string) *readers {
	t.Helper()
	r := &readers{addrs: make(map[string]string), all: make(map[string]*peer.Process)}
	files := make(map[string]string, len(origins))
	for _, origin := range origins {
		files[origin] = filepath.Join(dir, fileOf(origin))
	}
	for _, name := range others {
		p := peer.StartPrimary(t, name, files)
		r.addrs[name], r.all[name] = p.Addr(), p.Process
	}
	port := peer.Port(t)
	core := startGuarded(t, port, first, fmt.Sprintf(`.:%d {
	bind 127.0.0.1
	errors
	xfrguard %s {
		allow as reader net 127.0.0.1 unsigned
%s	}
	auto {
		directory %s db\.(.*) {1}
	}
}
`, port, strings.Join(origins, " "), unlimited, dir))
	r.addrs[guardName], r.all[guardName] = peer.Loopback(port), core.Process
	return r
}

func fileOf(origin string) string { return "db." + origin[:len(origin)-1] }

// read is the zone as each server sends it; nil where it has not read it.
func (r *readers) read(t testing.TB, origin string) map[string][]dns.RR {
	t.Helper()
	got := make(map[string][]dns.RR, len(r.addrs))
	for _, name := range slices.Sorted(maps.Keys(r.addrs)) {
		if has, err := hasZone(t.Context(), r.addrs[name], origin); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !has {
			continue
		}
		rrs, err := peer.Transfer(t.Context(), r.addrs[name], origin, nil)
		switch {
		case err == nil:
			got[name] = rrs
		case !strings.Contains(err.Error(), "bad xfr rcode"): // Knot DNS reads what it cannot send
			t.Errorf("%s: %v", name, err)
		}
	}
	return got
}

// hasZone asks until the server answers: a busy machine loses a query now and then.
func hasZone(ctx context.Context, addr, origin string) (has bool, err error) {
	m := new(dns.Msg).SetQuestion(origin, dns.TypeSOA)
	for range 20 {
		var r *dns.Msg
		if r, _, err = (&dns.Client{Timeout: time.Second}).ExchangeContext(ctx, m, addr); err == nil {
			return r.Rcode == dns.RcodeSuccess && len(r.Answer) > 0, nil
		}
	}
	return false, fmt.Errorf("ask for %s: %w", origin, err)
}

// said are the lines of a server about the file of a zone or the zone, the first few.
func (r *readers) said(name, origin string) string {
	var about []string
	for _, line := range append(r.all[name].Stdout.Lines(), r.all[name].Stderr.Lines()...) {
		if strings.Contains(line, fileOf(origin)) || strings.Contains(line, strings.TrimSuffix(origin, ".")) {
			about = append(about, line)
		}
	}
	return strings.Join(about[:min(len(about), 6)], "\n")
}
