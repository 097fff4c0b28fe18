// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func readDeploy(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// component is a part of a collector's configuration, of whatever kind.
type component = map[string]any

// onlyKeys fails the test for options that a component of that type does not have:
// a collector refuses to start with one, and these were not all run.
func onlyKeys(t *testing.T, name string, c component, known ...string) {
	t.Helper()
	for key := range c {
		if !slices.Contains(known, key) {
			t.Errorf("%s: unknown option %s", name, key)
		}
	}
}

func TestDeployVector(t *testing.T) {
	var c struct {
		DataDir    string               `yaml:"data_dir"`
		Sources    map[string]component `yaml:"sources"`
		Transforms map[string]component `yaml:"transforms"`
		Sinks      map[string]component `yaml:"sinks"`
	}
	d := yaml.NewDecoder(strings.NewReader(readDeploy(t, "vector.yaml")))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	options := map[string][]string{ // https://vector.dev/docs/reference/configuration/
		"source file": {"include", "read_from", "max_line_bytes"}, "transform remap": {"inputs", "source"},
		"transform filter": {"inputs", "condition"}, "sink file": {"inputs", "path", "encoding"}, "sink http": {"inputs", "uri", "encoding"},
	}
	fed := map[string]bool{}
	each := func(kind string, all map[string]component) {
		for name, one := range all {
			known := options[kind+" "+one["type"].(string)]
			if known == nil {
				t.Errorf("%s: no %s of type %s", name, kind, one["type"])
			}
			onlyKeys(t, name, one, append([]string{"type"}, known...)...)
			inputs, _ := one["inputs"].([]any)
			if (len(inputs) > 0) != (kind != "source") {
				t.Errorf("%s has inputs %v", name, inputs)
			}
			for _, in := range inputs {
				fed[in.(string)] = true
				if c.Sources[in.(string)] == nil && c.Transforms[in.(string)] == nil {
					t.Errorf("%s takes from %s, which is not there", name, in)
				}
			}
		}
	}
	each("source", c.Sources)
	each("transform", c.Transforms)
	each("sink", c.Sinks)
	if len(fed) != len(c.Sources)+len(c.Transforms) || len(c.Sinks) == 0 {
		t.Errorf("what goes nowhere: only %v are taken from", fed)
	}
	ocsfProgram(t, c.Transforms["xfrguard_ocsf"]["source"].(string))
}

var programTokens = regexp.MustCompile(`"([a-z_]+)":|\{|\}|e\."([^"]+)"`)

// ocsfProgram holds the object that the program builds against docs/EVENTS.md.
func ocsfProgram(t *testing.T, program string) {
	t.Helper()
	object, rest, ok := strings.Cut(program, "\nif ")
	if !ok {
		t.Fatalf("not the program that this test knows:\n%s", program)
	}
	if strings.Count(program, "{") != strings.Count(program, "}") {
		t.Error("braces do not match")
	}
	got := map[string]string{}
	var outer []string
	key := ""
	for _, m := range programTokens.FindAllStringSubmatch(object, -1) {
		switch {
		case m[1] != "":
			key = m[1]
		case m[0] == "{":
			outer = append(outer, key)
		case m[0] == "}":
			key, outer = outer[len(outer)-1], outer[:len(outer)-1]
		default:
			got[m[2]] = strings.TrimPrefix(strings.Join(append(slices.Clone(outer), key), "."), ".")
		}
	}
	got["message"] = map[bool]string{true: "message"}[strings.Contains(object, `"message": e.message`)]
	got["event.duration"] = map[bool]string{true: "duration"}[strings.Contains(rest, `o.duration = to_int(to_int!(e."event.duration") / 1000000)`)]
	for _, m := range mappings(t) {
		want, _, _ := strings.Cut(m.ocsf, "` (")
		if want != "-" && got[m.field] != want {
			t.Errorf("%s becomes %q, want %q", m.field, got[m.field], want)
		}
	}
}

