// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/audit/audittest"

	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// The mappings below know no field by name but those that need another type: what
// becomes what is read from the table in docs/EVENTS.md, so that the golden files
// are what that document says.

// mapped is a row of the table.
type mapped struct{ field, ocsf, otel string }

func mappings(t *testing.T) []mapped {
	t.Helper()
	schema := audittest.ReadSchema(t)
	var rows []mapped
	for _, r := range audittest.DocTable(t, "Other schemas") {
		m := mapped{field: r[0], ocsf: strings.Trim(r[1], "`"), otel: r[2]}
		if _, ok := schema.Properties[m.field]; !ok {
			t.Errorf("docs/EVENTS.md maps %s, which the schema does not have", m.field)
		}
		rows = append(rows, m)
	}
	return rows
}

// put sets a nested member of an object.
func put(object map[string]any, path string, v any) {
	name, rest, nested := strings.Cut(path, ".")
	if !nested {
		object[name] = v
		return
	}
	inner, _ := object[name].(map[string]any)
	if inner == nil {
		inner = map[string]any{}
		object[name] = inner
	}
	put(inner, rest, v)
}

func millis(v any) int64 {
	t, err := time.Parse(time.RFC3339Nano, v.(string))
	if err != nil {
		panic(err)
	}
	return t.UnixMilli()
}

// ocsfValues are the fields whose values OCSF wants in another form.
var ocsfValues = map[string]func(any) any{
	"@timestamp":        func(v any) any { return millis(v) },
	"event.duration":    func(v any) any { return audittest.Number(v) / int64(time.Millisecond) },
	"event.outcome":     func(v any) any { return map[any]int{"success": 1, "failure": 2}[v] },
	"network.transport": func(v any) any { return map[any]int{"tcp": 6, "udp": 17}[v] },
}

// toOCSF makes a DNS Activity (4003) of a decision or an end.
func toOCSF(rows []mapped, event map[string]any) map[string]any {
	activity := 1
	if event["event.action"] == string(audit.ActionEnd) {
		activity = 2
	}
	o := map[string]any{
		"class_uid": 4003, "category_uid": 4, "activity_id": activity, "type_uid": 4003*100 + activity,
		"severity_id": map[any]int{"info": 1, "warn": 3, "error": 4}[event["log.level"]],
		"metadata": map[string]any{
			"version": "1.5.0", "profiles": []string{"security_control"},
			"product": map[string]any{"name": "xfrguard", "vendor_name": "xfrguard"},
		},
	}
	if activity == 1 {
		action, disposition := 1, 1
		if !slices.Contains(event["event.type"].([]any), "allowed") {
			action, disposition = 2, 2
		}
		if event["coredns.xfr.enforced"] == false {
			disposition = 17
		}
		o["action_id"], o["disposition_id"] = action, disposition
	}
	unmapped := map[string]any{}
	for field, v := range event {
		i := slices.IndexFunc(rows, func(m mapped) bool { return m.field == field })
		if i < 0 || rows[i].ocsf == "-" {
			unmapped[field] = v
			continue
		}
		path, _, _ := strings.Cut(rows[i].ocsf, "` (") // the unit
		if as := ocsfValues[field]; as != nil {
			v = as(v)
		}
		put(o, path, v)
	}
	o["unmapped"] = unmapped
	return o
}

// otelValue makes an AnyValue in the JSON form of OTLP.
func otelValue(v any) map[string]any {
	switch v := v.(type) {
	case bool:
		return map[string]any{"boolValue": v}
	case json.Number:
		return map[string]any{"intValue": v.String()}
	case []any:
		values := make([]any, len(v))
		for i, one := range v {
			values[i] = otelValue(one)
		}
		return map[string]any{"arrayValue": map[string]any{"values": values}}
	}
	return map[string]any{"stringValue": v}
}

