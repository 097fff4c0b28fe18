// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package journal

import (
	"errors"
	"os"
	"time"
)

// Without flock and O_NOFOLLOW there is no journal: one that cannot keep its promises is refused.
var errNoFile = errors.New("a journal needs a unix system: keep versions in memory")

func openOrMake(string, time.Duration) (*os.File, bool, error) { return nil, false, errNoFile }
func publish(string) error                                     { return errNoFile }
func closeFile(f *os.File) error                               { return f.Close() }
