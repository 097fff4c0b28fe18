// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package corefile

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// Origins returns the zones that a key of a server block stands for, canonical:
// "dns://Example.org:1053" is example.org., and a prefix such as 10.0.0.0/23 is its
// reverse zones. It reads keys as CoreDNS does, and returns nil for one that is none.
func Origins(key string) []string {
	_, key = splitTransport(key)
	names, _, err := splitOrigin(key)
	if err != nil {
		return nil
	}
	for i, name := range names {
		if names[i] = canonicalName(name); names[i] == "" {
			return nil
		}
	}
	return names
}

// ports are those of keys that have none.
var ports = map[string]string{"dns": "53", "tls": "853", "quic": "853", "grpc": "443", "https": "443", "https3": "443"}

// Listens returns by what transport and at what port a server block with the key is
// reached: "tls" and "853".
func Listens(key string) (transport, port string) {
	transport, key = splitTransport(key)
	if _, port, _ = splitOrigin(key); port == "" {
		port = ports[transport]
	}
	return transport, port
}

func splitTransport(key string) (transport, rest string) {
	for _, transport := range []string{"dns", "tls", "quic", "grpc", "https", "https3", "unix"} {
		if rest, ok := strings.CutPrefix(key, transport+"://"); ok {
			return transport, rest
		}
	}
	return "dns", key
}

var errNoOrigin = errors.New("neither a name nor a prefix")

// splitOrigin splits NAME[:PORT] or PREFIX[:PORT]. A prefix becomes the reverse zones
// at the next octet (IPv4) or nibble (IPv6) that together hold exactly its addresses.
func splitOrigin(s string) (names []string, port string, err error) {
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		if n, err := strconv.Atoi(s[i+1:]); err == nil {
			s, port = s[:i], strconv.Itoa(n)
		} else if i == len(s)-1 {
			return nil, "", errNoOrigin
		}
	}
	if _, ok := dns.IsDomainName(s); !ok || len(s) > 255 {
		return nil, "", errNoOrigin
	}
	prefix, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return []string{s}, port, nil
	case s[0] == ':' || s[0] == '0' && prefix.Addr().Is6():
		return nil, "", errNoOrigin
	}
	names, err = reverseZones(prefix.Masked())
	return names, port, err
}

// reverseZones returns the reverse zones of a prefix, at most 128.
func reverseZones(p netip.Prefix) (names []string, err error) {
	digit := 8
	if p.Addr().Is6() {
		digit = 4
	}
	labels := (p.Bits() + digit - 1) / digit // of the addresses' digits
	inside := labels*digit - p.Bits()        // bits that the last of them leaves open
	for i := range 1 << inside {
		octets := p.Addr().AsSlice()
		if bit := labels * digit; bit > 0 {
			at := (bit - 1) / 8
			octets[at] |= byte(i << (8 - (bit-1)%8 - 1))
		}
		addr, _ := netip.AddrFromSlice(octets)
		name, err := dns.ReverseAddr(addr.String())
		if err != nil {
			return nil, err
		}
		for range len(octets)*8/digit - labels {
			_, name, _ = strings.Cut(name, ".")
		}
		names = append(names, name)
	}
	return names, nil
}
