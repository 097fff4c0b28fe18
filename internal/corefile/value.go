// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package corefile

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/miekg/dns"
)

// The bounds of what the Corefile may ask for.
const (
	minDuration = time.Millisecond
	maxDuration = 365 * 24 * time.Hour
	maxCount    = 1_000_000
)

// parsePercent reads a part of a whole, with its sign.
func parsePercent(s string) (int, error) {
	digits, signed := strings.CutSuffix(s, "%")
	n, err := strconv.ParseUint(digits, 10, 8)
	if !signed || err != nil || n < 1 || n > 99 {
		return 0, fmt.Errorf("%s is not a PERCENT, expected a whole number from 1%% to 99%% with its sign, such as 20%%", quote(s))
	}
	return int(n), nil
}

func parseCount(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n < 1 || n > maxCount {
		return 0, fmt.Errorf("%s is not a COUNT, expected a whole number from 1 to %d", quote(s), maxCount)
	}
	return int(n), nil
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%s is not a port, expected a number from 1 to 65535", quote(s))
	}
	return uint16(n), nil
}

// parseDuration reads a duration of Go, such as 30s or 1h30m, from least to a year.
func parseDuration(s string, least time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < least || d > maxDuration {
		return 0, fmt.Errorf("%s is not a DURATION, expected one from %v to 8760h, such as 30s or 1h30m", quote(s), least)
	}
	return d, nil
}

// parseRate reads `COUNT/PERIOD [burst COUNT]`. The burst is by default that of
// the default rate, and never more than COUNT.
func parseRate(args []string) (policy.Rate, error) {
	if len(args) == 0 {
		return policy.Rate{}, errors.New("expected COUNT/PERIOD [burst COUNT], such as 60/1m burst 10")
	}
	var r policy.Rate
	count, period, _ := strings.Cut(args[0], "/")
	r.Count, _ = parseCount(count)
	r.Period, _ = parseDuration(period, minDuration)
	if r.Count == 0 || r.Period == 0 {
		return policy.Rate{}, fmt.Errorf("%s is not COUNT/PERIOD, expected a whole number from 1 to %d and a duration from %v to 8760h, such as 60/1m",
			quote(args[0]), maxCount, minDuration)
	}
	r.Burst = min(policy.DefaultLimits.Rate.Burst, r.Count)
	err := options(args[1:], option{"burst", func(v string) (err error) {
		r.Burst, err = parseCount(v)
		return err
	}})
	return r, err
}

var (
	sizePattern = regexp.MustCompile(`^([0-9]+)(B|KB|KiB|MB|MiB|GB|GiB)$`)
	sizeUnits   = map[string]uint64{
		"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
	}
)

// parseSize reads a number of bytes with its unit.
func parseSize(s string) (int64, error) {
	if m := sizePattern.FindStringSubmatch(s); m != nil {
		n, err := strconv.ParseUint(m[1], 10, 64)
		if unit := sizeUnits[m[2]]; err == nil && n > 0 && n <= math.MaxInt64/unit {
			return int64(n * unit), nil
		}
	}
	return 0, fmt.Errorf("%s is not a SIZE, expected a whole number above 0 with one of B, KB, MB, GB, KiB, MiB, GiB, such as 256MiB", quote(s))
}

// parseDate reads a day, which starts at midnight UTC, or a moment (RFC 3339).
func parseDate(s string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		t, err = time.Parse(time.RFC3339, s)
	}
	if err != nil || t.IsZero() {
		return time.Time{}, fmt.Errorf("%s is not a DATE, expected one such as 2027-01-31 (its first moment, UTC) or 2027-01-31T18:00:00Z", quote(s))
	}
	return t.UTC(), nil
}