func TestDeployCollector(t *testing.T) {
	type components = map[string]component
	var c struct {
		Extensions components `yaml:"extensions"`
		Receivers  components `yaml:"receivers"`
		Exporters  components `yaml:"exporters"`
		Service    struct {
			Extensions []string                       `yaml:"extensions"`
			Pipelines  map[string]map[string][]string `yaml:"pipelines"`
		} `yaml:"service"`
	}
	d := yaml.NewDecoder(strings.NewReader(readDeploy(t, "otelcol.yaml")))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	logs := c.Service.Pipelines["logs"]
	for _, part := range []struct {
		used []string
		have components
	}{{c.Service.Extensions, c.Extensions}, {logs["receivers"], c.Receivers}, {logs["exporters"], c.Exporters}} {
		if len(part.used) == 0 || len(part.used) != len(part.have) {
			t.Errorf("%v are used of %v", part.used, part.have)
		}
		for _, name := range part.used {
			if part.have[name] == nil {
				t.Errorf("%s is used and not configured", name)
			}
		}
	}
	filelog := c.Receivers["filelog"]
	onlyKeys(t, "filelog", filelog, "include", "start_at", "storage", "max_log_size", "include_file_name", "operators")
	if storage, _ := filelog["storage"].(string); c.Extensions[storage] == nil {
		t.Errorf("storage %q is not configured", storage)
	}
	options := map[string][]string{"json_parser": {"parse_ints", "timestamp", "severity"}, "move": {"if", "from", "to"}, "remove": {"field"}}
	for _, op := range filelog["operators"].([]any) {
		o := op.(component)
		kind := o["type"].(string)
		if options[kind] == nil {
			t.Errorf("no operator %s", kind)
		}
		onlyKeys(t, kind, o, append([]string{"type"}, options[kind]...)...)
	}
}

// Fluent Bit's classic format: sections of names and values.
func TestDeployFluentBit(t *testing.T) {
	options := map[string][]string{ // https://docs.fluentbit.io/manual
		"SERVICE": {"Parsers_File"},
		"INPUT tail": {
			"Name", "Tag", "Path", "Parser", "Read_from_Head", "DB", "Rotate_Wait", "Buffer_Chunk_Size", "Buffer_Max_Size", "Skip_Long_Lines",
		},
		"OUTPUT forward": {"Name", "Match", "Host", "Port", "Require_ack_response"},
		"PARSER":         {"Name", "Format", "Time_Key", "Time_Format", "Time_Keep"},
	}
	type section struct {
		kind string
		set  map[string]string
	}
	found := map[string]map[string]string{}
	for _, file := range []string{"fluent-bit.conf", "fluent-bit-parsers.conf"} {
		var all []section
		for line := range strings.Lines(readDeploy(t, file)) {
			line = strings.TrimSpace(line)
			if line == "" || line[0] == '#' {
				continue
			}
			if kind, ok := strings.CutPrefix(line, "["); ok {
				all = append(all, section{strings.TrimSuffix(kind, "]"), map[string]string{}})
				continue
			}
			key, value, _ := strings.Cut(line, " ")
			all[len(all)-1].set[key] = strings.TrimSpace(value)
		}
		for _, s := range all {
			if s.kind == "INPUT" || s.kind == "OUTPUT" {
				s.kind += " " + s.set["Name"]
			}
			if options[s.kind] == nil {
				t.Errorf("%s: no section %s", file, s.kind)
			}
			for key, value := range s.set {
				if !slices.Contains(options[s.kind], key) || value == "" {
					t.Errorf("%s: %s has %s %q", file, s.kind, key, value)
				}
			}
			found[s.kind] = s.set
		}
	}
	if len(found) != len(options) || found["SERVICE"]["Parsers_File"] != "fluent-bit-parsers.conf" ||
		found["INPUT tail"]["Parser"] != found["PARSER"]["Name"] || found["INPUT tail"]["Tag"] != found["OUTPUT forward"]["Match"] {
		t.Errorf("the parts do not fit: %v", found)
	}
}
