// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package corefile

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// Mistake is one error of the Corefile: where it is, what stands there, and what was
// expected. It never shows what may be a secret.
type Mistake struct {
	Pos  Position
	Text string
}

// Error implements error, as CoreDNS's own errors of a Corefile look.
func (m *Mistake) Error() string { return fmt.Sprintf("%s - Error during parsing: %s", m.Pos, m.Text) }

// errAt is a mistake at a place.
func errAt(pos Position, format string, args ...any) error {
	return &Mistake{pos, fmt.Sprintf(format, args...)}
}

// Mistakes returns all of an error of [Parse], in the order of the text.
func Mistakes(err error) (all []*Mistake) {
	if several, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // what Parse has joined
		for _, e := range several.Unwrap() {
			all = append(all, Mistakes(e)...)
		}
		return all
	}
	if m := (*Mistake)(nil); errors.As(err, &m) {
		all = append(all, m)
	}
	return all
}

// maxQuoted is how much of a token an error shows, in bytes.
const maxQuoted = 100

// quote shows a token of the Corefile in an error, unless it may be a secret.
func quote(s string) string {
	switch {
	case maybeSecret(s):
		return fmt.Sprintf("a value of %d characters (not shown, it may be a secret)", len(s))
	case len(s) > maxQuoted:
		return fmt.Sprintf("%q...", s[:maxQuoted])
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return strconv.Quote(s)
	}
	return "'" + s + "'"
}

// quoteName shows a name as it was understood, unless what is written may be a secret.
func quoteName(name, written string) string {
	if maybeSecret(written) {
		return quote(written)
	}
	return "'" + name + "'"
}

// conditionHint is for an error about values, one of which may be a misspelled
// condition: it was taken for one more value of the condition before it.
func conditionHint(err error, values []string) string {
	for _, v := range values {
		if strings.Contains(err.Error(), "'"+v+"'") {
			return didYouMean(v, conditionNames)
		}
	}
	return ""
}

var base64Pattern = regexp.MustCompile(`^[A-Za-z0-9+/]{14,}={0,2}$`)

// maybeSecret reports whether the token, or a part of it as in algorithm:name:secret,
// could be the secret of a key that someone put into the wrong place: base64 of
// some length. Without padding it must also mix digits with letters of both
// cases, as names hardly do.
func maybeSecret(s string) bool {
	for part := range strings.FieldsFuncSeq(strings.TrimPrefix(s, "*."), func(r rune) bool { return strings.ContainsRune(":;,", r) }) {
		if base64Pattern.MatchString(part) && (strings.HasSuffix(part, "=") ||
			strings.ContainsFunc(part, unicode.IsDigit) &&
				strings.ContainsFunc(part, unicode.IsLower) &&
				strings.ContainsFunc(part, unicode.IsUpper)) {
			return true
		}
	}
	return false
}

var quotedPattern = regexp.MustCompile(`'[^']*'|"[^"]*"`)

// Redact returns a message of CoreDNS or another plugin without what it quotes of the
// Corefile and may be a secret: they show the token that they stumble over.
func Redact(message string) string {
	return quotedPattern.ReplaceAllStringFunc(message, func(quoted string) string {
		if token := quoted[1 : len(quoted)-1]; maybeSecret(token) {
			return quote(token)
		}
		return quoted
	})
}

// didYouMean returns a hint for a word that is at most two edits, and one when it
// is short, away from a known one.
func didYouMean(s string, known []string) string {
	best, distance := "", min(3, len(s)-1)
	for _, k := range known {
		if d := edits(s, k); d < distance && d > 0 {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean '%s'?)", best)
}

// edits is how many letters have to be changed, added, taken out or swapped with the next
// one to turn one word into the other, or a large number for a long one.
func edits(a, b string) int {
	if len(a) > 2*len(b) || len(a) > 32 {
		return len(a)
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := last[j]
			if a[i] != b[j] {
				cost++
			}
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				cost = min(cost, before[j-1]+1)
			}
			row[j+1] = min(cost, row[j]+1, last[j+1]+1)
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