func parseAlgorithm(s string) (string, error) {
	switch alg := strings.TrimSuffix(strings.ToLower(s), "."); alg {
	case "hmac-sha256", "hmac-sha384", "hmac-sha512", "hmac-sha1", "hmac-sha224":
		return alg, nil
	case "hmac-md5", "hmac-md5.sig-alg.reg.int":
		return "", fmt.Errorf("%s must not be used (RFC 8945 §6), expected hmac-sha256, hmac-sha384 or hmac-sha512", quote(s))
	}
	return "", fmt.Errorf("%s is no TSIG algorithm known here, expected hmac-sha256, hmac-sha384 or hmac-sha512; only for old clients hmac-sha224, hmac-sha1",
		quote(s))
}

// parsePrefix reads an address or a prefix without host bits. An IPv4-mapped one
// is returned as the IPv4 one it stands for.
func parsePrefix(s string) (netip.Prefix, error) {
	if addr, zone, ok := strings.Cut(s, "%"); ok {
		return netip.Prefix{}, fmt.Errorf("%s has a zone identifier, expected it without %s, such as %s", quote(s), quote("%"+zone), quote(addr))
	}
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("%s is no address, prefix or '*'", quote(s))
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s is no prefix, expected one such as 192.0.2.0/24 or 2001:db8::/32", quote(s))
	}
	p = policy.UnmapPrefix(p)
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s has bits set behind its length, expected %s for the network or %s for the one address",
			quote(s), p.Masked(), p.Addr())
	}
	return p, nil
}

var keyPattern = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// parseKeyName reads the name of a TSIG key and returns it canonical. What looks
// like a secret is refused without showing it.
func parseKeyName(s string) (string, error) {
	const what = "expected letters, digits, '-', '_' and '.'"
	_, ok := dns.IsDomainName(s)
	_, addrErr := netip.ParseAddr(s)
	switch {
	case maybeSecret(s):
		return "", errors.New("a value looks like a secret, expected names of keys; secrets belong into the tsig plugin (write a trailing dot if it is a name)")
	case addrErr == nil:
		return "", fmt.Errorf("%s is an address, not the name of a key; addresses stand behind 'net'", quote(s))
	case !ok || !keyPattern.MatchString(s) || strings.Trim(s, ".") == "":
		return "", fmt.Errorf("%s is not the name of a key, %s", quote(s), what)
	}
	return dns.CanonicalName(s), nil
}

// parseCert reads a DNS name, maybe with a wildcard as its left-most label, or
// the SHA-256 of a public key: sha256:HEX, or base64, with sha256: before it or not.
func parseCert(s string) (policy.Cert, error) {
	digest, pinned := strings.CutPrefix(s, "sha256:")
	switch {
	case len(digest) == 44 && strings.HasSuffix(digest, "="):
		return pin(s, digest, base64.StdEncoding.Strict().DecodeString)
	case pinned:
		return pin(s, digest, hex.DecodeString)
	}
	_, ok := dns.IsDomainName(s)
	_, addrErr := netip.ParseAddr(s)
	name := dns.CanonicalName(s)
	switch {
	case addrErr == nil:
		return policy.Cert{}, fmt.Errorf("%s is an address, expected the DNS name of a certificate; addresses stand behind 'net'", quote(s))
	case !ok || !policy.HostPattern.MatchString(s):
		return policy.Cert{}, fmt.Errorf("%s is no certificate, expected a DNS name ('*' only as its whole first label), sha256: with 64 hex digits, or 44 characters of base64", quote(s))
	case strings.HasPrefix(name, "*.") && dns.CountLabel(name) < 3:
		return policy.Cert{}, fmt.Errorf("%s is too wide, expected two labels or more behind '*.'", quote(s))
	}
	return policy.Cert{Name: name}, nil
}

// pin decodes the digest that the token s holds.
func pin(s, digest string, decode func(string) ([]byte, error)) (c policy.Cert, err error) {
	b, err := decode(digest)
	if err != nil || len(b) != len(c.SPKI) {
		return c, fmt.Errorf("%s is no pin, expected the SHA-256 of a public key: sha256: with 64 hex digits, or 44 characters of base64", quote(s))
	}
	copy(c.SPKI[:], b)
	if c == (policy.Cert{}) {
		return c, errors.New("a pin of zeros is no public key's")
	}
	return c, nil
}

