// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/zonegen"
)

// harm is a finding, and what happens to a secondary where nobody minds it.
type harm struct {
	code string
	lack string // in the server block or the zone, what the finding is about
	mend string // what it says to write instead
	peer string // the program of the secondary, that of CoreDNS for its plugin
	key  string // the secondary's name of the key, "": as everywhere
	zone string // that it pulls; "": example.org.

	later bool     // it has the zone first, and does not follow
	gets  bool     // it has the zone, and should not
	shows string   // an expression for what the secondary says then
	asked *dns.Msg // or a query that it answers otherwise than CoreDNS
}

func query(name string, rrtype uint16) *dns.Msg {
	m := new(dns.Msg).SetQuestion(name, rrtype)
	return m.SetEdns0(1232, true)
}

// A secret that BIND reads as the one without the blank, and rules for a secondary whose
// address was stolen.
var (
	secretBlank = sha256Key.Secret[:24] + " " + sha256Key.Secret[24:]
	denyBehind  = "allow as lan net 127.0.0.0/24 key " + sha256Key.Name + "\n\t\tdeny as stolen net 127.0.0.66"
	denyInFront = "deny as stolen net 127.0.0.66\n\t\tallow as lan net 127.0.0.0/24 key " + sha256Key.Name
)

var harms = []harm{
	{
		code: "acl-blocks-soa", peer: "knotd", later: true, shows: `\[example\.org\.\] refresh, failed`,
		lack: "acl {\n\t\tallow net 10.0.0.0/8\n\t\tblock\n\t}", mend: "acl {\n\t\tallow type SOA net 127.0.0.1\n\t\tallow net 10.0.0.0/8\n\t\tblock\n\t}",
	},
	{
		code: "acl-blocks-soa", peer: guardName, later: true, shows: `(?s)(no SOA serial increase seen.*){2}`,
		lack: "acl {\n\t\tblock type SOA\n\t}", mend: "acl {\n\t\tblock type A\n\t}",
	},
	{code: "bandwidth-too-low", peer: guardName, shows: "(?i)failed to transfer", lack: "bandwidth 4KiB", mend: "bandwidth 1MiB"},
	{code: "apex-no-ns", peer: "named", shows: "has no NS records", lack: "; NS", mend: "@ NS ns1"},
	{code: "zone-no-backend", peer: "nsd", zone: "sub.example.org.", shows: `zone sub\.example\.org received error`, lack: "DB example.org", mend: "DB example.org sub.example.org"},
	{code: "key-case", peer: "pdns_server", key: "NS-256.Key.", shows: "SOA of 'example.org' returned Rcode Server Not Authoritative", lack: "secret NS-256.Key.", mend: "secret ns-256.key."},
	{code: "secret-cut", peer: "named", shows: "refresh: failure trying primary", lack: secretBlank, mend: sha256Key.Secret},
	{code: "deny-no-effect", peer: "knotd", gets: true, shows: `\[example\.org\.\] refresh, failed`, lack: denyBehind, mend: denyInFront},
	{code: "answers-not-transferred", peer: "named", asked: query("seven.example.org.", dns.TypeA), lack: "hosts {\n\t\t192.0.2.7 seven.example.org\n\t\tfallthrough\n\t}"},
	{
		code: "answers-not-transferred", peer: "knotd", asked: query("x.gen.example.org.", dns.TypeA),
		lack: "template IN A gen.example.org {\n\t\tanswer \"{{ .Name }} 60 IN A 192.0.2.9\"\n\t}",
	},
	{code: "dnssec-on-the-fly", peer: "nsd", asked: query("ns1.example.org.", dns.TypeA), lack: "dnssec {\n\t\tkey file KEY\n\t}"},
}

