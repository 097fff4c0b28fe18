// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package corefile

import (
	"errors"
	"fmt"
	"path/filepath"
)

// Verify says what is checked of the zones before they leave.
type Verify struct {
	Zonemd VerifyMode // the zone's digest
	Dnssec VerifyMode // its signatures
	Full   bool       // all signatures of each version, also of what did not change
	Anchor string     // file with DS or DNSKEY records; "" for the zone's own word
}

// Refuses reports whether a version that fails is held back.
func (v *Verify) Refuses() bool { return v.Zonemd == VerifyRefuse || v.Dnssec == VerifyRefuse }

// VerifyMode says what becomes of a version that fails.
type VerifyMode string

// The modes. What is not there is a failure for refuse alone.
const (
	VerifyOff    VerifyMode = "off"
	VerifyWarn   VerifyMode = "warn"
	VerifyRefuse VerifyMode = "refuse"
)

// verify reads `zonemd off|warn|refuse` or `dnssec off|warn|refuse [full] [anchor FILE]`.
func (p *parser) verify(args []string) error {
	const form = "zonemd off|warn|refuse, or dnssec off|warn|refuse [full] [anchor FILE]"
	if len(args) == 0 {
		return errors.New("expected " + form)
	}
	kind := args[0]
	switch {
	case kind != "zonemd" && kind != "dnssec":
		return fmt.Errorf("unknown kind %s%s, expected %s", quote(kind), didYouMean(kind, []string{"zonemd", "dnssec"}), form)
	case p.verified[kind] != Position{}:
		return fmt.Errorf("%s is given twice, first at %s", quote(kind), p.verified[kind])
	case len(args) == 1:
		return fmt.Errorf("'%s' needs off, warn or refuse", kind)
	}
	p.verified[kind] = p.here()
	mode, err := oneOf(args[1:2], VerifyOff, VerifyWarn, VerifyRefuse)
	if err != nil {
		return err
	}
	v, rest := &p.cfg.Verify, args[2:]
	if kind == "zonemd" {
		v.Zonemd = mode
		if len(rest) > 0 {
			return fmt.Errorf("unexpected %s after 'zonemd %s'", quote(rest[0]), mode)
		}
		return nil
	}
	v.Dnssec = mode
	for ; len(rest) > 0; rest = rest[1:] {
		switch word := rest[0]; {
		case word == "full" && v.Full, word == "anchor" && v.Anchor != "":
			return fmt.Errorf("'%s' is given twice", word)
		case word == "full":
			v.Full = true
		case word == "anchor" && (len(rest) < 2 || rest[1] == ""):
			return errors.New("'anchor' needs one FILE with DS or DNSKEY records")
		case word == "anchor":
			v.Anchor, rest = filepath.Clean(rest[1]), rest[1:]
		default:
			return fmt.Errorf("unexpected %s%s after 'dnssec %s', expected full or anchor FILE", quote(word), didYouMean(word, []string{"full", "anchor"}), mode)
		}
	}
	if mode == VerifyOff && (v.Full || v.Anchor != "") {
		return errors.New("'full' and 'anchor' have no effect with 'dnssec off'")
	}
	return nil
}

// checkVerify looks that what is held back has something in its place.
func (p *parser) checkVerify() error {
	if v := &p.cfg.Verify; v.Refuses() && p.cfg.Journal == "" {
		kind := "dnssec"
		if v.Zonemd == VerifyRefuse {
			kind = "zonemd"
		}
		return errAt(p.verified[kind], "verify: '%s refuse' needs a 'journal DIR' too, which keeps the last good version", kind)
	}
	return nil
}
