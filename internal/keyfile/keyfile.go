// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package keyfile reads files of TSIG keys in the form of named.conf, and tells what
// CoreDNS's tsig plugin, which goes line by line, makes of the same file. It keeps no
// secret and shows none.
package keyfile

import (
	"slices"
	"strings"
)

// Key is one key as BIND reads it.
type Key struct {
	Name   string // as written
	Secret string // base64, without the blanks that BIND takes out of it
	Line   int    // of the name

	SecretLine int
}

// word is one token of the file.
type word struct {
	text   string
	line   int
	quoted bool
}

// Parse returns the keys of a file in the form of named.conf. What it does not know it
// passes over, as BIND reports it.
func Parse(text string) (keys []Key) {
	words := split(text)
	for i := 0; i < len(words); i++ {
		if words[i].is("key") && i+2 < len(words) && words[i+2].is("{") {
			k := Key{Name: words[i+1].text, Line: words[i+1].line}
			for i += 3; i < len(words) && !words[i].is("}"); i++ {
				if !words[i].is("secret") {
					continue
				}
				for i++; i < len(words) && !words[i].is(";") && !words[i].is("}"); i++ {
					k.Secret += strings.Join(strings.Fields(words[i].text), "")
					k.SecretLine = words[i].line
				}
				if i < len(words) && words[i].is("}") {
					break
				}
			}
			keys = append(keys, k)
		}
	}
	return keys
}

func (w word) is(text string) bool { return !w.quoted && w.text == text }

// split cuts the file into words, strings, braces and semicolons, without comments.
func split(text string) (words []word) {
	line := 1
	for len(text) > 0 {
		skip := 1
		switch c := text[0]; {
		case c == '\n':
			line++
		case strings.ContainsRune(" \t\r", rune(c)):
		case c == '#' || strings.HasPrefix(text, "//"):
			skip = upTo(text, "\n")
		case strings.HasPrefix(text, "/*"):
			skip = min(len(text), 2+upTo(text[2:], "*/")+2)
			line += strings.Count(text[:skip], "\n")
		case c == '"':
			end := upTo(text[1:], `"`)
			words = append(words, word{text[1 : 1+end], line, true})
			skip = min(len(text), end+2)
			line += strings.Count(text[:skip], "\n")
		case strings.ContainsRune("{};", rune(c)):
			words = append(words, word{text[:1], line, false})
		default:
			skip = strings.IndexAny(text, " \t\r\n{};\"")
			if skip < 0 {
				skip = len(text)
			}
			words = append(words, word{text[:skip], line, false})
		}
		text = text[skip:]
	}
	return words
}

// upTo is how far away a mark is, or the end.
func upTo(text, mark string) int {
	if i := strings.Index(text, mark); i >= 0 {
		return i
	}
	return len(text)
}

// Problem says what CoreDNS makes of a place in the file that is meant otherwise.
type Problem struct {
	Line  int
	Key   string // as written; "" where no key is meant
	Kind  Kind
	Stops bool // CoreDNS does not start with it
}

// Kind is a kind of problem.
type Kind string

// The kinds.
const (
	Form Kind = "form" // CoreDNS does not read this line
	Cut  Kind = "cut"  // it takes a part of the secret
	Case Kind = "case" // the name has capitals
)

// Check compares what BIND and CoreDNS read in the file.
func Check(text string) (problems []Problem) {
	read, bad := plain(text)
	if bad > 0 {
		problems = append(problems, Problem{Line: bad, Kind: Form, Stops: true})
	}
	for _, k := range Parse(text) {
		if k.Name != strings.ToLower(k.Name) {
			problems = append(problems, Problem{Line: k.Line, Key: k.Name, Kind: Case})
		}
		if secret, ok := read[lower(k.Name)]; ok && secret != k.Secret {
			problems = append(problems, Problem{Line: k.SecretLine, Key: k.Name, Kind: Cut})
		}
	}
	slices.SortStableFunc(problems, func(a, b Problem) int { return a.Line - b.Line })
	return problems
}

// lower is a name as CoreDNS keeps it.
func lower(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") + "." }

// plain reads the file line by line, as CoreDNS does: the first word of a line says what
// it is, the second is the value. It returns the secrets by name, and the first line that
// CoreDNS does not take, 0 for none.
func plain(text string) (secrets map[string]string, bad int) {
	secrets = make(map[string]string)
	name, begun := "", 0
	for i, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		value := ""
		if len(words) > 1 {
			value = strings.Trim(words[1], `";{`)
		}
		switch first := words[0]; {
		case begun == 0 && first == "key" && value != "":
			name, begun = lower(strings.Trim(words[1], `"{`)), i+1
			if _, twice := secrets[name]; twice {
				return secrets, i + 1
			}
		case begun > 0 && first == "algorithm":
		case begun > 0 && first == "secret" && value != "":
			secrets[name] = strings.Trim(words[1], `";`)
		case begun > 0 && (first == "}" || first == "};") && secrets[name] != "":
			name, begun = "", 0
		default:
			return secrets, i + 1
		}
	}
	if begun > 0 && secrets[name] == "" {
		return secrets, begun
	}
	return secrets, 0
}
