// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/zonegen"
)

// tlsServer is a primary that BenchmarkXoT asks.
type tlsServer struct {
	name  string
	port  int
	drawn [2][]time.Duration // on a new connection each, and on an open one
	cost  xotCost
	conn  *tls.Conn // the open one
}

// xotCost is what a transfer was made of.
type xotCost struct {
	bytes, messages int
	session         string
}

// BenchmarkXoT has a zone of 100,000 records transferred over TLS 1.3 by the guard, by
// CoreDNS's transfer, by named and by nsd, in turns, and prints medians and ratios. Run
// it once (-benchtime 1x); XFRGUARD_ROUNDS is the number of turns.
func BenchmarkXoT(b *testing.B) {
	rounds := 15
	if text := os.Getenv("XFRGUARD_ROUNDS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil || rounds < 1 {
			b.Fatalf("XFRGUARD_ROUNDS=%q is no number of rounds", text)
		}
	}
	dir, _ := xotCertificates(b, readXOT(b))
	peer.WriteFile(b, filepath.Join(dir, "db.example.org"), zonegen.Bulk(xotZone, 1, xotRecords))
	servers := startTLSServers(b, dir)
	config, err := xotSecondary{dir: dir, name: "ns2.example.net"}.config()
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		for round := range rounds + 1 { // the first warms up
			for i := range servers {
				s := servers[(i+round)%len(servers)]
				if err := s.draw(config, round > 0); err != nil {
					b.Fatalf("%s: %v", s.name, err)
				}
			}
		}
	}
	printXoT(b, servers)
}

// draw measures one transfer on a new connection and one on an open one.
func (s *tlsServer) draw(config *tls.Config, count bool) error {
	start := time.Now()
	conn, err := tls.Dial("tcp", peer.Loopback(s.port), config)
	if err != nil {
		return err
	}
	defer conn.Close()
	if s.cost, err = xotFetch(conn); err != nil {
		return err
	}
	fresh := time.Since(start)
	if s.conn == nil {
		if s.conn, err = tls.Dial("tcp", peer.Loopback(s.port), config); err != nil {
			return err
		}
	}
	start = time.Now()
	if _, err = xotFetch(s.conn); err != nil {
		return err
	}
	if open := time.Since(start); count {
		s.drawn[0] = append(s.drawn[0], fresh)
		s.drawn[1] = append(s.drawn[1], open)
	}
	return nil
}