// toOTel makes the ResourceLogs of one event in the JSON form of OTLP.
func toOTel(rows []mapped, event map[string]any) map[string]any {
	type attributes []any
	var resource, rest attributes
	add := func(to *attributes, key string, v any) {
		*to = append(*to, map[string]any{"key": key, "value": otelValue(v)})
	}
	record := map[string]any{}
	for _, field := range audittest.SortedKeys(event) {
		v := event[field]
		name := field
		if i := slices.IndexFunc(rows, func(m mapped) bool { return m.field == field }); i >= 0 && rows[i].otel != "same name" {
			name = rows[i].otel
		}
		switch target, isResource := strings.CutPrefix(name, "resource `"); {
		case isResource:
			add(&resource, target, v)
		case name == "Timestamp":
			stamp, _ := time.Parse(time.RFC3339Nano, v.(string))
			record["timeUnixNano"] = strconv.FormatInt(stamp.UnixNano(), 10)
		case name == "SeverityText, SeverityNumber":
			record["severityText"] = v
			record["severityNumber"] = map[any]int{"info": 9, "warn": 13, "error": 17}[v]
		case name == "Body":
			record["body"] = otelValue(v)
		case name == "EventName":
			record["eventName"] = v
		default:
			add(&rest, name, v)
		}
	}
	record["attributes"] = rest
	return map[string]any{
		"resource":  map[string]any{"attributes": resource},
		"scopeLogs": []any{map[string]any{"scope": map[string]any{"name": "coredns.xfr"}, "logRecords": []any{record}}},
	}
}

// goldenMapping compares with a file of testdata/mappings, or writes it with -update.
func goldenMapping(t *testing.T, name string, got any) []byte {
	t.Helper()
	text, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	path := filepath.Join("testdata", "mappings", name)
	if *audittest.UpdateGolden {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -run %s -update writes it)", err, t.Name())
	}
	if !bytes.Equal(text, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, text, want)
	}
	return text
}

// The same events in other schemas, as docs/EVENTS.md says.
func TestMappings(t *testing.T) {
	rows := mappings(t)
	names, err := filepath.Glob("testdata/events/*.json")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, path := range names {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		event := audittest.Members(t, text)
		name := strings.TrimSuffix(filepath.Base(path), ".json")

		otlp := goldenMapping(t, name+".otel.json", toOTel(rows, event))
		if err := protojson.Unmarshal(otlp, &logs.ResourceLogs{}); err != nil {
			t.Errorf("%s is no OTLP: %v", name, err)
		}
		if a := audit.Action(event["event.action"].(string)); a != audit.ActionDecision && a != audit.ActionEnd {
			continue // no DNS activity
		}
		ocsf := toOCSF(rows, event)
		goldenMapping(t, name+".ocsf.json", ocsf)
		for _, member := range []string{"time", "src_endpoint", "query", "status_id", "severity_id", "metadata"} {
			if ocsf[member] == nil || ocsf[member] == 0 {
				t.Errorf("%s has no %s in OCSF", name, member)
			}
		}
	}
}

// The shipped configurations name fields that exist.
func TestDeployNamesFields(t *testing.T) {
	known := map[string]bool{}
	for field := range audittest.ReadSchema(t).Properties {
		known[field] = true
	}
	for _, m := range mappings(t) {
		target, _ := strings.CutPrefix(m.otel, "resource `")
		known[target] = true
	}
	for name, pattern := range map[string]string{
		"vector.yaml":  `\."([^"]+)"`,
		"otelcol.yaml": `(?:attributes|resource)\["([^"]+)"\]|"([^"]+)" in attributes`,
	} {
		text, err := os.ReadFile(filepath.Join("deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1)
		if len(found) < 10 {
			t.Errorf("%s: %d fields found", name, len(found))
		}
		for _, m := range found {
			if field := m[1] + strings.Join(m[2:], ""); !known[field] {
				t.Errorf("%s names %s, which no event has", name, field)
			}
		}
	}
}
