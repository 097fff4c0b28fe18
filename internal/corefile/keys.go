// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package corefile

import "errors"

// CheckKeys looks that every TSIG key which the directives of a server block name is one
// that its tsig plugin has. The error holds every mistake, see [Mistakes].
func CheckKeys(configs []*Config, has func(key string) bool) error {
	var mistakes []error
	for _, cfg := range configs {
		for i, rule := range cfg.Rules {
			for _, key := range rule.Keys {
				if !has(key) {
					mistakes = append(mistakes, errAt(cfg.RulePos[i], `rule %q wants TSIG key %s, which is not in the tsig plugin of this server block`, rule.Name, key))
				}
			}
		}
		for _, n := range cfg.Notify {
			if n.Key != "" && n.Rule == "" && !has(n.Key) {
				mistakes = append(mistakes, errAt(n.Pos, "notify wants TSIG key %s, which is not in the tsig plugin of this server block", n.Key))
			}
		}
	}
	return errors.Join(mistakes...)
}
