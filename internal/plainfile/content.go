// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package plainfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Read reads a regular file of at most that many bytes, also by way of a link, and
// returns its mode with it. A pipe does not hold it up. Errors hold nothing of what is
// in it.
func Read(path string, most int64) ([]byte, fs.FileMode, error) {
	// Opening a device can already do something, so look first; what counts is the look at
	// the open file.
	if st, err := os.Stat(path); err != nil {
		return nil, 0, err
	} else if !st.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is %s: not a regular file", path, st.Mode())
	}
	f, err := os.OpenFile(path, os.O_RDONLY|readFlags, 0)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !st.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is %s: not a regular file", path, st.Mode())
	}
	content, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, 0, err
	}
	if int64(len(content)) > most {
		return nil, 0, fmt.Errorf("%s is longer than %d bytes", path, most)
	}
	return content, st.Mode(), nil
}

// WriteNew writes a file that must not exist yet, durably: all of it or none.
func WriteNew(path string, content []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close(), SyncDir(filepath.Dir(path)))
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}
