// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package coredns

import (
	"errors"
	"fmt"
	"slices"
)

// guardName is the directive of the guard.
const guardName = "xfrguard"

// CheckOrder reports a directive order in which a plugin could answer or change a
// transfer before the door meets it, or hide refusals from those that report them.
func CheckOrder(directives []string) error {
	at := slices.Index(directives, guardName)
	if at < 0 {
		return errors.New("not in the directive order: add it to plugin.cfg right after dnstap")
	}
	for _, d := range []string{"metadata", "prometheus", "errors", "log", "dnstap"} {
		if i := slices.Index(directives, d); i > at {
			return fmt.Errorf("stands before %s in the directive order: move it in plugin.cfg right after dnstap", d)
		}
	}
	dnstap := slices.Index(directives, "dnstap")
	for i, d := range directives[:at] {
		if i > dnstap && dnstap >= 0 || slices.Contains(Answering, d) {
			return fmt.Errorf("stands after %s in the directive order: move it in plugin.cfg right after dnstap", d)
		}
	}
	return nil
}

// Answering are CoreDNS's own plugins that answer queries, change them, or decide
// about them. None may stand in front of the door.
var Answering = []string{
	"local", "dns64", "siit", "any", "chaos", "loadbalance", "tsig", "rewrite", "autopath", "acl", "cache", "header",
	"dnssec", "minimal", "template", "transfer", "dynupdate", "hosts", "route53", "azure", "clouddns", "k8s_external",
	"kubernetes", "file", "auto", "secondary", "etcd", "loop", "forward", "grpc", "erratic", "whoami", "sign", "nomad",
}

// Harmless are the handlers that may stand in front of the door: CoreDNS's own,
// known not to answer a transfer.
var Harmless = []string{
	"metadata", "geoip", "cancel", "bufsize", "debug", "trace", "ready", "health", "pprof", "shed", "prometheus",
	"errors", "log", "dnstap", "nsid", "reload", "view", guardName,
}
