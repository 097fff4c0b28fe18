// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package control

import "errors"

// Change fails: a control directory needs a unix system.
func Change(string, string, func(string) (string, error)) error {
	return errors.New("a control directory needs a unix system")
}
