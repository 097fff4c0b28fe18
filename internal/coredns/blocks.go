// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package coredns

import (
	"cmp"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
)

// Block is one server block.
type Block struct {
	Index   int
	Configs []*dnsserver.Config // one a key; the first holds the chain of all
}

// Blocks returns the server blocks of the Corefile. CoreDNS keeps them to itself;
// their indexes are read by reflection, the configs through its own function.
func Blocks(controller *caddy.Controller) ([]Block, error) {
	v := reflect.ValueOf(controller.Context())
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	unknown := errors.New("this CoreDNS keeps its server blocks where xfrguard does not find them; build with the version in go.mod")
	if v.Kind() != reflect.Struct {
		return nil, unknown
	}
	keys := v.FieldByName("keysToConfigs")
	if keys.Kind() != reflect.Map || keys.Type().Key().Kind() != reflect.String || keys.Len() == 0 {
		return nil, unknown
	}
	byIndex := make(map[int]map[int]*dnsserver.Config)
	for _, key := range keys.MapKeys() {
		i, k, ok := strings.Cut(key.String(), ":")
		bi, err1 := strconv.Atoi(i)
		ki, err2 := strconv.Atoi(k)
		if !ok || err1 != nil || err2 != nil {
			return nil, unknown
		}
		c := *controller
		c.ServerBlockIndex, c.ServerBlockKeyIndex = bi, ki
		if byIndex[bi] == nil {
			byIndex[bi] = make(map[int]*dnsserver.Config)
		}
		byIndex[bi][ki] = dnsserver.GetConfig(&c)
	}
	var blocks []Block
	for i, configs := range byIndex {
		b := Block{Index: i}
		for k := range len(configs) {
			if configs[k] == nil {
				return nil, unknown
			}
			b.Configs = append(b.Configs, configs[k])
		}
		blocks = append(blocks, b)
	}
	slices.SortFunc(blocks, func(a, b Block) int { return cmp.Compare(a.Index, b.Index) })
	return blocks, nil
}
