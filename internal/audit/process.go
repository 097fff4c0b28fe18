// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"runtime/debug"
	"strings"
)

// processInfo is what every event says about the process that wrote it.
type processInfo struct {
	host, version, ephemeral string
	fields                   []byte // the same as JSON members, each with a leading comma
}

// process is this process. Sequences and chains are per sink; service.ephemeral_id
// tells two runs apart.
var process = newProcessInfo(hostname(), moduleVersion("github.com/coredns/coredns"), ephemeralID())

func newProcessInfo(host, version, ephemeral string) processInfo {
	o := object{buf: []byte{'{', ' '}}
	o.word("service.name", "coredns")
	o.word("service.version", version)
	o.word("service.ephemeral_id", ephemeral)
	o.str("host.name", host, capRule)
	return processInfo{host, version, ephemeral, o.buf[2:]}
}

func hostname() string {
	h, err := os.Hostname()
	if err != nil {
		return ""
	}
	return h
}

func ephemeralID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand since Go 1.24)
	return hex.EncodeToString(b[:])
}

// moduleVersion returns the version of a module linked into this binary, without
// the v, or "" when the build does not say.
func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == path {
			return strings.TrimPrefix(m.Version, "v")
		}
	}
	return ""
}
