// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// vectors are the zones of RFC 8976 Appendix A whose digest is of scheme SIMPLE and
// SHA-384.
var vectors = []struct{ name, zone, digest string }{
	{"A.1 simple", `
example.      86400  IN  SOA     ns1 admin 2018031900 1800 900 604800 86400
example.      86400  IN  NS      ns1
example.      86400  IN  NS      ns2
example.      86400  IN  ZONEMD  2018031900 1 1 c68090d90a7aed716bc459f9340e3d7c1370d4d24b7e2fc3a1ddc0b9a87153b9a9713b3c9ae5cc27777f98b8e730044c
ns1           3600   IN  A       203.0.113.63
ns2           3600   IN  AAAA    2001:db8::63
`, "c68090d90a7aed716bc459f9340e3d7c1370d4d24b7e2fc3a1ddc0b9a87153b9a9713b3c9ae5cc27777f98b8e730044c"},
	{"A.2 complex", `
example.      86400  IN  SOA     ns1 admin 2018031900 1800 900 604800 86400
example.      86400  IN  NS      ns1
example.      86400  IN  NS      ns2
example.      86400  IN  ZONEMD  2018031900 1 1 a3b69bad980a3504e1cffcb0fd6397f93848071c93151f552ae2f6b1711d4bd2d8b39808226d7b9db71e34b72077f8fe
ns1           3600   IN  A       203.0.113.63
NS2           3600   IN  AAAA    2001:db8::63
occluded.sub  7200   IN  TXT     "I'm occluded but must be digested"
sub           7200   IN  NS      ns1
duplicate     300    IN  TXT     "I must be digested just once"
duplicate     300    IN  TXT     "I must be digested just once"
foo.test.     555    IN  TXT     "out-of-zone data must be excluded"
UPPERCASE     3600   IN  TXT     "canonicalize uppercase owner names"
*             777    IN  PTR     dont-forget-about-wildcards
mail          3600   IN  MX      20 MAIL1
mail          3600   IN  MX      10 Mail2.Example.
sortme        3600   IN  AAAA    2001:db8::5:61
sortme        3600   IN  AAAA    2001:db8::3:62
sortme        3600   IN  AAAA    2001:db8::4:63
sortme        3600   IN  AAAA    2001:db8::1:65
sortme        3600   IN  AAAA    2001:db8::2:64
non-apex      900    IN  ZONEMD  2018031900 1 1 616c6c6f776564206275742069676e6f7265642e20616c6c6f776564206275742069676e6f7265642e20616c6c6f7765
`, "a3b69bad980a3504e1cffcb0fd6397f93848071c93151f552ae2f6b1711d4bd2d8b39808226d7b9db71e34b72077f8fe"},
}

// TestDigestVectors: in any order of the records the digest is the one of the RFC.
func TestDigestVectors(t *testing.T) {
	for _, tt := range vectors {
		t.Run(tt.name, func(t *testing.T) {
			var records []dns.RR
			zp := dns.NewZoneParser(strings.NewReader(tt.zone), "example.", "")
			for r, ok := zp.Next(); ok; r, ok = zp.Next() {
				if dns.IsSubDomain("example.", r.Header().Name) { // what is outside the zone is refused here
					records = append(records, r)
				}
			}
			if err := zp.Err(); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				if got := digestOfRecords(t, records); got != tt.digest {
					t.Fatalf("got  %s\nwant %s", got, tt.digest)
				}
				body := records[1:]
				rand.Shuffle(len(body), func(i, j int) { body[i], body[j] = body[j], body[i] })
			}
		})
	}
}

func digestOfRecords(t *testing.T, records []dns.RR) string {
	t.Helper()
	soa := records[0].(*dns.SOA)
	st := &stream{soa: soa, asked: time.Now(), run: func(emit func(dns.RR) error) error {
		if err := emitAll(records, emit); err != nil {
			return err
		}
		return emit(soa)
	}}
	v := newVersion("example.", st)
	go v.indexAlong(v.attach(true))
	v.build(st, 1<<20, func() bool { return true })
	d, ok := v.Digest(context.Background())
	if !ok {
		t.Fatal("no digest", v.err)
	}
	return hex.EncodeToString(d[:])
}

// TestDigestInMemory: what the tree of a file-like backend sends needs no sorting, and
// gives the same as what is sorted.
func TestDigestInMemory(t *testing.T) {
	records := many(t, 500)
	for _, s := range []string{
		"*.example.org. 1 IN A 192.0.2.1", `a\.b.example.org. 1 IN A 192.0.2.1`, "a.b.example.org. 1 IN MX 1 B.",
		"B.example.org. 1 IN TXT x", `\000.example.org. 1 IN A 192.0.2.1`, `\200.example.org. 1 IN A 192.0.2.1`,
		"example.org. 1 IN MX 1 mail", "example.org. 1 IN TXT x", "example.org. 1 IN CAA 0 issue x",
	} {
		records = append(records, rr(t, "%s", s))
	}
	src := newInMemory()
	src.set(t, 1, records)
	v := settledVersion(t, openStore(t, src, Options{}))
	if !v.index.digested {
		t.Fatal("no digest")
	}
	in := indexer{ix: &index{}, digester: newDigester()}
	for i, m := range v.messages {
		if err := in.add(m, uint32(i)); err != nil {
			t.Fatal(err)
		}
	}
	if in.digester.broken {
		t.Error("the names of the tree are out of canonical order")
	}
	d, ok := digestUnordered(v.messages)
	if !ok || d != v.index.digest {
		t.Errorf("sorted %x, in order %x", d, v.index.digest)
	}
}

func settledVersion(t *testing.T, s *Store) *Version {
	t.Helper()
	r := current(t, s)
	defer r.Close()
	<-r.Version.settled
	return r.Version
}
