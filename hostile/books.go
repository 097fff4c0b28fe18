// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// books is what an audit file holds.
type books struct {
	decisions, folded, lost int64
	allowed, ended          int64
	unpaired                int64
	stopped                 bool // the last line but the file's own says so
	reasons                 map[string]int64
}

// line is what the books need of an event.
type line struct {
	Action     string   `json:"event.action"`
	Types      []string `json:"event.type"`
	Reason     string   `json:"event.reason"`
	ID         string   `json:"coredns.xfr.id"`
	Count      int64    `json:"coredns.xfr.suppressed.count"`
	Lost       int64    `json:"coredns.xfr.audit.lost"`
	LostAllow  int64    `json:"coredns.xfr.audit.lost_allowed"`
	LostDenied int64    `json:"coredns.xfr.audit.lost_denials"`
	Late       int64    `json:"coredns.xfr.audit.late"`
	Complete   bool     `json:"coredns.xfr.complete"`
}

// readBooks reads an audit file.
func readBooks(path string) (*books, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the audit file: %w", err)
	}
	defer f.Close()
	b := &books{reasons: map[string]int64{}}
	open, whole := map[string]bool{}, map[string]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<10)
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			continue // torn by a kill; xfrguard verify judges
		}
		b.add(&l, open, whole)
	}
	b.unpaired += int64(len(open))
	return b, lines.Err()
}

func (b *books) add(l *line, open, whole map[string]bool) {
	switch l.Action {
	case "zone-transfer-decision":
		b.decisions++
		b.reasons[l.Reason]++
		if slices.Contains(l.Types, "allowed") {
			if l.Complete { // an end of its own only if it could not be sent
				whole[l.ID] = true
				return
			}
			b.allowed++
			open[l.ID] = true
		}
	case "zone-transfer-end":
		if whole[l.ID] {
			delete(whole, l.ID)
			return
		}
		b.ended++
		b.reasons["end "+l.Reason]++
		if !open[l.ID] {
			b.unpaired++
		}
		delete(open, l.ID)
	case "zone-transfer-denied":
		b.folded += l.Count
	case "audit-gap":
		b.lost += l.Lost - l.Late
	case "audit-stop":
		b.stopped = true
	}
}

// faults tells what does not balance. requests is what the metrics counted, or negative
// where nobody could ask them last.
func (b *books) faults(requests float64) (list []string) {
	if b.lost != 0 {
		list = append(list, fmt.Sprintf("%d events lost", b.lost))
	}
	if b.unpaired != 0 {
		list = append(list, fmt.Sprintf("%d of %d transfers without exactly one end", b.unpaired, b.allowed))
	}
	if !b.stopped {
		list = append(list, "no audit-stop")
	}
	if on := float64(b.decisions + b.folded); requests >= 0 && on != requests {
		list = append(list, fmt.Sprintf("%.0f requests counted, %.0f on record", requests, on))
	}
	return list
}

// verify runs `xfrguard verify` on the audit file.
func (h *hostile) verify(path string) error {
	if h.binTool == "" {
		tool := h.dir + "/xfrguard"
		out, err := exec.Command("go", "build", "-o", tool, "github.com/xfrguard/xfrguard/cmd/xfrguard").CombinedOutput()
		if err != nil {
			return fmt.Errorf("build cmd/xfrguard: %w\n%s", err, out)
		}
		h.binTool = tool
	}
	out, err := exec.Command(h.binTool, "verify", path).CombinedOutput()
	if err != nil {
		text := strings.TrimSpace(string(out))
		return fmt.Errorf("xfrguard verify: %w: %s", err, text[max(0, len(text)-300):])
	}
	return nil
}
