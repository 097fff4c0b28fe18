// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"maps"
	"time"
)

// gap is what the next gap event has to tell.
type gap struct {
	failures            uint64
	refused             uint64 // of the failures: an event that the file, which worked, had no room for
	lost                uint64
	late                uint64
	lateFirst, lateLast uint64
	stood               map[string]uint64 // see Options.Stands
	since               time.Time
	err                 string
}

func (g *gap) note(err error) {
	if g.since.IsZero() {
		g.since = time.Now()
	}
	g.failures++
	g.err = err.Error()
}

// lose counts an event whose sender is told that it is not in the file.
func (g *gap) lose(stood map[string]uint64, err error) {
	g.note(err)
	g.lost++
	for what, n := range stood {
		if g.stood == nil {
			g.stood = map[string]uint64{}
		}
		g.stood[what] += n
	}
}

func (g *gap) addLate(first, last uint64) {
	if g.late == 0 || first < g.lateFirst {
		g.lateFirst = first
	}
	g.late += last - first + 1
	g.lateLast = max(g.lateLast, last)
}

// snapshot is what a gap event tells that is made now.
func (g *gap) snapshot() gap {
	told := *g
	told.stood = maps.Clone(g.stood)
	return told
}

// tell takes away what a gap event has told.
func (g *gap) tell(told gap) {
	if g.failures == told.failures {
		*g = gap{}
		return
	}
	g.failures -= told.failures
	g.refused -= told.refused
	g.lost -= told.lost
	g.late -= told.late
	for what, n := range told.stood {
		g.stood[what] -= n
	}
}

func (g *gap) notice() notice {
	fields := map[string]any{
		FieldLost: g.lost, FieldLate: g.late, FieldError: shortText(g.err),
		FieldSince: g.since.UTC().Format(time.RFC3339Nano),
	}
	if g.late > 0 {
		fields[FieldLateFirst], fields[FieldLateLast] = g.lateFirst, g.lateLast
	}
	if g.refused == g.failures {
		fields[FieldCause] = causeBusy
	}
	for what, n := range g.stood {
		fields[what] = n
	}
	return notice{KindGap, fields}
}

// loseLocked counts an event that is not in the file, whoever learns of it.
func (w *writer) loseLocked(event []byte, err error) {
	w.gap.lose(w.stands(event), err)
	w.stats.lost++
}

// refuseLocked counts an event that the file has no room for, or cannot hold, though it
// works.
func (w *writer) refuseLocked(event []byte, err error) error {
	w.loseLocked(event, err)
	w.gap.refused++
	return err
}

func (w *writer) refuse(event []byte, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refuseLocked(event, err)
}

func (w *writer) stands(event []byte) map[string]uint64 {
	if w.opts.Stands == nil {
		return nil
	}
	return w.opts.Stands(event)
}
