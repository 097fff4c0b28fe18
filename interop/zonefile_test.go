// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/rrset"
	"github.com/xfrguard/xfrguard/interop/zonegen"
)

// What the other tests take for the content of a zone file is what BIND reads from
// it too: CoreDNS and the tests share one parser, which could be wrong twice.
func TestZoneFileMeansTheSame(t *testing.T) {
	t.Parallel()
	for _, s := range []*source{
		bulk("bulk.test.", sha256Key),
		awkward("awkward.test.", sha256Key),
		signed(t, "signed.test.", sha256Key, true),
	} {
		s.path = filepath.Join(t.TempDir(), s.Origin+"db")
		want := s.write(t, 1)
		cmd := exec.CommandContext(t.Context(), peer.Binary(t, "named-compilezone"),
			"-q", "-i", "none", "-k", "ignore", "-n", "ignore", "-s", "full", "-o", "-", s.Origin, s.path)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil {
			t.Errorf("named-compilezone %s: %v: %.2000s", s.Origin, err, errs.String())
			continue
		}
		got, err := rrset.Parse(&out, s.Origin, "as BIND reads "+s.Origin)
		if err != nil {
			t.Error(err)
			continue
		}
		compare(t, s.Origin+" as BIND reads it", want, got)
	}
}

// No zone plugin of CoreDNS takes a zone with NSEC3, so the guard never has one to
// hand out. The day this test fails, such a zone belongs into the others.
func TestNSEC3ZoneStaysOut(t *testing.T) {
	t.Parallel()
	signer := &zonegen.Signer{Dir: t.TempDir(), Origin: "nsec3.test.", NSEC3: true}
	text, err := signer.Sign(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	s := &source{Zone: peer.Zone{Origin: "nsec3.test.", Key: sha256Key}, path: filepath.Join(t.TempDir(), "nsec3.db")}
	peer.WriteFile(t, s.path, text)
	dir := t.TempDir()
	peer.WriteFile(t, filepath.Join(dir, "Corefile"), corefile(peer.Port(t), nil, []*source{s}))
	var p *peer.Process
	wantAllOfSchema(t, func() *peer.Process { return p })
	p = peer.Run(t, "coredns", dir, coreDNS, "-conf", filepath.Join(dir, "Corefile"))
	for range 400 {
		if p.Ended() {
			break
		}
		time.Sleep(25 * time.Millisecond)
	}
	if out := p.Stdout.Tail(20) + p.Stderr.Tail(20); !p.Ended() || !strings.Contains(out, "NSEC3 zone is not supported") {
		t.Errorf("CoreDNS took a zone with NSEC3 (ended: %v):\n%s", p.Ended(), out)
	}
}
