// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package control

import (
	"errors"
	"io/fs"
	"os"
	"time"
)

const openFlags = 0

// checkOwner refuses everything: who may write cannot be told here.
func checkOwner(*os.File, fs.FileInfo) error {
	return errors.New("a control directory needs a unix system")
}

func ownerOf(fs.FileInfo) string { return "" }

func changeTime(st fs.FileInfo) time.Time { return st.ModTime() }
