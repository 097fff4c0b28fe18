// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/lint"
)

// patience is how long CoreDNS may take for its setups: it reads zone files in them.
const patience = 5 * time.Minute

// Ask lets a CoreDNS check the Corefile, and adds what it finds and is not known yet.
func (c *Corefile) Ask(binary string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-conf", c.Path)
	cmd.Env = append(os.Environ(), lint.CheckVariable+"=json")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("let %s check the Corefile: %w", binary, err)
	}
	checked := false
	for line := range strings.Lines(out.String()) {
		var h lint.Told
		var end lint.Checked
		switch {
		case json.Unmarshal([]byte(line), &end) == nil && end.Checked:
			checked = true
		case json.Unmarshal([]byte(line), &h) == nil && h.Code != "":
			c.hear(&h)
		}
	}
	c.sort()
	if checked {
		return nil
	}
	if err == nil {
		return fmt.Errorf("%s has ended without a check: is it a CoreDNS with xfrguard?", binary)
	}
	c.refusal(out.String() + errs.String())
	return nil
}

// hear adds a finding, unless the text alone has told it.
func (c *Corefile) hear(h *lint.Told) {
	for _, p := range c.Problems {
		if p.Code == h.Code && p.Pos.Line == h.Line && p.Pos.File == h.File {
			return
		}
	}
	level := Level(h.Level)
	if h.Fails {
		level = Error
	}
	c.Problems = append(c.Problems, Problem{Code: h.Code, Level: level, Pos: corefile.Position{File: h.File, Line: h.Line}, Block: h.Block, Text: h.Text})
}

// refusal adds why CoreDNS does not start, the last line that it printed, unless a mistake
// has been found already.
func (c *Corefile) refusal(printed string) {
	for _, p := range c.Problems {
		if p.Code == Mistake {
			return
		}
	}
	lines := strings.Split(strings.TrimSpace(printed), "\n")
	p := c.syntax(errors.New(lines[len(lines)-1])) //nolint:err113 // CoreDNS's words
	c.Problems = append(c.Problems, p)
}
