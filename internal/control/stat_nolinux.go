// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux

package control

import (
	"io/fs"
	"os"
	"time"
)

// readOnly is not asked here: what others may write is refused.
func readOnly(*os.File) bool { return false }

func changeTime(st fs.FileInfo) time.Time { return st.ModTime() }
