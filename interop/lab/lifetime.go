// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"os"
	"testing"
)

// Lifetime stands for a test where package peer, which was made for tests, wants one.
// What is started in it ends with it; a failure leaves [Attempt].
type Lifetime struct {
	testing.TB        // nil: peer calls nothing but the methods below
	Parent     string // directory for temporary ones, "" the system's
	undo       []func()
}

// failure is what Fatal panics with.
type failure struct{ error }

// Attempt calls f and returns what it failed with by a Lifetime's Fatal.
func Attempt(f func()) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case failure:
			err = r.error
		default:
			panic(r)
		}
	}()
	f()
	return nil
}

// Helper implements testing.TB.
func (l *Lifetime) Helper() {}

// Failed implements testing.TB. Servers log to files: nobody needs their last words.
func (l *Lifetime) Failed() bool { return false }

// Logf implements testing.TB.
func (l *Lifetime) Logf(format string, args ...any) { Progress(format, args...) }

// Fatal implements testing.TB.
func (l *Lifetime) Fatal(args ...any) { panic(failure{errors.New(fmt.Sprint(args...))}) }

// Fatalf implements testing.TB.
func (l *Lifetime) Fatalf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

// Cleanup implements testing.TB.
func (l *Lifetime) Cleanup(f func()) { l.undo = append(l.undo, f) }

// TempDir implements testing.TB.
func (l *Lifetime) TempDir() string {
	dir, err := os.MkdirTemp(l.Parent, "server-")
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// End undoes everything, the last thing first.
func (l *Lifetime) End() {
	for i := len(l.undo) - 1; i >= 0; i-- {
		l.undo[i]()
	}
	l.undo = nil
}
