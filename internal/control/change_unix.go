// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Change rewrites a file of a control directory: all of the new content is there, or
// the old one, at whatever moment somebody looks or the machine stops. Two that change
// files of one directory do it one after the other. An edit that returns no content
// removes the file.
func Change(dir, name string, edit func(old string) (string, error)) error {
	handle, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer handle.Close()
	if err := unix.Flock(int(handle.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("locking %s: %w", dir, err)
	}
	path := filepath.Join(dir, name)
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s is %s: it comes from elsewhere, such as a Kubernetes mount; change it there", path, st.Mode().Type())
	}
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text, err := edit(string(old))
	switch {
	case err != nil:
		return err
	case text == "" && st == nil:
		return nil
	case text == "":
		return errors.Join(os.Remove(path), handle.Sync())
	case st != nil && text == string(old):
		return nil
	}
	return replace(handle, path, text)
}

func replace(dir *os.File, path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	return dir.Sync()
}
