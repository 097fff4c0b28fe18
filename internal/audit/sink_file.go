// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"fmt"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/trail"
)

// fileSink is the audit file. internal/trail writes, syncs, chains and rotates it,
// and keeps account of what it lost.
type fileSink struct {
	*trail.File

	printer printer // of checkpoints
}

func newFileSink(path, keyPath string, state func(error)) (Sink, error) {
	s := &fileSink{printer: printer{say: func(line string) { log.Info(line) }}}
	opts := trail.Options{
		Compose: composeTrail,
		OnState: state,
		Stands: func(event []byte) map[string]uint64 {
			allowed, denials := standsFor(event)
			return map[string]uint64{trail.FieldLostAllowed: allowed, trail.FieldLostDenials: denials}
		},
		StartDown:    true,
		OnCheckpoint: func(note string) { s.printer.print(fmt.Sprintf("audit checkpoint of %s: %q", path, note)) },
	}
	if keyPath != "" {
		key, err := trail.ReadKey(keyPath)
		if err != nil {
			return nil, fmt.Errorf("audit key: %w", err)
		}
		opts.Key = key
	}
	f, err := trail.Open(path, opts)
	if err != nil {
		return nil, err
	}
	s.File = f
	return s, nil
}

// sinkKey is the same for all spellings of one sink. An audit file is open once in a
// process, so all of them must lead to it.
func sinkKey(spec corefile.Sink) string {
	if spec.Kind == "file" {
		if path, err := trail.Resolve(spec.Path); err == nil { // else the open says why
			spec.Path = path
		}
	}
	return spec.Name()
}

// Close implements Sink. The last checkpoint is printed when it returns, unless the log hangs.
func (s *fileSink) Close() error {
	err := s.File.Close()
	s.printer.wait()
	return err
}

// trailActions gives the events of the audit file about itself their actions.
var trailActions = map[trail.Kind]Action{
	trail.KindOpened:     ActionOpened,
	trail.KindResumed:    ActionResumed,
	trail.KindClosed:     ActionClosed,
	trail.KindRotated:    ActionRotated,
	trail.KindRepaired:   ActionRepair,
	trail.KindTruncated:  ActionTruncated,
	trail.KindForeign:    ActionForeign,
	trail.KindGap:        ActionGap,
	trail.KindCheckpoint: ActionCheckpoint,
	trail.KindClock:      ActionClockStep,
}

// composeTrail makes an event of the trail's own in our schema.
func composeTrail(kind trail.Kind, fields map[string]any) []byte {
	e := &Event{Action: trailActions[kind], Extra: fields}
	e.Error, _ = fields[trail.FieldError].(string)
	e.Reason, _ = fields[trail.FieldCause].(string)
	Stamp(e)
	return e.line()
}
