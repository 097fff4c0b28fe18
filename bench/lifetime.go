// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"testing"
)

// lifetime stands for a test where package peer, which was made for tests, wants one.
// What is started in it ends with it; a failure leaves [attempt].
type lifetime struct {
	testing.TB // nil: peer calls nothing but the methods below
	parent     string
	undo       []func()
}

// failure is what Fatal panics with.
type failure struct{ error }

// attempt calls f and returns what it failed with by a lifetime's Fatal.
func attempt(f func()) (err error) {
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
func (l *lifetime) Helper() {}

// Failed implements testing.TB. Servers log to files: nobody needs their last words.
func (l *lifetime) Failed() bool { return false }

// Logf implements testing.TB.
func (l *lifetime) Logf(format string, args ...any) { progress(format, args...) }

// Fatal implements testing.TB.
func (l *lifetime) Fatal(args ...any) { panic(failure{errors.New(fmt.Sprint(args...))}) }

// Fatalf implements testing.TB.
func (l *lifetime) Fatalf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

// Cleanup implements testing.TB.
func (l *lifetime) Cleanup(f func()) { l.undo = append(l.undo, f) }

// TempDir implements testing.TB.
func (l *lifetime) TempDir() string {
	dir, err := os.MkdirTemp(l.parent, "server-")
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// end undoes everything, the last thing first.
func (l *lifetime) end() {
	for i := len(l.undo) - 1; i >= 0; i-- {
		l.undo[i]()
	}
	l.undo = nil
}
