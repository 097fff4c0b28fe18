// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package trail

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func init() {
	// Appends and posts until it is killed, and prints the number of every line that was
	// acknowledged.
	children["write"] = func(args []string) error {
		f, err := Open(args[0], Options{})
		if err != nil {
			return err
		}
		start, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		var mu sync.Mutex
		next := start
		number := func() int {
			mu.Lock()
			defer mu.Unlock()
			next++
			return next
		}
		for range 8 {
			go func() {
				for {
					n := number()
					if err := f.Append(testContext(), event(n)); err != nil {
						continue
					}
					// One write(2) a line: the parent never sees half of one.
					_, _ = os.Stdout.WriteString(strconv.Itoa(n) + "\n")
				}
			}()
		}
		for { // long lines, so that a group has several pages and can be torn
			_ = f.Post(fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, number(), strings.Repeat("x", 3000)))
			time.Sleep(100 * time.Microsecond)
		}
	}
}

// kill -9 at random moments: every line that was acknowledged is in the file once, and
// the log holds.
func TestKill(t *testing.T) {
	t.Parallel()
	const rounds = 30
	path := filepath.Join(t.TempDir(), "audit.log")
	var acked []int
	for round := range rounds {
		c := child(t, "write", path, strconv.Itoa(round*1_000_000))
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var errText strings.Builder
		c.Stderr = &errText
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		got := make(chan []int)
		first := make(chan struct{})
		go func() { got <- readNumbers(out, first) }()
		select {
		case <-first:
		case <-time.After(10 * time.Second):
			t.Error("the child writes nothing")
		}
		time.Sleep(time.Duration(rand.IntN(30_000)) * time.Microsecond)
		if err := c.Process.Kill(); err != nil {
			t.Error(err)
		}
		acked = append(acked, <-got...)
		_ = c.Wait() // killed
		if errText.Len() > 0 {
			t.Fatalf("round %d: %s", round, errText.String())
		}
	}
	f := openTest(t, path, Options{}) // repairs what the last round tore
	mustAppend(t, f, 0)
	mustClose(t, f)
	found := numbers(lenientLog(t, path))
	for _, n := range acked {
		if found[n] != 1 {
			t.Errorf("line %d was acknowledged and is there %d times", n, found[n])
		}
	}
	if len(acked) < rounds {
		t.Errorf("only %d lines", len(acked))
	}
	verifyGood(t, []Problem{ProblemRepaired}, path)
}

// readNumbers reads whole lines until the end, and closes first with the first of them.
func readNumbers(r io.Reader, first chan<- struct{}) []int {
	var all []int
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return all
		}
		n, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			return all
		}
		if len(all) == 0 {
			close(first)
		}
		all = append(all, n)
	}
}
