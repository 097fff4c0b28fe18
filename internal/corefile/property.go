// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package corefile

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/xfrguard/xfrguard/internal/finding"
)

// property is one kind of line in the block.
type property struct {
	repeats bool
	parse   func(p *parser, args []string) error
}

// properties is the grammar of the block.
var properties = map[string]property{
	"allow":         {true, (*parser).allow},
	"deny":          {true, (*parser).deny},
	"algorithms":    {false, (*parser).algorithms},
	"rate":          {false, (*parser).rate},
	"concurrent":    {false, (*parser).concurrent},
	"bandwidth":     {false, (*parser).bandwidth},
	"timeout":       {false, (*parser).timeout},
	"audit":         {true, (*parser).audit},
	"audit_failure": {false, (*parser).auditFailure},
	"audit_key":     {false, (*parser).auditKey},
	"mode":          {false, (*parser).mode},
	"elsewhere":     {false, (*parser).elsewhere},
	"expect":        {true, (*parser).expect},
	"findings":      {false, (*parser).findings},
	"cache":         {false, (*parser).cache},
	"journal":       {false, (*parser).journal},
	"hold":          {false, (*parser).hold},
	"control":       {false, (*parser).control},
	"notify":        {true, (*parser).notify},
	"verify":        {true, (*parser).verify},
}

var propertyNames = slices.Sorted(maps.Keys(properties))

func (p *parser) algorithms(args []string) error {
	if len(args) == 0 {
		return errors.New("expected one or more TSIG algorithms, such as hmac-sha256")
	}
	var list []string
	for _, arg := range args {
		alg, err := parseAlgorithm(arg)
		if err != nil {
			return err
		}
		if slices.Contains(list, alg) {
			return fmt.Errorf("%s is listed twice", quote(arg))
		}
		list = append(list, alg)
	}
	p.cfg.Algorithms = list
	return nil
}

func (p *parser) rate(args []string) error {
	r, err := parseRate(args)
	if err != nil {
		return err
	}
	p.cfg.Limits.Rate = r
	return nil
}

// concurrent reads `TOTAL [per-client COUNT] [wait DURATION]`. A total below the
// default of per-client takes that down with it.
func (p *parser) concurrent(args []string) error {
	if len(args) == 0 {
		return errors.New("expected TOTAL [per-client COUNT] [wait DURATION], such as 16 per-client 4 wait 5s")
	}
	l := &p.cfg.Limits
	var err error
	if l.Total, err = parseCount(args[0]); err != nil {
		return err
	}
	l.PerClient = min(l.PerClient, l.Total)
	err = options(args[1:], option{"per-client", func(v string) (err error) {
		l.PerClient, err = parseCount(v)
		return err
	}}, option{"wait", func(v string) (err error) {
		l.Wait, err = parseDuration(v, 0)
		return err
	}})
	if err != nil {
		return err
	}
	if l.PerClient > l.Total {
		return fmt.Errorf("per-client %d is more than the %d in all", l.PerClient, l.Total)
	}
	return nil
}

func (p *parser) bandwidth(args []string) (err error) {
	if len(args) != 1 {
		return errors.New("expected one SIZE, the bytes a second of one transfer, such as 10MiB")
	}
	p.cfg.Limits.Bandwidth, err = parseSize(args[0])
	return err
}

// timeout reads `TOTAL [stall DURATION] [pace SIZE|off]`. A total below the default of
// stall takes that down with it.
func (p *parser) timeout(args []string) error {
	if len(args) == 0 {
		return errors.New("expected TOTAL [stall DURATION] [pace SIZE|off], such as 2h stall 30s pace 4KiB")
	}
	l := &p.cfg.Limits
	var err error
	if l.Timeout, err = parseDuration(args[0], minDuration); err != nil {
		return err
	}
	l.Stall = min(l.Stall, l.Timeout)
	err = options(args[1:], option{"stall", func(v string) (err error) {
		l.Stall, err = parseDuration(v, minDuration)
		return err
	}}, option{"pace", func(v string) (err error) {
		l.Pace, p.paceGiven = 0, true
		if v != "off" {
			if l.Pace, err = parseSize(v); err != nil {
				err = fmt.Errorf("%w, or off", err)
			}
		}
		return err
	}})
	if err != nil {
		return err
	}
	if l.Stall > l.Timeout {
		return fmt.Errorf("stall %v is longer than the %v of the whole transfer", l.Stall, l.Timeout)
	}
	return nil
}

func (p *parser) audit(args []string) error {
	spec, err := parseSink(args)
	if err != nil {
		return err
	}
	if !p.auditGiven {
		p.cfg.Audit, p.auditGiven = nil, true // the first one replaces the default
	}
	if slices.Contains(p.cfg.Audit, spec) {
		return fmt.Errorf("%s is given twice", quote(strings.Join(args, " ")))
	}
	p.cfg.Audit = append(p.cfg.Audit, spec)
	return nil
}

// parseSink reads `stdout`, `file PATH`, `journald` or `syslog [NETWORK ADDRESS]`.
func parseSink(args []string) (Sink, error) {
	kinds := []string{"stdout", "file", "journald", "syslog"}
	var none Sink
	if len(args) == 0 {
		return none, errors.New("expected one of stdout, file PATH, journald, syslog [NETWORK ADDRESS]")
	}
	kind, args := args[0], args[1:]
	switch {
	case !slices.Contains(kinds, kind):
		return none, fmt.Errorf("unknown sink %s%s, expected one of stdout, file PATH, journald, syslog [NETWORK ADDRESS]",
			quote(kind), didYouMean(kind, kinds))
	case kind == "syslog":
		return parseSyslog(args)
	case kind == "file" && (len(args) != 1 || args[0] == ""):
		return none, errors.New("'file' needs one PATH")
	case kind == "file":
		return Sink{Kind: kind, Path: filepath.Clean(args[0])}, nil
	case len(args) > 0:
		return none, fmt.Errorf("unexpected %s after '%s', which takes no value", quote(args[0]), kind)
	}
	return Sink{Kind: kind}, nil
}