// parseZone reads a zone as CoreDNS writes them: a name, or a prefix that stands
// for its reverse zones.
func parseZone(s string) ([]string, error) {
	bad := fmt.Errorf("%s is no zone, expected a name such as example.org, or a prefix such as 10.0.0.0/24 for its reverse zone", quote(s))
	if s == "" || strings.Contains(s, "://") || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, bad
	}
	hosts, port, err := splitOrigin(s)
	if err != nil {
		return nil, bad
	}
	if port != "" {
		return nil, fmt.Errorf("%s has a port, expected a zone alone: the server block says where it listens", quote(s))
	}
	for i, h := range hosts {
		if hosts[i] = canonicalName(h); hosts[i] == "" || strings.ContainsAny(hosts[i], `{}*"`) {
			return nil, bad
		}
	}
	return hosts, nil
}

// canonicalName returns the name as miekg/dns shows it when it comes in a
// message, in lower case, or "" when it is none.
func canonicalName(s string) string {
	buf := make([]byte, 256)
	end, err := dns.PackDomainName(dns.Fqdn(s), buf, 0, nil, false)
	if err != nil {
		return ""
	}
	name, _, err := dns.UnpackDomainName(buf[:end], 0)
	if err != nil {
		return ""
	}
	return dns.CanonicalName(name)
}

func onePath(args []string, what string) (string, error) {
	if len(args) != 1 || args[0] == "" {
		return "", fmt.Errorf("expected one %s", what)
	}
	return args[0], nil
}

// oneOf reads one word out of a closed list.
func oneOf[T ~string](args []string, words ...T) (T, error) {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = string(w)
	}
	last := len(list) - 1
	expected := "expected " + strings.Join(list[:last], ", ") + " or " + list[last]
	switch {
	case len(args) == 0:
		return "", errors.New(expected)
	case !slices.Contains(list, args[0]):
		return "", fmt.Errorf("unknown value %s%s, %s", quote(args[0]), didYouMean(args[0], list), expected)
	case len(args) > 1:
		return "", fmt.Errorf("unexpected %s, %s alone", quote(args[1]), expected)
	}
	return T(args[0]), nil
}

// option is a word with one value, behind a property's own.
type option struct {
	word string
	read func(value string) error
}

// options reads words and their values in any order, each at most once.
func options(args []string, known ...option) error {
	var words []string
	for _, o := range known {
		words = append(words, o.word)
	}
	seen := map[string]bool{}
	for ; len(args) > 0; args = args[min(2, len(args)):] {
		word := args[0]
		i := slices.Index(words, word)
		switch {
		case i < 0:
			return fmt.Errorf("unexpected %s%s, expected nothing or %s", quote(word), didYouMean(word, words), strings.Join(words, ", "))
		case seen[word]:
			return fmt.Errorf("'%s' is given twice", word)
		case len(args) == 1:
			return fmt.Errorf("'%s' needs a value", word)
		}
		seen[word] = true
		if err := known[i].read(args[1]); err != nil {
			return fmt.Errorf("%s: %w", word, err)
		}
	}
	return nil
}

// ParseDate reads a DATE of the grammar: a day, which starts at midnight UTC, or a moment
// (RFC 3339).
func ParseDate(s string) (time.Time, error) { return parseDate(s) }

// ParsePin reads a PIN of the grammar: the SHA-256 of a public key, as sha256: and 64 hex
// digits, or as 44 characters of base64.
func ParsePin(s string) ([32]byte, error) {
	c, err := parseCert(s)
	if err == nil && c.Name != "" {
		err = fmt.Errorf("%s is no pin, expected sha256: with 64 hex digits, or 44 characters of base64", quote(s))
	}
	return c.SPKI, err
}
