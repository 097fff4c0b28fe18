// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package plainfile

import "time"

const readFlags = 0

// Open fails with ErrUnsupported.
func Open(string, Rules) (*File, error) { return nil, ErrUnsupported }

// OpenOrMake fails with ErrUnsupported.
func OpenOrMake(string, Rules) (*File, bool, error) { return nil, false, ErrUnsupported }

// Lock fails with ErrUnsupported.
func (f *File) Lock(time.Time) error { return ErrUnsupported }

// LockNamed fails with ErrUnsupported.
func (f *File) LockNamed(time.Time) error { return ErrUnsupported }

// WriteOnce fails with ErrUnsupported.
func (f *File) WriteOnce([]byte) (int, error) { return 0, ErrUnsupported }

// Status fails with ErrUnsupported.
func (f *File) Status() (Status, error) { return Status{}, ErrUnsupported }

// Look fails with ErrUnsupported.
func Look(string) (Status, error) { return Status{}, ErrUnsupported }

// SyncDir fails with ErrUnsupported.
func SyncDir(string) error { return ErrUnsupported }
