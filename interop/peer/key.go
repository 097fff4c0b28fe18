// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// Key is a TSIG key (RFC 8945). Its secret is of the tests only.
type Key struct {
	Name      string // absolute, with the final dot
	Algorithm string // absolute, as miekg/dns has it: "hmac-sha256."
	Secret    string // base64
}

// Short is the key's name without the final dot, as most configuration files
// want it.
func (k Key) Short() string { return strings.TrimSuffix(k.Name, ".") }

// Alg is the algorithm without the final dot.
func (k Key) Alg() string { return strings.TrimSuffix(k.Algorithm, ".") }

// Dig is the key as -y of dig and kdig takes it.
func (k Key) Dig() string { return fmt.Sprintf("%s:%s:%s", k.Alg(), k.Short(), k.Secret) }

// Drill is the key as -y of drill takes it.
func (k Key) Drill() string { return fmt.Sprintf("%s:%s:%s", k.Name, k.Secret, k.Alg()) }

// Binary returns the path of a program that the tests need. Without it the test
// fails: a peer that is not asked is a peer that is not supported.
func Binary(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		for _, dir := range []string{"/usr/sbin/", "/usr/bin/", "/usr/local/sbin/"} {
			if found, err := exec.LookPath(dir + name); err == nil {
				return found
			}
		}
		t.Fatalf("%s is not installed; `make test` installs the peers, XFRGUARD_SKIP_PEERS=1 goes without: %v", name, err)
	}
	return path
}
