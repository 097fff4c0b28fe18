// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// allServers is every server that can be attacked, ours first.
func allServers() []software {
	return []software{
		{name: "ours", ours: true, configure: configureOurs},
		{name: "named", configure: configureNamed},
		{name: "nsd", configure: configureNSD},
		{name: "knotd", configure: configureKnot},
		{name: "pdns_server", configure: configurePDNS},
		{name: "coredns", configure: configureStock},
	}
}

// ownRule is wide enough for an honest secondary that transfers ten times a second, which no
// real one does; everything else is as the defaults have it.
const ownRule = "allow as own net " + ownAddress + " key own.test. rate 12000/1m"

// guard is the directive under attack.
func (s *server) guard() string {
	var keys []string
	for i := range crowdKeys {
		keys = append(keys, crowdKey(i).Name)
	}
	return fmt.Sprintf(`	xfrguard %s %s {
		%s
		allow as crowd net %s %s key %s
		audit file %s
		%s
	}
`, origin, bigOrigin, ownRule, sharedAddress, crowdNet, strings.Join(keys, " "), s.audit, s.options)
}

// secrets writes the file of the tsig plugin.
func (s *server) secrets() string {
	var b strings.Builder
	for _, k := range allKeys() {
		fmt.Fprintf(&b, "key %q {\n\talgorithm %s;\n\tsecret %q;\n};\n", k.Name, k.Alg(), k.Secret)
	}
	s.write("keys", b.String())
	return s.path("keys")
}

// files are the backends of both zones.
func (s *server) files() string {
	return fmt.Sprintf("\tfile %s %s {\n\t\treload 1s\n\t}\n\tfile %s %s {\n\t\treload 1s\n\t}\n", s.zoneFile(), origin, s.bigFile(), bigOrigin)
}

func configureOurs(s *server) []string {
	shared := filepath.Dir(s.dir)
	common := fmt.Sprintf("\terrors\n\ttsig {\n\t\tsecrets %s\n\t}\n%s%s}\n", s.secrets(), s.guard(), s.files())
	s.write("Corefile", fmt.Sprintf("%s:%d %s:%d {\n\tbind 127.0.0.1\n\tprometheus 127.0.0.1:%d\n%stls://%s:%d tls://%s:%d {\n\tbind 127.0.0.1\n\ttls %s %s\n%s",
		origin, s.port, bigOrigin, s.port, s.metrics, common, origin, s.tls, bigOrigin, s.tls, filepath.Join(shared, "cert.pem"), filepath.Join(shared, "cert.key"), common))
	return []string{s.coredns, "-conf", s.path("Corefile")}
}

// configureStock is the same binary without the guard: its own transfer and tsig plugins.
func configureStock(s *server) []string {
	s.write("Corefile", fmt.Sprintf("%s:%d %s:%d {\n\tbind 127.0.0.1\n\terrors\n\ttsig {\n\t\tsecrets %s\n\t\trequire AXFR IXFR\n\t}\n\ttransfer {\n\t\tto *\n\t}\n%s}\n",
		origin, s.port, bigOrigin, s.port, s.secrets(), s.files()))
	return []string{s.coredns, "-conf", s.path("Corefile")}
}
