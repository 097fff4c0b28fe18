// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/evidence/catest"
	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/zonegen"
)

// followInterval is that of the reload plugin: the shortest that it takes.
const followInterval = 2 * time.Second

const followKey = "followed.key."

// followSecret is the nth secret of the key.
func followSecret(n int) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "the secret number %032d", n))
}

func followKeys(n int) string {
	return fmt.Sprintf("key %q {\n\talgorithm hmac-sha256;\n\tsecret %q;\n};\n", followKey, followSecret(n))
}

// replace puts new content into files of a directory, in one of the ways of operators.
type replace func(t testing.TB, dir string, files map[string]string)

func byRename(t testing.TB, dir string, files map[string]string) {
	for name, content := range files {
		beside := filepath.Join(dir, "."+name+".new")
		must(t, os.WriteFile(beside, []byte(content), 0o600))
		must(t, os.Rename(beside, filepath.Join(dir, name)))
	}
}

func inPlace(t testing.TB, dir string, files map[string]string) {
	for name, content := range files {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
}

// asKubelet is the way of a mounted secret: NAME leads to ..data/NAME, ..data to a directory
// with a time in its name, and it is that link alone that changes. What is in no new
// directory is copied from the old one.
func asKubelet(t testing.TB, dir string, files map[string]string) {
	next := fmt.Sprintf("..%s", time.Now().Format("2006_01_02_15_04_05.000000000"))
	must(t, os.Mkdir(filepath.Join(dir, next), 0o700))
	old, _ := os.ReadDir(filepath.Join(dir, "..data"))
	for _, e := range old {
		content, err := os.ReadFile(filepath.Join(dir, "..data", e.Name()))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, next, e.Name()), content, 0o600))
	}
	for name, content := range files {
		must(t, os.WriteFile(filepath.Join(dir, next, name), []byte(content), 0o600))
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			must(t, os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)))
		}
	}
	must(t, os.Symlink(next, filepath.Join(dir, "..data_tmp")))
	must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
}

// followed is a CoreDNS whose keys and certificates change.
type followed struct {
	*audited
	replace replace
	files   string // their directory
	tls     int    // port
	debug   int    // port of pprof
}

// startFollowed starts CoreDNS with files by name; a line of options goes into each xfrguard.
func startFollowed(t testing.TB, how replace, options string, files map[string]string) *followed {
	t.Helper()
	if !guarded {
		t.Skip("stock CoreDNS")
	}
	dir := t.TempDir()
	f := &followed{replace: how, files: filepath.Join(dir, "files"), tls: peer.Port(t), debug: peer.Port(t)}
	f.audited = &audited{auditSetup: auditSetup{dir: dir, log: filepath.Join(dir, "audit.log"), port: peer.Port(t), metrics: peer.Port(t)}}
	must(t, os.Mkdir(f.files, 0o700))
	f.replace(t, f.files, files)
	peer.WriteFile(t, filepath.Join(dir, "db"), zonegen.Bulk(auditZone, 1, auditRecords))
	common := "\t\taudit file " + f.log + "\n\t\trate 1000000/1s burst 1000000\n\t\t" + options + "\n"
	corefile := fmt.Sprintf(`%s:%d {
	bind 127.0.0.1
	errors
	prometheus %s
	pprof %s
	reload %s 0s
	tsig {
		secrets %s/keys
	}
	xfrguard {
		allow as keyed net 127.0.0.0/8 key %s
		allow as steady net 127.45.0.1 unsigned
%s	}
	file %s
}
`, auditZone, f.port, peer.Loopback(f.metrics), peer.Loopback(f.debug), followInterval, f.files, followKey, common, filepath.Join(dir, "db"))
	if files["cert"] != "" {
		corefile += strings.NewReplacer("DIR", f.files, "PORT", fmt.Sprint(f.tls), "ZONE", auditZone, "DB", filepath.Join(dir, "db"), "COMMON", common).Replace(`tls://ZONE:PORT {
	bind 127.0.0.1
	tls DIR/cert DIR/key DIR/ca {
		client_auth request
	}
	xfrguard {
		allow as named net 127.0.0.0/8 cert ns2.example.net
		allow as steady net 127.45.0.1 unsigned
COMMON	}
	file DB
}
`)
	}
	peer.WriteFile(t, f.corefile(), corefile)
	wantAllOfSchema(t, func() *peer.Process { return f.Process }, f.log+"*")
	f.Process = peer.Run(t, "coredns", dir, coreDNS, "-conf", f.corefile())
	f.ready(t)
	return f
}

