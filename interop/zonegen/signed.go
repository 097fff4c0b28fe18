// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zonegen

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Signer signs zones with BIND's tools, because what this project's own DNS
// library signs it might also misread.
type Signer struct {
	Dir    string // keys and work files; must exist
	Origin string
	NSEC3  bool // hashed denial of existence (RFC 5155) instead of NSEC

	// MixedCase gives one owner upper-case letters, which then stand in the next name
	// of an NSEC record, where their case is part of what is signed (RFC 6840 §5.1).
	MixedCase bool

	keys []string
}

// Sign returns the signed text of a small zone with the given serial. The first
// call makes a KSK (ECDSA P-256, algorithm 13) and a ZSK; later ones use the same.
// It fails when dnssec-keygen or dnssec-signzone does.
func (s *Signer) Sign(ctx context.Context, serial uint32) (string, error) {
	if s.keys == nil {
		for _, flags := range [][]string{{"-f", "KSK"}, nil} {
			out, err := s.run(ctx, "dnssec-keygen", append(flags, "-q", "-K", s.Dir, "-a", "ECDSAP256SHA256", s.Origin)...)
			if err != nil {
				return "", err
			}
			s.keys = append(s.keys, strings.TrimSpace(out))
		}
	}
	plain := filepath.Join(s.Dir, "unsigned.db")
	signed := filepath.Join(s.Dir, "signed.db")
	text := unsigned(s.Origin, serial, s.MixedCase)
	for _, key := range s.keys {
		public, err := os.ReadFile(filepath.Join(s.Dir, key+".key"))
		if err != nil {
			return "", fmt.Errorf("read the public key: %w", err)
		}
		text += string(public)
	}
	if err := os.WriteFile(plain, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("write the unsigned zone: %w", err)
	}
	args := []string{"-q", "-P", "-N", "keep", "-O", "full", "-K", s.Dir, "-o", s.Origin, "-f", signed}
	if s.NSEC3 {
		args = append(args, "-3", "-", "-H", "0") // RFC 9276 §3.1
	}
	if _, err := s.run(ctx, "dnssec-signzone", append(args, plain)...); err != nil {
		return "", err
	}
	out, err := os.ReadFile(signed)
	if err != nil {
		return "", fmt.Errorf("read the signed zone: %w", err)
	}
	return string(out), nil
}

func (s *Signer) run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir, &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s for %s: %w: %s%s", name, s.Origin, err, out.String(), errs.String())
	}
	return out.String(), nil
}

// unsigned is a zone in which a signer meets every case: delegations signed and
// not, glue, wildcards, empty non-terminals, mixed case in signed rdata.
func unsigned(origin string, serial uint32, mixedCase bool) string {
	w := &zone{}
	w.head(origin, serial)
	w.rr("serial-%d IN TXT \"comes and goes\"", serial)
	for i := range 60 {
		w.rr("host%d IN A %s", i, v4(i))
		w.rr("host%d IN AAAA 2001:db8::%x", i, i)
	}
	w.rr("*.wild IN A 192.0.2.1")
	w.rr("a.b.c.empty IN TXT \"below empty non-terminals\"")
	w.rr("secure IN NS ns.secure")
	w.rr("secure IN DS 12345 13 2 %s", strings.Repeat("cd", 32))
	w.rr("ns.secure IN A 192.0.2.9")
	w.rr("insecure IN NS ns.insecure")
	w.rr("ns.insecure IN A 192.0.2.10")
	if mixedCase {
		w.rr("MiXeD IN MX 10 host1")
	}
	w.rr("mail IN MX 10 HOST1")
	w.rr("_sip._tcp IN SRV 1 1 5060 HOST2")
	w.rr("dname IN DNAME target.example.net.")
	w.rr("svc IN HTTPS 1 . alpn=\"h2\"")
	w.rr(`unknown IN TYPE65280 \# 4 0a000001`)
	w.rr(`esc\.aped IN TXT "%s"`, strings.Repeat("s", 255))
	return w.String()
}
