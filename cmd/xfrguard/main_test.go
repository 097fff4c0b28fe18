// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/xfrguard/xfrguard/internal/trail"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"xfrguard": main})
}

// The scripts show what an operator does and sees. Besides xfrguard itself they have:
//
//	record LOG COUNT [KEY]   what CoreDNS does: opens LOG, appends COUNT events, closes it; prints checkpoints as it would to its log
//	lose LOG COUNT           what CoreDNS records when so many denials found its queue full
//	crash LOG TEXT           a last line that a crash tore
//	tamper HOW LOG LINE...   what a hand with write access does: flip, delete, swap, insert, duplicate, cut
//	splice A B LINE          the first lines of A, from LINE on those of B
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"record": record, "crash": crash, "lose": lose, "tamper": tamper, "splice": splice,
		},
	})
}

func record(ts *testscript.TestScript, _ bool, args []string) {
	count, err := strconv.Atoi(args[1])
	ts.Check(err)
	opts := trail.Options{CheckpointEvery: 5, OnCheckpoint: func(note string) {
		fmt.Fprintf(ts.Stdout(), "[INFO] plugin/xfrguard: audit checkpoint %q\n", note)
	}}
	if len(args) > 2 {
		opts.Key, err = trail.ReadKey(ts.MkAbs(args[2]))
		ts.Check(err)
	}
	f, err := trail.Open(ts.MkAbs(args[0]), opts)
	ts.Check(err)
	for n := range count {
		ts.Check(f.Append(context.Background(), fmt.Appendf(nil, `{"event.action":"zone-transfer-decision","n":%d}`, n)))
	}
	ts.Check(f.Close())
}

func lose(ts *testscript.TestScript, _ bool, args []string) {
	f, err := trail.Open(ts.MkAbs(args[0]), trail.Options{})
	ts.Check(err)
	ts.Check(f.Append(context.Background(), fmt.Appendf(nil,
		`{"event.action":"audit-gap","event.reason":"busy","error.message":"audit file is busy",%q:%s,%q:0,%q:%s,%q:"2026-11-25T12:00:00Z"}`,
		trail.FieldLost, args[1], trail.FieldLostAllowed, trail.FieldLostDenials, args[1], trail.FieldSince)))
	ts.Check(f.Close())
}

func crash(ts *testscript.TestScript, _ bool, args []string) {
	change(ts, args[0], func(lines []string) []string { return append(lines, args[1]) })
}

func splice(ts *testscript.TestScript, _ bool, args []string) {
	at, err := strconv.Atoi(args[2])
	ts.Check(err)
	b := slices.Collect(strings.Lines(ts.ReadFile(args[1])))
	change(ts, args[0], func(a []string) []string { return append(a[:at-1], b[at-1:]...) })
}

func tamper(ts *testscript.TestScript, _ bool, args []string) {
	var at []int
	for _, a := range args[2:] {
		n, err := strconv.Atoi(a)
		ts.Check(err)
		at = append(at, n-1)
	}
	change(ts, args[1], func(l []string) []string {
		switch n := at[0]; args[0] {
		case "flip":
			l[n] = strings.Replace(l[n], `"n":`, `"n":9`, 1)
		case "delete":
			l = slices.Delete(l, n, n+1)
		case "swap":
			l[n], l[at[1]] = l[at[1]], l[n]
		case "insert":
			l = slices.Insert(l, n, "{\"event.action\":\"zone-transfer-decision\"}\n")
		case "duplicate":
			l = slices.Insert(l, n+1, l[n])
		case "cut":
			l = l[:n]
		default:
			ts.Fatalf("tamper %s?", args[0])
		}
		return l
	})
}

func change(ts *testscript.TestScript, name string, f func(lines []string) []string) {
	lines := f(slices.Collect(strings.Lines(ts.ReadFile(name))))
	ts.Check(os.WriteFile(ts.MkAbs(name), []byte(strings.Join(lines, "")), 0o600))
}
