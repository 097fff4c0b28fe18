// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// module is the package whose audit is left out.
const module = "github.com/xfrguard/xfrguard"

// unrecording makes the two methods that record a transfer return at once.
var unrecording = [][2]string{
	{"func (a *Auditor) Decision(ctx context.Context, e *Event) error {\n", "\treturn nil\n"},
	{"func (a *Auditor) End(e *Event) {\n", "\treturn\n"},
}

// buildUnrecorded compiles a server that records no transfer to dir/unrecorded, to tell
// what the audit costs. No configuration can have it so, nor should any: the compiler is
// given other sources instead of the module's own (go build -overlay).
func buildUnrecorded(ctx context.Context, dir string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("find the sources of %s: %w", module, err)
	}
	original := filepath.Join(strings.TrimSpace(string(out)), "internal", "audit", "auditor.go")
	text, err := os.ReadFile(original)
	if err != nil {
		return "", fmt.Errorf("read the sources: %w", err)
	}
	source := string(text)
	for _, r := range unrecording {
		if strings.Count(source, r[0]) != 1 {
			return "", fmt.Errorf("%s has no %q any more: say in bench/unrecorded.go where it records now", original, r[0])
		}
		source = strings.Replace(source, r[0], r[0]+r[1], 1)
	}
	changed, overlay := filepath.Join(dir, "auditor.go"), filepath.Join(dir, "overlay.json")
	plan, err := json.Marshal(map[string]any{"Replace": map[string]string{original: changed}})
	if err != nil {
		return "", fmt.Errorf("write the overlay: %w", err)
	}
	for path, content := range map[string][]byte{changed: []byte(source), overlay: plan} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return "", fmt.Errorf("write the overlay: %w", err)
		}
	}
	return peer.Compile(ctx, filepath.Join(dir, "unrecorded"), "-overlay", overlay)
}
