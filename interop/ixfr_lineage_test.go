// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/rrset"
	"github.com/xfrguard/xfrguard/interop/zonegen"
)

// The zone's content changes without its serial, by the file's time or when the Corefile
// is read again. That is on record, and every client with that serial or an earlier one
// gets the whole zone: then, and when it comes later, although others of its rule have it
// by then.
func TestIXFRContentWithoutSerial(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"reload_by_mtime", "SIGUSR1"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			contentWithoutSerial(t, how)
		})
	}
}

func contentWithoutSerial(t *testing.T, how string) {
	zone := zonegen.NewChurn(ixfrZone, 1, ixfrSeed(t))
	p := newIncremental(t, nil, "", zone.String())
	if how == "reload_by_mtime" {
		p.corefile = strings.Replace(p.corefile, "reload 20ms", "reload 20ms\n\t\treload_by_mtime", 1)
	}
	p.start(t)
	key := ixfrKeys["named"]
	ask := func(serial uint32) question { return question{client: "raw", key: key, serial: serial} }

	one := p.publish(t, zone.String(), 1)
	question{client: "dig", key: key, whole: true}.expect(t, p, nil, one, rrset.Whole, "axfr")
	zone.Edit(2)
	two := p.publish(t, zone.String(), 2)
	ask(1).expect(t, p, one, two, rrset.Difference, "ixfr")
	ask(2).expect(t, p, two, two, rrset.SOAOnly, "up-to-date")

	zone.Edit(2)
	other := p.write(t, zone.String()+"other 60 IN TXT \"content\"\n")
	if how == "SIGUSR1" {
		p.reload(t)
		p.reloaded(t)
	}
	eventually(t, "the other content to be served", func() error {
		q := new(dns.Msg)
		q.SetQuestion("other."+ixfrZone, dns.TypeTXT)
		r, err := dns.Exchange(q, peer.Loopback(p.port))
		if err == nil && len(r.Answer) == 0 {
			err = errors.New("it is not")
		}
		return err
	})
	ask(2).expect(t, p, two, other, rrset.Whole, "axfr-fallback")
	ask(1).expect(t, p, one, other, rrset.Whole, "axfr-fallback")
	lineageOnRecord(t, p, 2)

	zone.Edit(3)
	three := p.publish(t, zone.String(), 3)
	ask(2).expect(t, p, two, three, rrset.Whole, "axfr-fallback")
	zone.Edit(4)
	ask(3).expect(t, p, three, p.publish(t, zone.String(), 4), rrset.Difference, "ixfr")
	lineageOnRecord(t, p, 2)
}

// lineageOnRecord checks that one change of content under that serial is on record.
func lineageOnRecord(t *testing.T, p *incremental, serial uint32) {
	t.Helper()
	var changes, events []peer.Event
	eventually(t, "one change of lineage to be on record", func() error {
		events, changes = p.events(t), nil
		for _, e := range events {
			if e.Action == peer.ActionLineage {
				changes = append(changes, e)
			}
		}
		if len(changes) != 1 {
			return fmt.Errorf("%d are", len(changes))
		}
		return nil
	})
	e := changes[0]
	before, after := "", ""
	for _, x := range events {
		if x.Action == peer.ActionEnd && x.Serial == serial && x.Served == "ixfr" {
			before = x.Digest
		} else if x.Action == peer.ActionEnd && x.Serial == serial && x.Served == "axfr-fallback" {
			after = x.Digest
		}
	}
	if e.Zone != ixfrZone || e.Serial != serial || e.Digest != after || e.Digest == before || after == "" {
		t.Errorf("content %.20s before and %.20s after, on record: %s", before, after, e.Line)
	}
	if !strings.Contains(e.Line, `"event.code":"XFR130"`) {
		t.Errorf("not XFR130: %s", e.Line)
	}
}
