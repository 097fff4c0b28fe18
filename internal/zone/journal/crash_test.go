// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package journal

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// step is the n-th change of a zone's life: of one page or of hundreds.
func step(n uint32) Change {
	size := 300
	if n%3 == 0 {
		size = 400_000
	}
	c := Change{Append: []Delta{deltaOf(n, 0, size)}, Given: map[Digest][]string{digestOf(n+1, 0): {fmt.Sprint(n)}}}
	switch {
	case n == 0:
		c.Base = baseOf(0, 0, 60_000, 60_000)
	case n%4 == 0:
		c.Base, c.Drop = baseOf(n+1, 0, 60_000, 60_000, 60_000), 3
	}
	return c
}

func init() {
	children["update"] = func(args []string) error {
		_, _ = fmt.Fprintln(os.Stdout, begun)
		j, err := Open(args[0], Options{Timeout: 5 * time.Second})
		if err != nil {
			return err
		}
		s, err := j.Load("a.")
		if err != nil {
			return err
		}
		for n := next(s); ; n++ {
			if err := j.Update("a.", step(n)); err != nil {
				return err
			}
			_, _ = fmt.Fprintln(os.Stdout, n) // not buffered
		}
	}
}

// begun is the first line of the child that updates.
const begun = "begun"

// next is the number of the step after a state.
func next(s *State) uint32 {
	if s == nil {
		return 0
	}
	return s.Deltas[len(s.Deltas)-1].To
}

// kill -9 at random moments, also while the journal is made: the state is the last one
// that was acknowledged or the one after. The moment counts from the child's first line
// on, and lies later after a round without a step: the machine may be slow.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "journal")
	m := newModel(0)
	window := 60 * time.Millisecond
	for round := 0; round < 50 || next(m.zones["a."]) < 10 && round < 200; round++ {
		before := next(m.zones["a."])
		acked := killedChild(t, dir, before, rand.N(window))
		if acked == before {
			window = min(window*5/4, 5*time.Second)
		}
		j := mustOpen(t, dir, Options{})
		got := mustLoad(t, j, "a.")
		at := next(got)
		if at != acked && at != acked+1 {
			t.Fatalf("round %d: %d steps were acknowledged, %d are there", round, acked, at)
		}
		for n := before; n < at; n++ {
			if err := m.update("a.", step(n)); err != nil {
				t.Fatal(err)
			}
		}
		compare(t, m, j)
		mustClose(t, j)
	}
	if next(m.zones["a."]) < 10 {
		t.Errorf("only %d steps", next(m.zones["a."]))
	}
}

// killedChild runs a child that updates the journal from step n on, kills it so long
// after it has begun, and returns the number after the last step that it acknowledged.
func killedChild(t *testing.T, dir string, n uint32, after time.Duration) uint32 {
	t.Helper()
	c := exec.Command(os.Args[0], dir)
	c.Env = append(os.Environ(), childEnv+"=update")
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(out)
	if !in.Scan() || in.Text() != begun {
		t.Errorf("the child says %q", in.Text())
	}
	timer := time.AfterFunc(after, func() { _ = c.Process.Kill() })
	defer timer.Stop()
	for in.Scan() {
		var acked uint32
		if _, err := fmt.Sscan(in.Text(), &acked); err != nil || acked != n {
			t.Errorf("acknowledged %q, not %d", in.Text(), n)
		}
		n++
	}
	if err := c.Wait(); err == nil || c.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child was not killed: %v", err)
	}
	return n
}