// begin asks for the zone over a connection, signed with the nth secret, and returns what
// is wrong with the first message of the answer. Where it is not
// whole, it asks for what has changed, which is the SOA alone.
func begin(c *dns.Conn, whole bool, secret int) error {
	m := new(dns.Msg).SetAxfr(auditZone)
	if !whole {
		m.SetIxfr(auditZone, 1, ".", ".")
	}
	if secret >= 0 {
		c.TsigSecret = map[string]string{followKey: followSecret(secret)}
		m.SetTsig(followKey, dns.HmacSHA256, 300, time.Now().Unix())
	}
	err := errors.Join(c.SetDeadline(time.Now().Add(time.Minute)), c.WriteMsg(m))
	if err == nil {
		m, err = c.ReadMsg()
	}
	if err == nil && m.Rcode != dns.RcodeSuccess {
		err = errors.New(dns.RcodeToString[m.Rcode])
	}
	return err
}

// key reports what is wrong when the nth secret does not open the zone.
func (f *followed) key(n int) error {
	conn, err := dial(f.addr(), "127.0.0.1", time.Minute)
	if err != nil {
		return err
	}
	defer conn.Close()
	return begin(&dns.Conn{Conn: conn}, false, n)
}

// secure connects over TLS with the client's certificate, if any, to a server whose own
// must be of the CA.
func (f *followed) secure(ca *catest.CA, id *catest.Identity, from string) (*dns.Conn, error) {
	roots := x509.NewCertPool()
	roots.AddCert(ca.Cert)
	config := &tls.Config{RootCAs: roots, ServerName: "ns1.example.org", NextProtos: []string{"dot"}, MinVersion: tls.VersionTLS13}
	if id != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &id.Certificate, nil }
	}
	conn, err := dial(peer.Loopback(f.tls), from, time.Minute)
	if err != nil {
		return nil, err
	}
	secured := tls.Client(conn, config)
	if err := secured.Handshake(); err != nil {
		conn.Close()
		return nil, err
	}
	return &dns.Conn{Conn: secured}, nil
}

// name reports what is wrong when the client's certificate does not open the zone.
func (f *followed) name(ca *catest.CA, id *catest.Identity) error {
	c, err := f.secure(ca, id, "127.0.0.1")
	if err != nil {
		return err
	}
	defer c.Close()
	return begin(c, false, -1)
}

// only reports what is wrong unless the secret now is the only one that opens the zone.
func (f *followed) only(now int, old ...int) error {
	for _, n := range old {
		if f.key(n) == nil {
			return fmt.Errorf("the old secret %d works", n)
		}
	}
	if err := f.key(now); err != nil {
		return fmt.Errorf("the new secret: %w", err)
	}
	return nil
}

// said are the events of files and of loads, with their reasons.
func (f *followed) said(t testing.TB) (all []string) {
	t.Helper()
	for _, l := range readAudit(t, f.log) {
		switch l.Action {
		case "policy-files-changed", "policy-reload-failed":
			all = append(all, l.Action+" "+l.Reason)
		case "policy-reload":
			all = append(all, l.Action)
		}
	}
	return all
}

func (f *followed) says(t testing.TB, what string, times int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d events %s", times, what), func() error {
		n := 0
		all := f.said(t)
		for _, s := range all {
			if s == what {
				n++
			}
		}
		if n < times {
			return fmt.Errorf("%q", all)
		}
		return nil
	})
}

func (f *followed) pending(t testing.TB, want float64) {
	t.Helper()
	eventually(t, fmt.Sprintf("files_pending %v", want), func() error {
		all, err := f.samples(t) // no connection at a reload
		if got := all["coredns_xfrguard_files_pending"]; err != nil || got != want {
			return fmt.Errorf("%v %w", got, err)
		}
		return nil
	})
}

// busyness measures by how much this machine is late, for bounds that hold on one of one's
// own.
func busyness() (late func() time.Duration) {
	quit, sum := make(chan struct{}), make(chan time.Duration)
	go func() {
		var total time.Duration
		for {
			begin := time.Now()
			select {
			case <-quit:
				sum <- total
				return
			case <-time.After(10 * time.Millisecond):
				total += time.Since(begin) - 10*time.Millisecond
			}
		}
	}()
	return func() time.Duration {
		close(quit)
		return <-sum
	}
}

// waysToReplace are those of operators.
var waysToReplace = map[string]replace{"rename": byRename, "in place": inPlace, "Kubernetes": asKubelet}

