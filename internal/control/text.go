// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package control

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Words of a text that say who wrote it and when.
const (
	byWord = "by:"
	atWord = "at:"
)

// textMax bounds what is kept of a text, in octets.
const textMax = 400

// ParseNote reads a text: words by:WHO and at:WHEN are no part of why. Owner is who wrote
// it where it does not say.
func ParseNote(text, owner string) Note {
	n := Note{By: owner}
	var why []string
	for _, w := range strings.FieldsFunc(strings.ToValidUTF8(text, "?"), func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		switch {
		case strings.HasPrefix(w, byWord) && len(w) > len(byWord):
			n.By = cut(w[len(byWord):])
		case strings.HasPrefix(w, atWord) && len(w) > len(atWord):
		default:
			why = append(why, w)
		}
	}
	n.Text = cut(strings.Join(why, " "))
	return n
}

func cut(s string) string {
	if len(s) <= textMax {
		return s
	}
	return strings.ToValidUTF8(s[:textMax], "")
}

// FormatNote writes what ParseNote reads, on one line.
func FormatNote(n Note, at time.Time) string {
	by := strings.Join(strings.Fields(n.By), "_")
	text := byWord + by + " " + atWord + at.UTC().Format(time.RFC3339)
	if why := ParseNote(n.Text, "").Text; why != "" {
		text += " " + why
	}
	return text
}

// ParseZones reads freeze.zones. Lines that begin with # say nothing.
func ParseZones(text, owner string) (map[string]Note, error) {
	zones := make(map[string]Note)
	var bad error
	for i, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		apex, ok := Zone(fields[0])
		if !ok {
			bad = fmt.Errorf("line %d of %s: %q is no zone", i+1, ZonesFile, cut(fields[0]))
			continue
		}
		if _, twice := zones[apex]; !twice {
			zones[apex] = ParseNote(strings.Join(fields[1:], " "), owner)
		}
	}
	return zones, bad
}

// Zone returns the canonical form of a zone's name, and whether it is one.
func Zone(name string) (string, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == "" {
		return ".", true
	}
	for _, label := range strings.Split(name, ".") {
		if label == "" {
			return "", false
		}
	}
	return name + ".", len(name) < 1010 && !strings.ContainsAny(name, "/:\"")
}

// ParseApprovals reads approve. A line that is no digest and no remark is an error, and
// the others count.
func ParseApprovals(text, owner string, given time.Time) (list []Approval, err error) {
	list = []Approval{}
	seen := make(map[string]int)
	for i, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		digest, ok := Digest(fields[0])
		if !ok {
			err = fmt.Errorf("line %d of %s: %q is no digest: expected sha384: and 96 hex digits, as the event zone-held has them", i+1, ApproveFile, cut(fields[0]))
			continue
		}
		same := strings.Join(fields, " ")
		seen[same]++
		list = append(list, Approval{
			Note: ParseNote(strings.Join(fields[1:], " "), owner), Digest: digest, Given: given,
			key: fmt.Sprintf("%d %s", seen[same], same),
		})
	}
	return list, err
}

// Digest reads the digest of a zone's version as events have it.
func Digest(text string) (d [48]byte, ok bool) {
	b, err := hex.DecodeString(strings.TrimPrefix(strings.ToLower(text), "sha384:"))
	if err != nil || len(b) != len(d) {
		return d, false
	}
	return [48]byte(b), true
}

// fingerprint tells states apart.
func fingerprint(s *State) string {
	var b strings.Builder
	if s.All != nil {
		fmt.Fprintf(&b, "all %q %q\n", s.All.Text, s.All.By)
	}
	for _, apex := range slices.Sorted(maps.Keys(s.Zones)) {
		fmt.Fprintf(&b, "zone %q %q %q\n", apex, s.Zones[apex].Text, s.Zones[apex].By)
	}
	if s.Err != nil {
		fmt.Fprintf(&b, "error %v\n", s.Err)
	}
	return b.String()
}
