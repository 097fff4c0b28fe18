// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lifeScenarios hurt the process, its disk and its life cycle.
func lifeScenarios() []scenario {
	readers := func(count int) []attack {
		return []attack{
			crowd{count: count, addresses: true, keys: true, once: stall}.run,
			crowd{count: count, addresses: true, keys: true, once: trickle}.run,
			floodAll(300),
		}
	}
	return []scenario{
		{name: "SIGUSR1 each second", guard: true, attacks: readers(20), act: reloads},
		{name: "SIGTERM, nobody reads", guard: true, attacks: readers(20), act: terminate, down: true},
		{name: "SIGKILL", guard: true, attacks: readers(20), act: kill, down: true, killed: true},
		{name: "a full disk", guard: true, attacks: readers(5), act: fillDisk, down: true, lost: true, disk: true},
	}
}

// reloads sends SIGUSR1 each second.
func reloads(ctx context.Context, h *hostile, s *server, r *result) error {
	for end := time.Now().Add(h.scaled(r.scenario.span)); time.Now().Before(end) && ctx.Err() == nil; {
		if err := s.process.Signal(syscall.SIGUSR1); err != nil {
			return fmt.Errorf("signal: %w", err)
		}
		pause(ctx, time.Second)
	}
	return nil
}

// Bounds of a process's end and of its return.
const (
	stopLimit   = 15 * time.Second
	returnLimit = 15 * time.Second
)

// terminate ends the server as a service manager does and starts it again.
func terminate(ctx context.Context, h *hostile, s *server, r *result) error {
	pause(ctx, h.scaled(r.scenario.span)/2)
	begin := time.Now()
	s.end(ctx, r)
	r.remark = fmt.Sprintf("ended %v after SIGTERM", round(time.Since(begin)))
	b, err := readBooks(s.audit)
	if err != nil {
		return err
	}
	for _, f := range b.faults(-1) {
		r.fault("after SIGTERM: %s", f)
	}
	return s.again(ctx, r)
}

// end has the server stop and waits for it. CoreDNS keeps one signal while it reloads and
// drops what comes besides, so that behind a SIGUSR1 SIGTERM may have to be sent again.
func (s *server) end(ctx context.Context, r *result) {
	begin := time.Now()
	for sent := time.Duration(-1); !s.process.Ended(); pause(ctx, 20*time.Millisecond) {
		since := time.Since(begin)
		if since > stopLimit || ctx.Err() != nil {
			r.fault("it lives %v after SIGTERM", round(since))
			s.process.Kill()
		} else if sent < 0 || since-sent > time.Second {
			_ = s.process.Signal(syscall.SIGTERM) // an error: it has ended
			sent = since
		}
	}
	s.process.Stop() // what it leaves behind
}

// kill ends the server as a crash does, in the middle, and starts it again.
func kill(ctx context.Context, h *hostile, s *server, r *result) error {
	pause(ctx, h.scaled(r.scenario.span)/2)
	s.process.Kill()
	return s.again(ctx, r)
}

// again starts the server anew in the same place and waits until the own secondary is served.
func (s *server) again(ctx context.Context, r *result) error {
	s.run(s.configure(s))
	if err := s.await(ctx); err != nil {
		return err
	}
	return s.back(ctx, r)
}

// back waits until the own secondary is served again.
func (s *server) back(ctx context.Context, r *result) error {
	begin := time.Now()
	var err error
	for time.Since(begin) < returnLimit && ctx.Err() == nil {
		if err = fetchOnce(ctx, s, ownID); err == nil {
			r.remark += fmt.Sprintf(" served again after %v", round(time.Since(begin)))
			return nil
		}
		pause(ctx, 100*time.Millisecond)
	}
	r.fault("the own secondary is not served %v after the cause has gone: %v", returnLimit, err)
	return nil
}

// fillDisk leaves no room for the audit file, then makes room again.
func fillDisk(ctx context.Context, h *hostile, s *server, r *result) error {
	filler := filepath.Join(filepath.Dir(s.audit), "filler")
	f, err := os.Create(filler)
	if err != nil {
		return fmt.Errorf("fill the disk: %w", err)
	}
	defer f.Close()
	b := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(b)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("fill the disk: %w", err)
	}
	refused := 0
	for end := time.Now().Add(h.scaled(r.scenario.span)); time.Now().Before(end) && ctx.Err() == nil; {
		if err := fetchOnce(ctx, s, ownID); err != nil {
			refused++
		}
		if err := answered(ctx, s); err != nil {
			r.fault("an ordinary query while the disk is full: %v", err)
		}
		pause(ctx, 200*time.Millisecond)
	}
	if refused == 0 {
		r.fault("nothing was refused while the disk was full")
	}
	if err := errors.Join(f.Truncate(0), os.Remove(filler)); err != nil { // what is open keeps its blocks
		return fmt.Errorf("make room: %w", err)
	}
	return s.back(ctx, r)
}

// mountDisk makes a small file system for audit files. Only root may.
func (h *hostile) mountDisk() (dir string, unmount func(), err error) {
	dir, err = os.MkdirTemp(h.dir, "disk-")
	if err != nil {
		return "", nil, fmt.Errorf("make a directory: %w", err)
	}
	if err := unix.Mount("xfrguard-hostile", dir, "tmpfs", 0, "size=16m"); err != nil {
		return "", nil, fmt.Errorf("mount a small file system: %w", err)
	}
	return dir, func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }, nil
}