// xotFetch gets the zone and looks at no more than it needs to know the end.
func xotFetch(conn *tls.Conn) (xotCost, error) {
	state := conn.ConnectionState()
	c := xotCost{session: fmt.Sprintf("%s %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))}
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if err := (&dns.Conn{Conn: conn}).WriteMsg(new(dns.Msg).SetAxfr(xotZone)); err != nil {
		return c, err
	}
	r := bufio.NewReaderSize(conn, 128<<10)
	frame := make([]byte, 2+dns.MaxMsgSize)
	for records := 0; records < xotRecords+1; c.messages++ {
		if _, err := io.ReadFull(r, frame[:2]); err != nil {
			return c, err
		}
		m := frame[2 : 2+binary.BigEndian.Uint16(frame)]
		if _, err := io.ReadFull(r, m); err != nil {
			return c, err
		}
		if m[3]&15 != dns.RcodeSuccess {
			return c, fmt.Errorf("%s after %d records", dns.RcodeToString[int(m[3]&15)], records)
		}
		records += int(binary.BigEndian.Uint16(m[6:]))
		c.bytes += 2 + len(m)
	}
	return c, nil
}

// printXoT prints the table and reports the ratios to the guard.
func printXoT(b *testing.B, servers []*tlsServer) {
	b.Helper()
	var out strings.Builder
	fmt.Fprintf(&out, "\n| primary | new connection | of the guard's | open connection | of the guard's | octets a record | messages | session |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	guard := servers[0]
	for _, s := range servers {
		fmt.Fprintf(&out, "| %s |", s.name)
		for kind, all := range s.drawn {
			ratios := make([]float64, len(all))
			for i := range all {
				ratios[i] = float64(all[i]) / float64(guard.drawn[kind][i])
			}
			fmt.Fprintf(&out, " %.1f ms | %.2f |", float64(median(all))/1e6, median(ratios))
			b.ReportMetric(median(ratios), fmt.Sprintf("%s-%s/guard", strings.Fields(s.name)[0], []string{"new", "open"}[kind]))
		}
		fmt.Fprintf(&out, " %.1f | %d | %s |\n", float64(s.cost.bytes)/(xotRecords+1), s.cost.messages, s.cost.session)
	}
	fmt.Print(out.String())
}

func median[T int64 | float64 | time.Duration](all []T) T {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

// startTLSServers starts the primaries, the guard first. Each serves the same file.
func startTLSServers(b *testing.B, dir string) []*tlsServer {
	b.Helper()
	db := filepath.Join(dir, "db.example.org")
	core := func(name, how string) *tlsServer {
		plain, port := peer.Port(b), peer.Port(b)
		peer.StartCoreDNS(b, coreDNS, plain, xotZone, fmt.Sprintf(`example.org:%[1]d {
    bind 127.0.0.1
    file %[2]s
}
tls://example.org:%[3]d {
    bind 127.0.0.1
    tls %[4]s/ns1.example.org.pem %[4]s/ns1.example.org.key
    %[5]s
    file %[2]s
}
`, plain, db, port, dir, how))
		return &tlsServer{name: name, port: port}
	}
	return []*tlsServer{
		core("xfrguard", "xfrguard {\n        allow net 127.0.0.1 unsigned tls\n        rate 1000000/1s burst 1000000\n        audit file "+dir+"/audit.log\n    }"),
		core("CoreDNS transfer", "transfer {\n        to *\n    }"),
		namedTLS(b, dir, db),
		nsdTLS(b, dir, db),
	}
}

func namedTLS(b *testing.B, dir, db string) *tlsServer {
	b.Helper()
	port, own := peer.Port(b), b.TempDir()
	path := filepath.Join(own, "named.conf")
	peer.WriteFile(b, path, fmt.Sprintf(`tls server { cert-file "%[1]s/ns1.example.org.pem"; key-file "%[1]s/ns1.example.org.key"; protocols { TLSv1.3; }; };
options {
	directory "%[2]s"; pid-file "%[2]s/named.pid"; session-keyfile "%[2]s/session.key"; lock-file none;
	listen-on port %[3]d tls server { 127.0.0.1; };
	listen-on-v6 { none; };
	recursion no; dnssec-validation no; empty-zones-enable no; notify no;
	allow-transfer { 127.0.0.1; };
};
controls { };
zone "example.org" { type primary; file %[4]q; };
`, dir, own, port, db))
	p := peer.Run(b, "named", own, peer.Binary(b, "named"), "-g", "-n", "2", "-c", path)
	awaitPort(b, p, port)
	return &tlsServer{name: "named", port: port}
}

func nsdTLS(b *testing.B, dir, db string) *tlsServer {
	b.Helper()
	port := peer.Port(b)
	s := peer.StartSnippet(b, "nsd", peer.Port(b), "127.0.0.1", peer.Zone{Origin: xotZone}, fmt.Sprintf(`server:
    ip-address: 127.0.0.1@%[1]d
    tls-port: %[1]d
    tls-service-key: "%[2]s/ns1.example.org.key"
    tls-service-pem: "%[2]s/ns1.example.org.pem"
zone:
    name: "example.org"
    zonefile: %[3]q
`, port, dir, db))
	s.AwaitSerial(b, xotZone, 1, 30*time.Second)
	awaitPort(b, s.Process, port)
	return &tlsServer{name: "nsd", port: port}
}

func awaitPort(t testing.TB, p *peer.Process, port int) {
	t.Helper()
	p.Await(t, 30*time.Second, "listen", func(ctx context.Context) error {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", peer.Loopback(port))
		if err == nil {
			_ = c.Close()
		}
		return err
	})
}
