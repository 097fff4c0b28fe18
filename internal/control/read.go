// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package control

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

// dataLink is what a Kubernetes mount changes at once: all files are links through it to
// a directory of their generation.
const dataLink = "..data"

// fileMax is the most octets of a file that are read.
const fileMax = 1 << 20

// guardItself is who freezes where nobody says so.
const guardItself = "xfrguard"

// looks bound how often a mount is read anew that changes meanwhile.
const looks = 8

// content is one file as it was read.
type content struct {
	text  string
	owner string
	time  time.Time
}

// read returns what a directory says now, and the lines of approve, nil where they could
// not be read. Where something cannot be read the state before stays; without one all
// transfers are frozen.
func read(path string, before *State) (*State, []Approval) {
	files, errs, err := readFiles(path)
	if err != nil {
		return fallback(before, err), nil
	}
	s := &State{Zones: map[string]Note{}}
	switch c, err := files[FreezeFile], errs[FreezeFile]; {
	case err != nil: // it is there
		s.All = &Note{Text: "the file freeze is there and cannot be read", By: guardItself}
		s.Err = err
	case c != nil:
		n := ParseNote(c.text, c.owner)
		s.All = &n
	}
	err = errs[ZonesFile]
	if c := files[ZonesFile]; c != nil && err == nil {
		s.Zones, err = ParseZones(c.text, c.owner)
	}
	if err != nil {
		old := fallback(before, err)
		if s.All == nil && (before == nil || before.Err != nil) {
			s.All = old.All
		}
		for apex, n := range old.Zones {
			if _, ok := s.Zones[apex]; !ok {
				s.Zones[apex] = n
			}
		}
		s.Err = errors.Join(s.Err, err)
	}
	lines, err := []Approval{}, errs[ApproveFile]
	if c := files[ApproveFile]; c != nil && err == nil {
		lines, err = ParseApprovals(c.text, c.owner, c.time)
	}
	s.Err = errors.Join(s.Err, err)
	if errs[ApproveFile] != nil {
		lines = nil
	}
	return s, lines
}

func fallback(before *State, err error) *State {
	if before != nil {
		return &State{All: before.All, Zones: before.Zones, Err: err}
	}
	return &State{All: &Note{Text: "the control directory could not be read at start", By: guardItself}, Zones: map[string]Note{}, Err: err}
}

// readFiles reads the files that are there, all of one generation.
func readFiles(path string) (files map[string]*content, errs map[string]error, err error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	if err := checkDir(root, ".", path); err != nil {
		return nil, nil, err
	}
	for range looks {
		generation, _ := root.Readlink(dataLink)
		files, errs = make(map[string]*content), make(map[string]error)
		for _, name := range []string{FreezeFile, ZonesFile, ApproveFile} {
			c, err := readFile(root, name, generation)
			switch {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil:
				errs[name] = fmt.Errorf("%s in %s: %w", name, path, err)
			default:
				files[name] = c
			}
		}
		if now, _ := root.Readlink(dataLink); now == generation {
			return files, errs, nil
		}
	}
	return nil, nil, fmt.Errorf("%s changes while it is being read", path)
}

func readFile(root *os.Root, name, generation string) (*content, error) {
	st, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	path := name
	if st.Mode()&fs.ModeSymlink != 0 {
		target, err := root.Readlink(name)
		if err != nil {
			return nil, err
		}
		if target != dataLink+"/"+name {
			return nil, errors.New("it is a link, and not one of a Kubernetes mount: write a file")
		}
		if err := checkGeneration(root, generation); err != nil {
			return nil, err
		}
		path = generation + "/" + name
	}
	f, err := root.OpenFile(path, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err = f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("it is %s: not a regular file", st.Mode())
	}
	if err := checkOwner(f, st); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, fileMax+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > fileMax:
		return nil, fmt.Errorf("it is longer than %d bytes", fileMax)
	}
	return &content{text: string(text), owner: ownerOf(st), time: changeTime(st)}, nil
}

// checkGeneration holds the name of a directory beside the files: nothing leads elsewhere.
func checkGeneration(root *os.Root, name string) error {
	if len(name) < 3 || !strings.HasPrefix(name, "..") || strings.ContainsAny(name, "/\\") {
		return errors.New("..data is no link of a Kubernetes mount")
	}
	st, err := root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist): // not the same as a file that is not there
		return errors.New("..data leads to nothing")
	case err != nil:
		return err
	case !st.IsDir():
		return errors.New("..data leads to no directory")
	}
	return checkDir(root, name, name)
}

func checkDir(root *os.Root, name, path string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if err := checkOwner(f, st); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
