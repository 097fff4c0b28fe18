// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package lab is what the programs that measure servers share: lifetimes in which package
// peer starts them outside a test, and what /proc says of their processes.
package lab

import (
	"fmt"
	"os"
	"time"
)

// Progress tells on standard error what goes on.
func Progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
