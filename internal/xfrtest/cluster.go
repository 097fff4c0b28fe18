// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/transfer"
	"github.com/miekg/dns"
)

// ClusterName is a backend of these tests that does what kubernetes does: it serves
// any name at or below its zone, and its serial is the second of the last change.
const ClusterName = "fakecluster"

func init() {
	plugin.Register(ClusterName, func(c *caddy.Controller) error {
		for c.Next() {
			for _, name := range c.RemainingArgs() {
				backend, ok := clusters.Load(name)
				if !ok {
					return fmt.Errorf("no cluster %s", name)
				}
				dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler {
					h := backend.(*Cluster)
					h.Next = next
					return h
				})
			}
		}
		return nil
	})
	i := slices.Index(dnsserver.Directives, "kubernetes")
	dnsserver.Directives = slices.Insert(dnsserver.Directives, i, ClusterName)
}

// clusters are the backends of running tests, by the name that a Corefile has for them.
var clusters sync.Map

// Cluster is such a backend.
type Cluster struct {
	Next  plugin.Handler
	Zones []string // its list, as kubernetes has it: with a reverse zone
	zone  string

	Mu       sync.Mutex
	serial   uint32
	services []string
	Asked    []uint32      // the serials of the requests for it
	Hangs    chan struct{} // the end of the zone comes once it is closed; nil: at once
}

// NewCluster registers a backend for the zone; the Corefile calls it by the zone's name.
func NewCluster(t *testing.T, zone string, serial uint32, services ...string) *Cluster {
	t.Helper()
	c := &Cluster{Zones: []string{zone, "2.0.192.in-addr.arpa."}, zone: zone, serial: serial, services: services}
	clusters.Store(zone, c)
	t.Cleanup(func() { clusters.Delete(zone) })
	return c
}

// Change gives it other services under another serial.
func (c *Cluster) Change(serial uint32, services ...string) {
	c.Mu.Lock()
	defer c.Mu.Unlock()
	c.serial, c.services = serial, services
}

// Name implements plugin.Handler.
func (*Cluster) Name() string { return ClusterName }

// ServeDNS implements plugin.Handler: it leaves every query to the next plugin.
// ServeDNS implements plugin.Handler: it leaves every query to the next plugin.
func (c *Cluster) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	return plugin.NextOrFailure(c.Name(), c.Next, ctx, w, r)
}

// Transfer implements transfer.Transferer.
func (c *Cluster) Transfer(zone string, serial uint32) (<-chan []dns.RR, error) {
	if !plugin.Name(c.zone).Matches(zone) {
		return nil, transfer.ErrNotAuthoritative
	}
	c.Mu.Lock()
	defer c.Mu.Unlock()
	c.Asked = append(c.Asked, serial)
	soa := []dns.RR{&dns.SOA{
		Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 5},
		Ns:  "ns.dns." + zone, Mbox: "hostmaster." + zone, Serial: c.serial, Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: 5,
	}}
	ch := make(chan []dns.RR)
	if serial != 0 && serial == c.serial {
		go func() { ch <- soa; close(ch) }()
		return ch, nil
	}
	services, hangs := slices.Clone(c.services), c.Hangs
	go func() {
		defer close(ch)
		ch <- soa
		ch <- nil // kubernetes sends an empty batch when it has no address for itself
		for _, s := range services {
			ch <- []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: s + ".svc." + zone, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 5}, Txt: []string{s}}}
		}
		if hangs != nil {
			<-hangs
		}
		ch <- soa
	}()
	return ch, nil
}
