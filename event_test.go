// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/notify"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/trail"
)

// eventSchema is event.schema.json, compiled once. A test of another package does
// the same with the file's path.
var eventSchema = sync.OnceValue(func() *jsonschema.Schema {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile("event.schema.json")
	if err != nil {
		panic(err)
	}
	return s
})

// validateEvents fails the test for every line that event.schema.json does not
// allow or that is too long. Lines are those of a sink, sealed, with or without newlines.
func validateEvents(t testing.TB, lines ...[]byte) {
	t.Helper()
	for i, line := range lines {
		line = bytes.TrimSuffix(line, []byte{'\n'})
		if len(line)+1 > trail.MaxLine {
			t.Errorf("line %d has %d bytes, at most %d are allowed", i+1, len(line)+1, trail.MaxLine)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
		if err == nil {
			err = eventSchema().Validate(v)
		}
		if err != nil {
			t.Errorf("line %d: %v\n%s", i+1, err, line)
		}
	}
}

// splitLines returns the lines of a sink's output.
func splitLines(b []byte) [][]byte {
	var lines [][]byte
	for line := range bytes.Lines(b) {
		lines = append(lines, line)
	}
	return lines
}

// members returns the fields of a line.
func members(t testing.TB, line []byte) map[string]any {
	t.Helper()
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return m
}

// schemaDoc is event.schema.json as far as the tests look into it.
type schemaDoc struct {
	ID         string `json:"$id"`
	Properties map[string]struct {
		Type        string
		Description string
		Enum        []string
		Items       struct{ Enum []string }
	}
	AllOf []struct {
		If struct {
			Properties map[string]struct{ Const any }
		}
		Then struct {
			Properties map[string]struct {
				Const string
				Enum  []string
			}
			Required []string
		}
	}
}

func readSchema(t testing.TB) *schemaDoc {
	t.Helper()
	text, err := os.ReadFile("event.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var s schemaDoc
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

func texts[S ~string](vs []S) []string {
	out := make([]string, len(vs))
	for i, v := range vs {
		out[i] = string(v)
	}
	slices.Sort(out)
	return out
}

func TestSchemaEnums(t *testing.T) {
	s := readSchema(t)
	same := func(what string, got []string, want []string) {
		t.Helper()
		got = slices.Sorted(slices.Values(got))
		want = slices.Sorted(slices.Values(want))
		if !slices.Equal(got, want) {
			t.Errorf("%s: the schema has\n%q, the code\n%q", what, got, want)
		}
	}
	var actions, codes []string
	for _, spec := range eventSpecs {
		actions = append(actions, string(spec.action))
		codes = append(codes, string(spec.code))
	}
	if got := slices.Compact(slices.Sorted(slices.Values(codes))); len(got) != len(eventSpecs) {
		t.Error("a code is used twice")
	}
	same("event.action", s.Properties["event.action"].Enum, actions)
	same("event.code", s.Properties["event.code"].Enum, codes)
	same("served", s.Properties["coredns.xfr.served"].Enum, texts(Serveds))
	same("tsig.status", s.Properties["coredns.xfr.tsig.status"].Enum, texts(policy.TSIGStatuses))
	same("transport", s.Properties["coredns.xfr.transport"].Enum, texts(policy.Transports))
	same("failure", s.Properties[extraFailure].Enum, []string{string(corefile.AuditRefuse), string(corefile.AuditServe)})
	same("class", s.Properties["coredns.xfr.suppressed.class"].Enum, foldClassNames[:])

	denied := slices.DeleteFunc(texts(policy.Reasons), func(r string) bool { return r == string(policy.ReasonAllowed) })
	byAction := map[string][]string{
		string(ActionDecision): texts(policy.Reasons),
		string(ActionEnd):      texts(EndReasons),
		string(ActionDenied):   append(slices.Clone(denied), reasonSeveral),
		string(ActionAnswered): {string(ServedUpToDate), string(ServedUseTCP), string(policy.ReasonAllowed), reasonSeveral},
	}
	for _, o := range notify.Outcomes() {
		switch {
		case o == notify.Accepted:
			byAction[string(ActionNotified)] = []string{string(o)}
		case o.Failed():
			byAction[string(ActionNotifyFailed)] = append(byAction[string(ActionNotifyFailed)], string(o))
		}
	}
	for _, rule := range s.AllOf {
		action, _ := rule.If.Properties["event.action"].Const.(string)
		if _, split := rule.If.Properties["event.type"]; split {
			continue
		}
		spec := specOf(Action(action))
		if got := rule.Then.Properties["event.code"].Const; got != string(spec.code) {
			t.Errorf("%s: the schema has code %s, the table %s", action, got, spec.code)
		}
		if want := byAction[action]; want != nil {
			same("event.reason of "+action, rule.Then.Properties["event.reason"].Enum, want)
		}
		for _, field := range rule.Then.Required {
			if _, ok := s.Properties[field]; !ok {
				t.Errorf("%s requires %s, which is no property", action, field)
			}
		}
	}
	for _, f := range extraFields {
		if _, ok := s.Properties[f]; !ok {
			t.Errorf("Extra field %s is not in the schema", f)
		}
	}
}

// A log store makes objects of dotted names: none may be a value and an object at once.
func TestSchemaNamesDoNotNest(t *testing.T) {
	s := readSchema(t)
	for name, p := range s.Properties {
		if p.Description == "" {
			t.Errorf("%s has no description", name)
		}
		for other := range s.Properties {
			if strings.HasPrefix(other, name+".") {
				t.Errorf("%s is a value and, in %s, an object", name, other)
			}
		}
	}
}

func TestEventTableActions(t *testing.T) {
	for _, spec := range eventSpecs {
		transfers := strings.HasPrefix(string(spec.action), "zone-")
		if strings.HasPrefix(string(spec.code), "XFR1") != transfers {
			t.Errorf("%s has code %s", spec.action, spec.code)
		}
		if spec.message == "" || len(spec.types) == 0 {
			t.Errorf("%s has no message or type", spec.action)
		}
	}
	for kind, action := range trailActions {
		if specOf(action).code == "" {
			t.Errorf("%s of the audit file has no action", kind)
		}
	}
}