// parseSyslog reads `[tcp HOST:PORT | tls HOST:PORT | unix PATH]`, by default the
// local socket.
func parseSyslog(args []string) (Sink, error) {
	if len(args) == 0 {
		args = []string{"unix", "/dev/log"}
	}
	s := Sink{Kind: "syslog", Network: args[0]}
	switch s.Network {
	case "tcp", "tls":
	case "unix":
		if len(args) != 2 || !filepath.IsAbs(args[1]) {
			return Sink{}, errors.New("'syslog unix' needs the absolute path of a socket, such as /dev/log")
		}
		s.Address = filepath.Clean(args[1])
		return s, nil
	case "udp":
		return Sink{}, errors.New("'syslog udp' loses events without a trace, expected tcp, tls or unix")
	default:
		return Sink{}, fmt.Errorf("unknown network %s of syslog, expected tcp, tls or unix", quote(s.Network))
	}
	if len(args) != 2 {
		return Sink{}, fmt.Errorf("'syslog %s' needs one HOST:PORT", s.Network)
	}
	host, port, err := net.SplitHostPort(args[1])
	if err != nil || host == "" {
		return Sink{}, fmt.Errorf("%s is not HOST:PORT", quote(args[1]))
	}
	if _, err := parsePort(port); err != nil {
		return Sink{}, fmt.Errorf("%s: %w", quote(args[1]), err)
	}
	s.Address = args[1]
	return s, nil
}

func (p *parser) auditFailure(args []string) (err error) {
	p.cfg.AuditFailure, err = oneOf(args, AuditRefuse, AuditServe)
	return err
}

func (p *parser) auditKey(args []string) (err error) {
	p.cfg.AuditKey, err = onePath(args, "FILE")
	return err
}

func (p *parser) journal(args []string) (err error) {
	p.cfg.Journal, err = onePath(args, "DIR")
	return err
}

// hold reads `shrink PERCENT`.
func (p *parser) hold(args []string) (err error) {
	if len(args) != 2 || args[0] != "shrink" {
		return errors.New("expected shrink PERCENT, the part of its records that a zone may lose at once, such as shrink 20%")
	}
	p.cfg.HoldShrink, err = parsePercent(args[1])
	return err
}

func (p *parser) control(args []string) (err error) {
	if p.cfg.Control, err = onePath(args, "DIR"); err != nil {
		return err
	}
	if !filepath.IsAbs(p.cfg.Control) {
		return fmt.Errorf("%s is not the whole path of a directory, expected one such as /run/coredns/xfr", quote(p.cfg.Control))
	}
	p.cfg.Control = filepath.Clean(p.cfg.Control)
	return nil
}

func (p *parser) mode(args []string) error {
	m, err := oneOf(args, ModeEnforce, ModeObserve)
	if err != nil {
		return err
	}
	return p.setBlockWide("mode", string(m), func(c *Config) { c.Mode = m })
}

func (p *parser) elsewhere(args []string) error {
	e, err := oneOf(args, ElsewhereRefuse, ElsewherePass)
	if err != nil {
		return err
	}
	return p.setBlockWide("elsewhere", string(e), func(c *Config) { c.Elsewhere = e })
}

// findings reads `warn|fail [except CODE...]`.
func (p *parser) findings(args []string) error {
	words, codes := args, []string(nil)
	if i := slices.Index(args, "except"); i >= 0 {
		words, codes = args[:i], args[i+1:]
		if len(codes) == 0 {
			return errors.New("'except' needs one or more codes of findings, such as path-relative")
		}
	}
	f, err := oneOf(words, FindingsWarn, FindingsFail)
	if err != nil {
		return err
	}
	except, err := parseCodes(codes)
	if err != nil {
		return err
	}
	return p.setBlockWide("findings", strings.TrimSpace(string(f)+" "+joinCodes(except)), func(c *Config) {
		c.Findings, c.Except = f, except
	})
}

// parseCodes reads codes of findings and returns them in their order.
func parseCodes(args []string) ([]finding.Code, error) {
	known := finding.Codes()
	names := make([]string, len(known))
	for i, c := range known {
		names[i] = string(c)
	}
	var codes []finding.Code
	for _, arg := range args {
		switch {
		case !slices.Contains(names, arg):
			return nil, fmt.Errorf("unknown code %s of a finding%s, expected those that stand in front of findings in the log; docs/FINDINGS.md has all",
				quote(arg), didYouMean(arg, names))
		case slices.Contains(codes, finding.Code(arg)):
			return nil, fmt.Errorf("%s is listed twice", quote(arg))
		}
		codes = append(codes, finding.Code(arg))
	}
	slices.Sort(codes)
	return codes, nil
}

// joinCodes is "except CODE CODE...", "" for none.
func joinCodes(codes []finding.Code) string {
	text := ""
	for _, c := range codes {
		text += " " + string(c)
	}
	if text == "" {
		return ""
	}
	return "except" + text
}

func (p *parser) cache(args []string) (err error) {
	if len(args) != 1 {
		return errors.New("expected one SIZE, such as 256MiB")
	}
	p.cfg.Cache, err = parseSize(args[0])
	return err
}
