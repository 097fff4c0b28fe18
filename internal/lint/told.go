// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package lint

import "github.com/xfrguard/xfrguard/internal/finding"

// CheckVariable is the environment variable with which CoreDNS runs the setup of every
// plugin, says what the self-check finds, and ends before anything listens or is opened:
// "json" is for programs, a [Told] a line, every other value for people.
const CheckVariable = "XFRGUARD_CHECK"

// Told is a finding on its way from CoreDNS to a command, as a line of JSON.
type Told struct {
	Code  finding.Code  `json:"code"`
	Level finding.Level `json:"level"`
	Fails bool          `json:"fails"` // CoreDNS does not start, because of findings fail
	File  string        `json:"file"`
	Line  int           `json:"line"`
	Block string        `json:"block"`
	Text  string        `json:"text"`
}

// Checked is the last line: the whole Corefile has been looked at.
type Checked struct {
	Checked  bool `json:"checked"`
	Findings int  `json:"findings"`
}

// Tell is the finding for a command; fails says that it would end the start.
func (f *Finding) Tell(fails bool) Told {
	return Told{Code: f.Code, Level: f.Level(), Fails: fails, File: f.Pos.File, Line: f.Pos.Line, Block: f.Block, Text: f.Text}
}