// What each of these findings is about keeps a secondary from the zone, or from a part of
// it; with what the finding says to write it has all.
func TestFindingsHarm(t *testing.T) {
	t.Parallel()
	var codes, told []string
	for _, row := range documentTables(t, "What findings save from")[0] {
		told = append(told, spans(row[0])...)
	}
	for _, h := range harms {
		codes = append(codes, h.code)
	}
	if !slices.Equal(codes, told) {
		t.Errorf("docs/COMPATIBILITY.md tells of %v, not of %v", told, codes)
	}
	for i, h := range harms {
		t.Run(fmt.Sprintf("%d %s", i, h.code), func(t *testing.T) {
			t.Parallel()
			for _, mended := range []bool{false, true} {
				(&harmed{harm: h, mended: mended}).try(t)
			}
		})
	}
}

// harmed is one try: a CoreDNS, and a secondary that pulls from it.
type harmed struct {
	harm
	mended         bool
	dir            string
	port, its      int // of CoreDNS and the secondary
	core, follower *peer.Process
}

func (h *harmed) addr() string { return peer.Loopback(h.its) }

// pulls is the zone that the secondary pulls.
func (h *harmed) pulls() string { return cmp.Or(h.zone, "example.org.") }

func (h *harmed) try(t *testing.T) {
	t.Helper()
	h.dir, h.port, h.its = t.TempDir(), peer.Port(t), peer.Port(t)
	h.start(t)
	h.follow(t)
	serial := uint32(7)
	if h.later {
		h.has(t, serial)
		serial++
		peer.WriteFile(t, filepath.Join(h.dir, "db"), h.zoneFile(serial))
	}
	if h.shows != "" && h.mended == h.gets {
		h.says(t, serial)
	} else {
		h.has(t, serial)
	}
	if h.asked != nil {
		ours, theirs := answers(t, peer.Loopback(h.port), h.asked), answers(t, h.addr(), h.asked)
		if (ours == theirs) != h.mended {
			t.Errorf("mended: %t: CoreDNS answers %q, the secondary %q", h.mended, ours, theirs)
		}
	}
	events, err := peer.Events(h.core.Stdout.Lines())
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(events, func(e peer.Event) bool { return e.Action == "policy-finding" && e.Reason == h.code }) == h.mended {
		t.Errorf("mended: %t, and the finding is on record: %t", h.mended, h.mended)
	}
	h.follower.Stop()
	h.core.Stop()
}

// has waits until the secondary has the zone with that serial.
func (h *harmed) has(t *testing.T, serial uint32) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s to have serial %d, mended: %t", h.peer, serial, h.mended), func() error {
		got, err := peer.Serial(t.Context(), h.addr(), h.pulls())
		if err == nil && got != serial {
			err = fmt.Errorf("it has %d", got)
		}
		return err
	})
}

// says waits until the secondary says what keeps it from the zone, or from that serial.
func (h *harmed) says(t *testing.T, serial uint32) {
	t.Helper()
	said := regexp.MustCompile(h.shows)
	eventually(t, h.peer+" to say what "+h.code+" does", func() error {
		if !said.MatchString(strings.Join(append(h.follower.Stdout.Lines(), h.follower.Stderr.Lines()...), "\n")) {
			return fmt.Errorf("it does not say %s", h.shows)
		}
		return nil
	})
	if got, err := peer.Serial(t.Context(), h.addr(), h.pulls()); err == nil && got == serial {
		t.Errorf("%s has serial %d all the same", h.peer, serial)
	}
}

// text is what the finding is about, or what it says to write, where it is of that code.
func (h *harmed) text(code, orElse string) string {
	switch {
	case h.code != code:
		return orElse
	case h.mended:
		return h.mend
	}
	return h.lack
}

func (h *harmed) zoneFile(serial uint32) string {
	text := strings.Replace(zonegen.Bulk("example.org.", serial, 1000), "$ORIGIN example.org.\n", "", 1)
	return strings.Replace(text, "@ IN NS ns1\n@ IN NS ns2.example.net.\n", h.text("apex-no-ns", "@ NS ns1")+"\n", 1)
}

