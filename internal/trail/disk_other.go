// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package trail

import "errors"

// osDisk is not there on systems without flock and O_NOFOLLOW: an audit file that cannot keep its promises is refused.
type osDisk struct{}

var errNoDisk = errors.New("audit files need a unix system: use another sink")

func (osDisk) lock(string) (pathLock, error)   { return nil, errNoDisk }
func (osDisk) open(string, bool) (file, error) { return nil, errNoDisk }
func (osDisk) lstat(string) (status, error)    { return status{}, errNoDisk }
func (osDisk) syncDir(string) error            { return errNoDisk }
