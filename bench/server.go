// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/xfrguard/xfrguard/interop/lab"
	"github.com/xfrguard/xfrguard/interop/peer"
)

// startLimit is how long a server may take to load the largest zone, or a new version.
const startLimit = 90 * time.Second

// software is one contestant.
type software struct {
	name string
	ours bool

	// peer marks what ours is compared with: other people's servers as they are.
	peer bool

	// unrecorded: with the binary that records no transfer.
	unrecorded bool

	// configure writes what is needed into s.dir and returns the command line that runs
	// the server in the foreground with the zone file s.zoneFile().
	configure func(t *lab.Lifetime, s *server) []string

	// reload is the command that makes it read the zone file again; nil: it looks itself.
	reload func(s *server) []string

	// patient: the command gives up before a large zone is read, the server does not.
	patient bool

	// noIXFR says why it cannot answer IXFR with deltas.
	noIXFR string

	// listens only: it knows no SOA query.
	listens bool
}

// server is a running contestant.
type server struct {
	software
	coredns string // path of the binary
	pprof   int    // port for profiles, 0: none
	dir     string
	port    int
	control int // port of a control channel
	life    *lab.Lifetime
	process *peer.Process
}

func (s *server) addr() string                             { return peer.Loopback(s.port) }
func (s *server) path(name string) string                  { return filepath.Join(s.dir, name) }
func (s *server) zoneFile() string                         { return s.path("bench.db") }
func (s *server) group() lab.Group                         { return lab.Group(s.process.PID()) }
func (s *server) write(t *lab.Lifetime, name, text string) { peer.WriteFile(t, s.path(name), text) }

// start runs software with the zone file at path in a directory of its own below
// parent, and returns when it answers with the zone's serial.
func (b *bench) start(ctx context.Context, soft software, z *zone) (s *server, err error) {
	s = &server{software: soft, coredns: b.coredns, life: &lab.Lifetime{Parent: b.dir}}
	if soft.unrecorded {
		s.coredns = b.unrecorded
	}
	err = lab.Attempt(func() {
		s.dir = s.life.TempDir()
		s.port, s.control = peer.Port(s.life), peer.Port(s.life)
		if soft.ours && b.profile != "" {
			s.pprof = peer.Port(s.life)
		}
		if err := s.give(b.zonePath(z)); err != nil {
			s.life.Fatal(err)
		}
		argv := soft.configure(s.life, s)
		// Into a file: a pipe to here would cost the client what others write to disk.
		log := append([]string{"sh", "-c", `exec "$@" >>log 2>&1`, "sh"}, argv...)
		s.process = peer.Run(s.life, soft.name, s.dir, log...)
	})
	if err == nil {
		err = s.await(ctx, z.serial)
	}
	if err != nil {
		err = fmt.Errorf("%w; its log ends with:\n%s", err, s.lastWords())
		s.stop()
		return nil, err
	}
	return s, nil
}

// as is the same running server under another name.
func (s *server) as(soft software) *server {
	other := *s
	other.software = soft
	return &other
}

// stop ends the server; nil is fine.
func (s *server) stop() {
	if s != nil {
		s.life.End()
	}
}

// give puts the zone file at path into the place where the server reads it, at once.
func (s *server) give(path string) error {
	next := s.zoneFile() + ".new"
	_ = os.Remove(next)
	if err := os.Link(path, next); err != nil {
		return fmt.Errorf("give %s the zone: %w", s.name, err)
	}
	return os.Rename(next, s.zoneFile())
}

// update has the server take the zone's new version and returns once it answers with
// its serial.
func (s *server) update(ctx context.Context, path string, serial uint32) error {
	if err := s.give(path); err != nil {
		return err
	}
	if s.reload != nil {
		argv := s.reload(s)
		ctx, cancel := context.WithTimeout(ctx, startLimit)
		defer cancel()
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		if out, err := cmd.CombinedOutput(); err != nil && !s.patient {
			return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
		}
	}
	return s.await(ctx, serial)
}

// await waits until the server answers with serial.
func (s *server) await(ctx context.Context, serial uint32) error {
	return lab.Attempt(func() {
		s.process.Await(s.life, startLimit, fmt.Sprintf("serve serial %d", serial), func(limit context.Context) error {
			if ctx.Err() != nil {
				s.life.Fatal(context.Cause(ctx))
			}
			if s.listens {
				conn, err := net.Dial("tcp", s.addr())
				if err == nil {
					conn.Close()
				}
				return err
			}
			got, err := peer.Serial(limit, s.addr(), origin)
			if err == nil && got != serial {
				err = fmt.Errorf("it has serial %d", got)
			}
			return err
		})
	})
}

// lastWords is the end of the server's log.
func (s *server) lastWords() string {
	b, _ := os.ReadFile(s.path("log"))
	return string(b[max(0, len(b)-2000):])
}
