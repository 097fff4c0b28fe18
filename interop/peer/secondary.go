// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/interop/rrset"
)

// Zone is a zone that a secondary is to pull.
type Zone struct {
	Origin string // absolute, lower case
	Key    Key    // its requests are signed with this; the zero value with PowerDNS alone: they are not
	Source string // address that it is pulled from, the same for all zones of a secondary; "": any
	Large  bool   // it has records of more than 16 KiB, which not every server hands out again

	// Incremental has the secondary ask by IXFR also where it must be told to: PowerDNS.
	Incremental bool
}

// short is the origin as configuration files have it.
func (z Zone) short() string { return strings.TrimSuffix(z.Origin, ".") }

// file is the name of the zone's file in the secondary's directory.
func (z Zone) file() string { return z.short() + ".db" }

// Software is one implementation of a secondary.
type Software struct {
	Name    string // of its main program
	Version []string

	// LowersNSEC marks an implementation that writes the next name of NSEC records in
	// lower case, and so breaks their signatures (RFC 6840 §5.1).
	LowersNSEC bool

	// configure writes what is needed into c.Dir and returns the command line that
	// runs the server in the foreground.
	configure func(t testing.TB, c config) []string

	// flush has the server write its zones to their files, for a server whose own
	// AXFR cannot be trusted with large zones. Nil: ask it by AXFR.
	flush func(t testing.TB, c config)

	// file is where the server keeps a zone that it does not hand out by AXFR. Nil: it does.
	file func(c config, zone string) string

	// repair makes a zone file that the server wrote readable by others. Nil: it is.
	repair func(text string) string
}

// config is what a secondary's configuration is made of.
type config struct {
	Dir     string
	Port    int    // its own
	Primary int    // the port of its primary
	At      string // the address of its primary; "": 127.0.0.1
	Zones   []Zone

	SignedNotify bool // see StartNotified
	TLSPort      int  // its own, 0 for none
	OwnTimers    bool // the zone's refresh and retry count, however short they are
}

func (c config) primary() string { return cmp.Or(c.At, "127.0.0.1") }

// path returns the path of a file of the secondary.
func (c config) path(name string) string { return filepath.Join(c.Dir, name) }

// source is the address to ask the primary from, "" for any.
func (c config) source() string {
	if len(c.Zones) == 0 {
		return ""
	}
	return c.Zones[0].Source
}

// keys returns the keys of all zones, each once.
func (c config) keys() []Key {
	var keys []Key
	seen := map[string]bool{}
	for _, z := range c.Zones {
		if z.Key.Name != "" && !seen[z.Key.Name] {
			seen[z.Key.Name] = true
			keys = append(keys, z.Key)
		}
	}
	return keys
}

// Secondaries returns the implementations that sign what they ask for. Those that cannot
// have recipes only: see StartRecipe.
func Secondaries() []Software { return []Software{named, nsd, knotd, pdns} }

// Secondary is a running secondary.
type Secondary struct {
	*Process
	software Software
	config   config
}

// Addr is its HOST:PORT.
func (s *Secondary) Addr() string { return Loopback(s.config.Port) }

// StartSecondary runs software on port as secondary of the primary at
// 127.0.0.1:primary. It accepts NOTIFY from that address, signed or not, and gives
// its zones to 127.0.0.1 for the tests to compare.
func StartSecondary(t testing.TB, software Software, port, primary int, zones []Zone) *Secondary {
	t.Helper()
	return StartSecondaryOf(t, software, port, "127.0.0.1", primary, zones)
}

// StartSecondaryOf is StartSecondary with a primary at another address, which alone may
// notify it.
func StartSecondaryOf(t testing.TB, software Software, port int, at string, primary int, zones []Zone) *Secondary {
	t.Helper()
	c := config{Dir: t.TempDir(), Port: port, Primary: primary, At: at, Zones: zones}
	argv := software.configure(t, c)
	argv[0] = Binary(t, argv[0])
	return &Secondary{Process: Run(t, software.Name, c.Dir, argv...), software: software, config: c}
}

// AwaitSerial waits until s answers for zone with serial.
func (s *Secondary) AwaitSerial(t testing.TB, zone string, serial uint32, limit time.Duration) {
	t.Helper()
	what := fmt.Sprintf("hold serial %d of %s", serial, zone)
	s.Await(t, limit, what, func(ctx context.Context) error {
		got, err := Serial(ctx, s.Addr(), zone)
		if err == nil && got != serial {
			err = fmt.Errorf("it has serial %d", got)
		}
		return err
	})
}

// Content returns what s holds of zone, which must have come to serial before:
// by AXFR from it, or, for a large zone, from the file that it writes.
func (s *Secondary) Content(t testing.TB, zone Zone, serial uint32) rrset.Set {
	t.Helper()
	if !zone.Large || s.software.flush == nil {
		set, err := s.content(t.Context(), zone.Origin)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	s.software.flush(t, s.config)
	var set rrset.Set
	s.Await(t, 15*time.Second, fmt.Sprintf("write %s with serial %d to its file", zone.Origin, serial), func(context.Context) error {
		text, err := os.ReadFile(s.config.path(zone.file()))
		if err != nil {
			return err
		}
		if s.software.repair != nil {
			text = []byte(s.software.repair(string(text)))
		}
		if set, err = rrset.Parse(bytes.NewReader(text), zone.Origin, zone.file()); err != nil {
			return err
		}
		if got, err := set.Serial(); err != nil || got != serial {
			return fmt.Errorf("the file has serial %d (%w)", got, err)
		}
		return nil
	})
	return set
}
