// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/xfrguard/xfrguard/interop/lab"
	"github.com/xfrguard/xfrguard/interop/peer"
)

// startLimit is how long a server may take to load the zone.
const startLimit = 60 * time.Second

// software is one server to attack.
type software struct {
	name string
	ours bool

	// configure writes what is needed into s.dir and returns the command line that runs
	// the server in the foreground with the zone file s.zoneFile().
	configure func(s *server) []string
}

// server is a running one.
type server struct {
	software
	coredns string // path of the binary
	options string // lines of xfrguard besides
	audit   string // path of the audit file
	records int    // of origin
	big     int    // records of bigOrigin
	serial  uint32
	life    *lab.Lifetime
	dir     string
	process *peer.Process

	port, tls, metrics, control int
}

func (s *server) addr() string            { return peer.Loopback(s.port) }
func (s *server) path(name string) string { return filepath.Join(s.dir, name) }
func (s *server) zoneFile() string        { return s.path("zone.db") }
func (s *server) bigFile() string         { return s.path("big.db") }
func (s *server) group() lab.Group        { return lab.Group(s.process.PID()) }

func (s *server) write(name, text string) { peer.WriteFile(s.life, s.path(name), text) }

// setup is what differs from server to server of one software.
type setup struct {
	records int // of origin, 0: as usual
	big     int // of bigOrigin, 0: as usual
	options string
	audit   string // directory of the audit file, "": the server's own
}

// start runs software and returns when it answers for the zone.
func (h *hostile) start(ctx context.Context, soft software, set setup) (s *server, err error) {
	s = &server{
		software: soft, coredns: h.coredns, options: set.options, serial: 1,
		records: cmp.Or(set.records, zoneRecords), big: cmp.Or(set.big, bigRecords), life: &lab.Lifetime{Parent: h.dir},
	}
	err = lab.Attempt(func() {
		s.dir = s.life.TempDir()
		s.audit = s.path("audit.log")
		if set.audit != "" {
			s.audit = filepath.Join(set.audit, "audit.log")
		}
		s.port, s.tls, s.metrics, s.control = peer.Port(s.life), peer.Port(s.life), peer.Port(s.life), peer.Port(s.life)
		if err := errors.Join(h.giveZone(s, origin, s.records, s.zoneFile()), h.giveZone(s, bigOrigin, s.big, s.bigFile())); err != nil {
			s.life.Fatal(err)
		}
		s.run(soft.configure(s))
	})
	if err == nil {
		err = s.await(ctx)
	}
	if err != nil {
		err = fmt.Errorf("start %s: %w; its log ends with:\n%s", soft.name, err, s.lastWords())
		s.stop()
		return nil, err
	}
	return s, nil
}

// recordsOf is how many records the zone has that id asks for.
func (s *server) recordsOf(id identity) int {
	if id.zone == bigOrigin {
		return s.big
	}
	return s.records
}

// run starts the process. Its output goes into a file: a pipe to here would cost time.
func (s *server) run(argv []string) {
	s.process = peer.Run(s.life, s.name, s.dir, append([]string{"sh", "-c", `exec "$@" >>log 2>&1`, "sh"}, argv...)...)
}

// giveZone links the prepared zone of that size to a path in the server's directory.
func (h *hostile) giveZone(s *server, origin string, records int, to string) error {
	path := filepath.Join(h.dir, fmt.Sprintf("%s%d.db", origin, records))
	if _, err := os.Stat(path); err != nil {
		if err := writeZone(path, origin, 1, records); err != nil {
			return err
		}
	}
	if err := os.Link(path, to); err != nil {
		return fmt.Errorf("give %s the zone: %w", s.name, err)
	}
	return nil
}

// await waits until the server answers with the zone's serial over UDP, and takes
// connections.
func (s *server) await(ctx context.Context) error {
	return lab.Attempt(func() {
		s.process.Await(s.life, startLimit, "serve the zone", func(limit context.Context) error {
			if ctx.Err() != nil {
				s.life.Fatal(context.Cause(ctx))
			}
			if got, err := peer.Serial(limit, s.addr(), origin); err != nil || got != s.serial {
				return fmt.Errorf("serial %d (%w)", got, err)
			}
			c, err := net.DialTimeout("tcp", s.addr(), time.Second)
			if err == nil {
				c.Close()
			}
			return err
		})
	})
}

// stop ends the server; nil is fine.
func (s *server) stop() {
	if s != nil {
		s.life.End()
	}
}

// lastWords is the end of the server's log.
func (s *server) lastWords() string {
	b, _ := os.ReadFile(s.path("log"))
	return string(b[max(0, len(b)-2000):])
}

// prepare writes what all servers share.
func (h *hostile) prepare() error {
	return writeCertificate(filepath.Join(h.dir, "cert.pem"), filepath.Join(h.dir, "cert.key"))
}