// within twice reload's interval ok must be reached, on a machine that is not late.
func within(t *testing.T, what string, change func(), ok func() error) {
	t.Helper()
	late, begin := busyness(), time.Now()
	change()
	eventually(t, what, ok)
	took, slack := time.Since(begin), late()
	t.Logf("%s after %v, the machine was late by %v", what, took.Round(time.Millisecond), slack.Round(time.Millisecond))
	if took > 2*followInterval+2*slack {
		t.Errorf("%s: it took more than %v", what, 2*followInterval)
	}
}

// TestFollowedKeys: a new key is in force within twice reload's interval, however its file
// is replaced: the old one stops working, a transfer under way that is still allowed goes on
// and one with the old key ends. A broken file leaves the key in force as it is.
func TestFollowedKeys(t *testing.T) {
	t.Parallel()
	for name, how := range waysToReplace {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFollowed(t, how, "bandwidth 10KiB", map[string]string{"keys": followKeys(0)})
			must(t, f.key(0))
			f.pending(t, 0)
			steady := beginSlow(t, f.addr())
			stolen, err := dial(f.addr(), "127.0.0.1", time.Minute)
			must(t, err)
			defer stolen.Close()
			must(t, begin(&dns.Conn{Conn: stolen}, true, 0))

			within(t, "the new key is the only one",
				func() { f.replace(t, f.files, map[string]string{"keys": followKeys(1)}) },
				func() error { return f.only(1, 0) })
			f.says(t, "policy-files-changed loaded", 1)
			f.ended(t, "policy-revoked", followKey)
			if _, err := steady.ReadMsg(); err != nil {
				t.Errorf("the transfer that is still allowed: %v", err)
			}
			steady.Close()
			f.pending(t, 0)

			f.replace(t, f.files, map[string]string{"keys": "key half"})
			f.says(t, "policy-files-changed failed", 1)
			f.says(t, "policy-reload-failed parse", 1)
			must(t, f.only(1, 0))
			f.pending(t, 1)
			f.replace(t, f.files, map[string]string{"keys": followKeys(2)})
			f.says(t, "policy-files-changed loaded", 2)
			must(t, f.only(2, 1, 0))
			f.pending(t, 0)
		})
	}
}

// TestFollowedCertificates: the same of certificate, key and CA of a listener.
func TestFollowedCertificates(t *testing.T) {
	t.Parallel()
	for name, how := range waysToReplace {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cas := []*catest.CA{catest.New(t), catest.New(t)}
			var clients []*catest.Identity
			for _, ca := range cas {
				clients = append(clients, ca.Client(t, "ns2.example.net"))
			}
			files := func(n int) map[string]string {
				cert, key := cas[n].Issue(t, "ns1.example.org")
				return map[string]string{"cert": cert, "key": key, "ca": cas[n].Pem}
			}
			first := files(0)
			first["keys"] = followKeys(0)
			f := startFollowed(t, how, "bandwidth 10KiB", first)
			must(t, f.name(cas[0], clients[0]))
			steady, err := f.secure(cas[0], nil, "127.45.0.1")
			must(t, err)
			defer steady.Close()
			must(t, begin(steady, true, -1))
			stolen, err := f.secure(cas[0], clients[0], "127.0.0.1")
			must(t, err)
			defer stolen.Close()
			must(t, begin(stolen, true, -1))

			within(t, "the new CA is the only one",
				func() { f.replace(t, f.files, files(1)) },
				func() error {
					if f.name(cas[1], clients[0]) == nil || f.name(cas[0], clients[0]) == nil {
						return errors.New("a client of the old CA gets the zone")
					}
					return f.name(cas[1], clients[1])
				})
			f.says(t, "policy-files-changed loaded", 1)
			f.ended(t, "policy-revoked", "CN=ns2.example.net")
			if _, err := steady.ReadMsg(); err != nil {
				t.Errorf("the transfer that is still allowed: %v", err)
			}
			steady.Close()
			f.pending(t, 0)

			wrong, _ := cas[1].Issue(t, "ns1.example.org") // of another key
			f.replace(t, f.files, map[string]string{"cert": wrong})
			f.says(t, "policy-files-changed failed", 1)
			f.says(t, "policy-reload-failed parse", 1)
			must(t, f.name(cas[1], clients[1]))
			f.pending(t, 1)
		})
	}
}

// ended waits for the end of a transfer in whose event a word stands.
func (f *followed) ended(t *testing.T, reason, of string) {
	t.Helper()
	eventually(t, "the end "+reason, func() error {
		for _, l := range readAudit(t, f.log) {
			if l.Ended() && l.Reason == reason && strings.Contains(l.Line, of) {
				return nil
			}
		}
		return errors.New("not yet")
	})
}