// start runs CoreDNS.
func (h *harmed) start(t *testing.T) {
	t.Helper()
	db := filepath.Join(h.dir, "db")
	peer.WriteFile(t, db, h.zoneFile(7))
	secret := h.text("key-case", "secret "+sha256Key.Name)
	rule := "allow as ns2 net 127.0.0.1 key " + strings.TrimPrefix(secret, "secret ")
	if h.peer == guardName {
		rule = "allow as ns2 net 127.0.0.1 unsigned"
	}
	more := ""
	switch h.code {
	case "bandwidth-too-low", "apex-no-ns", "zone-no-backend", "key-case": // elsewhere
	case "deny-no-effect":
		rule = h.text(h.code, "")
	case "secret-cut":
		keys := filepath.Join(h.dir, "keys")
		peer.WriteFile(t, keys, fmt.Sprintf("key %q {\n\talgorithm hmac-sha256;\n\tsecret %q;\n};\n", sha256Key.Name, h.text(h.code, "")))
		secret = "secrets " + keys
	default:
		more = h.text(h.code, "")
	}
	if strings.HasPrefix(secret, "secret ") {
		secret += " " + sha256Key.Secret
	}
	if strings.Contains(more, "KEY") {
		out, err := exec.CommandContext(t.Context(), peer.Binary(t, "dnssec-keygen"), "-q", "-K", h.dir, "-a", "ECDSAP256SHA256", "example.org").Output()
		if err != nil {
			t.Fatal(err)
		}
		more = strings.Replace(more, "KEY", filepath.Join(h.dir, strings.TrimSpace(string(out))), 1)
	}
	path := filepath.Join(h.dir, "Corefile")
	peer.WriteFile(t, path, fmt.Sprintf(`example.org:%d {
	bind 127.0.0.1
	errors
	tsig {
		%s
	}
	%s
	xfrguard example.org %s {
		%s
		notify 127.0.0.1:%d
		%s
%s	}
	file %s {
		reload 20ms
	}
}
`, h.port, secret, more, h.zone, rule, h.its, h.text("bandwidth-too-low", ""), unlimited,
		strings.Replace(h.text("zone-no-backend", "DB"), "DB", db, 1)))
	wantAllOfSchema(t, func() *peer.Process { return h.core })
	h.core = peer.Run(t, "coredns", h.dir, coreDNS, "-conf", path)
	h.core.Await(t, 20*time.Second, "answer", func(ctx context.Context) error { // the SOA may be refused
		_, _, err := (&dns.Client{Timeout: time.Second}).ExchangeContext(ctx, query("example.org.", dns.TypeSOA), peer.Loopback(h.port))
		return err
	})
}

// follow starts the secondary.
func (h *harmed) follow(t *testing.T) {
	t.Helper()
	if h.peer == guardName {
		dir := t.TempDir()
		path := filepath.Join(dir, "Corefile")
		peer.WriteFile(t, path, fmt.Sprintf("%s:%d {\n\tbind 127.0.0.1\n\terrors\n\tsecondary {\n\t\ttransfer from %s\n\t}\n}\n", h.pulls(), h.its, peer.Loopback(h.port)))
		h.follower = peer.Run(t, "secondary", dir, coreDNS, "-conf", path)
		return
	}
	key := sha256Key
	if h.key != "" && !h.mended {
		key.Name = h.key
	}
	source := ""
	if h.gets {
		source = "127.0.0.66"
	}
	for _, software := range peer.Secondaries() {
		if software.Name == h.peer {
			h.follower = peer.StartSecondary(t, software, h.its, h.port, []peer.Zone{{Origin: h.pulls(), Key: key, Source: source}}).Process
		}
	}
}

// answers are the types of the records in an answer, and its rcode.
func answers(t *testing.T, addr string, m *dns.Msg) string {
	t.Helper()
	r, _, err := (&dns.Client{Timeout: 5 * time.Second}).ExchangeContext(t.Context(), m, addr)
	if err != nil {
		t.Fatal(err)
	}
	text := dns.RcodeToString[r.Rcode]
	for _, rr := range r.Answer {
		text += " " + dns.Type(rr.Header().Rrtype).String()
	}
	return text
}
