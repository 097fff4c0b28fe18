// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package corefile

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/xfrguard/xfrguard/internal/policy"
)

const notifyForm = "ADDRESS... [key NAME] [source ADDRESS] [tls], such as 192.0.2.53 key ns2.example.org"

// notify reads `ADDRESS... [key NAME] [source ADDRESS] [tls]`.
func (p *parser) notify(args []string) error {
	spec := Notify{Pos: p.here()}
	var addrs []string
	for i := 0; i < len(args); i++ {
		var err error
		switch arg := args[i]; {
		case arg == "tls" && spec.TLS, arg == "key" && spec.Key != "", arg == "source" && spec.Source.IsValid():
			err = fmt.Errorf("'%s' is given twice", arg)
		case arg == "tls":
			spec.TLS = true
		case arg == "key" && i == len(args)-1:
			err = errors.New("'key' needs a NAME")
		case arg == "key":
			i++
			spec.Key, err = parseKeyName(args[i])
		case arg == "source" && i == len(args)-1:
			err = errors.New("'source' needs an ADDRESS")
		case arg == "source":
			i++
			spec.Source, err = parseSource(args[i])
		default:
			addrs = append(addrs, arg)
		}
		if err != nil {
			return err
		}
	}
	if len(addrs) == 0 {
		return errors.New("expected " + notifyForm)
	}
	for _, arg := range addrs {
		ap, err := parseNotifyAddr(arg, spec.TLS)
		if err != nil {
			return err
		}
		if slices.Contains(spec.Addrs, ap) {
			return fmt.Errorf("%s is listed twice", quote(arg))
		}
		spec.Addrs = append(spec.Addrs, ap)
		if maybePort(arg) {
			spec.Unclear = append(spec.Unclear, arg)
		}
	}
	if err := spec.checkSource(); err != nil {
		return err
	}
	return p.addNotify(spec)
}

// addNotify puts the addresses behind the others. Each is told in one way only.
func (p *parser) addNotify(spec Notify) error {
	for _, ap := range spec.Addrs {
		for _, other := range p.cfg.Notify {
			if slices.Contains(other.Addrs, ap) {
				return fmt.Errorf("%s is notified already, by the line at %s", ap, other.Pos)
			}
		}
	}
	p.cfg.Notify = append(p.cfg.Notify, spec)
	return nil
}

// checkSource reports a source from which an address of the line cannot be reached.
func (n *Notify) checkSource() error {
	for _, ap := range n.Addrs {
		to := ap.Addr()
		switch {
		case !n.Source.IsValid():
		case n.Source.Is4() != to.Is4():
			return fmt.Errorf("source %s is of another family than %s, expected a line of its own for each family", n.Source, to)
		case n.Source.Zone() != "" && to.Zone() != "" && n.Source.Zone() != to.Zone():
			return fmt.Errorf("source %s is on another link than %s, expected the same zone identifier", n.Source, to)
		}
	}
	return nil
}

// ruleNotify reads the word `notify` of a rule.
func ruleNotify(r *policy.Rule, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected %s, expected no value: the rule says whom and with which key", quote(args[0]))
	}
	r.Notify = true
	return nil
}

// notifyRule has the addresses of a rule told, with its key.
func (p *parser) notifyRule(r *policy.Rule) error {
	spec := Notify{Rule: r.Name, Pos: p.here()}
	const line = "write 'notify ADDRESS... key NAME' on a line of its own"
	switch {
	case r.Nets.Any():
		return errors.New("'notify' needs the addresses to tell, expected single ones behind 'net'; or " + line)
	case r.Nets.Wide().IsValid():
		return fmt.Errorf("'notify' needs single addresses, but net has %s; put it into a rule of its own, or %s", r.Nets.Wide(), line)
	case len(r.Keys) > 1:
		return fmt.Errorf("'notify' needs one key to sign with, but the rule has %d; "+line, len(r.Keys))
	case len(r.Keys) == 1:
		spec.Key = r.Keys[0]
	}
	for _, addr := range r.Nets.Named() {
		ap, err := toNotify(addr.String(), netip.AddrPortFrom(addr, NotifyPort(false)))
		if err != nil {
			return err
		}
		if WithoutLink(addr) {
			return fmt.Errorf("'notify' cannot tell the link-local %s, as 'net' does not say on which link it is; write 'notify %s%%eth0', with your interface, on a line of its own", addr, addr)
		}
		spec.Addrs = append(spec.Addrs, ap)
	}
	return p.addNotify(spec)
}

// broadcast reaches all of a network (RFC 919 §7), and Go lets anybody send there.
var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// parseNotifyAddr reads `ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT`.
func parseNotifyAddr(s string, overTLS bool) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		var addr netip.Addr
		if addr, err = netip.ParseAddr(s); err == nil {
			ap = netip.AddrPortFrom(addr, NotifyPort(overTLS))
		}
	}
	if err != nil {
		return ap, fmt.Errorf("%s is no ADDRESS, expected one such as 192.0.2.53, 192.0.2.53:5300 or [2001:db8::53]:5300", quote(s))
	}
	return toNotify(s, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
}

// NotifyPort is the port of a secondary that the Corefile does not give.
func NotifyPort(overTLS bool) uint16 {
	if overTLS {
		return 853 // RFC 7858 §3.1
	}
	return 53
}

// toNotify returns the address, which s writes, when it can be one secondary's.
func toNotify(s string, ap netip.AddrPort) (netip.AddrPort, error) {
	switch a := ap.Addr(); {
	case ap.Port() == 0, a.IsUnspecified(), a.IsMulticast(), a == broadcast:
		return ap, fmt.Errorf("%s cannot be notified, expected the address of one secondary and a port above 0", quote(s))
	case a.Zone() != "" && !a.IsLinkLocalUnicast():
		return ap, fmt.Errorf("%s has a zone identifier, expected it without %s: only link-local addresses have one", quote(s), quote("%"+a.Zone()))
	}
	return ap, nil
}

// parseSource reads the address to send from.
func parseSource(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	a = a.Unmap()
	switch {
	case err != nil, a.IsUnspecified(), a.IsMulticast(), a == broadcast, a.Zone() != "" && !a.IsLinkLocalUnicast():
		return a, fmt.Errorf("%s is no source, expected an address of this host without a port, such as 192.0.2.1", quote(s))
	case WithoutLink(a):
		return a, fmt.Errorf("source %s is link-local, expected it with its interface, such as %s%%eth0", a, a)
	}
	return a, nil
}

// WithoutLink reports whether the address is on every link, and nothing says which one
// is meant (RFC 4007 §6).
func WithoutLink(a netip.Addr) bool { return a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == "" }

// maybePort reports whether s, an IPv6 address without brackets, reads like a shorter
// one with a port behind it. What is meant so can be told from the last group: the
// ports of DNS, and those that are free for everybody.
func maybePort(s string) bool {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.ContainsAny(s, "[%") {
		return false
	}
	rest, err := netip.ParseAddr(s[:i])
	port, portErr := strconv.ParseUint(s[i+1:], 10, 16)
	if err != nil || !rest.Is6() || portErr != nil {
		return false
	}
	return port == 53 || port == 853 || port >= 1024
}
