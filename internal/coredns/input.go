// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package coredns

import (
	"bytes"
	"reflect"

	"github.com/coredns/caddy"
)

// Corefile returns the Corefile that the instance of a controller is made of. Caddy
// gives it to nobody while the instance starts; it is read by reflection.
func Corefile(controller *caddy.Controller) (path string, text []byte, ok bool) {
	v := reflect.ValueOf(controller)
	for _, field := range []string{"instance", "caddyfileInput"} {
		if v = reflect.Indirect(v); v.Kind() != reflect.Struct {
			return "", nil, false
		}
		if v = v.FieldByName(field); !v.IsValid() || v.IsZero() {
			return "", nil, false
		}
	}
	if v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if v.Type() != reflect.TypeFor[caddy.CaddyfileInput]() {
		return "", nil, false
	}
	return v.FieldByName("Filepath").String(), bytes.Clone(v.FieldByName("Contents").Bytes()), true
}
