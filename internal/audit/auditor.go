// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package audit is the log of what was asked, decided and sent: events, their JSON form, the
// folding of what floods, and the sinks. What is said of a request stands in the guard.
package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/pool"

	"github.com/google/uuid"
)

// Config is what one xfrguard directive says about its audit.
type Config struct {
	sinks   []corefile.Sink       // none: stdout
	failure corefile.AuditFailure // the zero value refuses
	key     string                // path of the Ed25519 key of the audit files' checkpoints

	deadline time.Duration // for a durable record in one sink; 0 is two seconds
	fold     foldLimits    // the zero value has the defaults
	answers  foldLimits    // the zero value has the defaults
}

// ConfigOf takes the audit's part out of a directive. In observe mode nothing is
// refused, whatever befalls the audit.
func ConfigOf(c *corefile.Config) Config {
	a := Config{sinks: c.Audit, failure: c.AuditFailure, key: c.AuditKey}
	if c.Mode == corefile.ModeObserve {
		a.failure = corefile.AuditServe
	}
	return a
}

// Auditor records the events of one directive. What it writes to is shared: see recorder.
type Auditor struct {
	*Recorder
	failure corefile.AuditFailure
	release func() error
}

// Recorder is a set of sinks and the folding of denials on the way to them. There
// is one per set in the process, so that budgets and windows hold across server
// blocks and over a reload.
type Recorder struct {
	sinks    []*WatchedSink
	releases []func() error
	Fold     *folder        // of denials
	Answers  *folder        // of answers without zone data; nil: each has a line
	unwatch  func()         // ends the watch over the clock
	late     sync.WaitGroup // appends that nobody waits for any more, and ends that wait for them
}

var (
	recorders pool.Pool[*Recorder]
	SinkPool  pool.Pool[*WatchedSink]
)

// Open opens the sinks, unless they are open already, and records the start of the
// audit. A sink that cannot be opened as it is configured is an error: better now than
// at the first transfer. One that only fails for now, because its disk is full or its
// receiver is down, is down and comes up by itself: ordinary DNS must not wait for it.
func Open(cfg Config) (*Auditor, error) {
	if len(cfg.sinks) == 0 {
		cfg.sinks = []corefile.Sink{{Kind: "stdout"}}
	}
	if cfg.deadline == 0 {
		cfg.deadline = DefaultDeadline
	}
	if cfg.failure != corefile.AuditServe {
		cfg.failure = corefile.AuditRefuse
	}
	names := make([]string, len(cfg.sinks))
	for i, s := range cfg.sinks {
		names[i] = s.Name()
	}
	slices.Sort(names)
	names = slices.Compact(names)
	key := strings.Join(names, "\x00") + "\x00\x00" + cfg.key
	rec, release, err := recorders.Acquire(key,
		func() (*Recorder, error) { return openRecorder(cfg, names) }, (*Recorder).close)
	if err != nil {
		return nil, err
	}
	return &Auditor{Recorder: rec, failure: cfg.failure, release: release}, nil
}

func openRecorder(cfg Config, names []string) (*Recorder, error) {
	surviveBrokenLog()
	rec := &Recorder{}
	for _, spec := range cfg.sinks {
		s, release, err := SinkPool.Acquire(sinkKey(spec), func() (*WatchedSink, error) {
			w, err := WatchSink(spec.Name(), openSink(spec, cfg.key), cfg.deadline, TellOthers)
			if err == nil {
				w.keyPath = cfg.key
			}
			return w, err
		}, (*WatchedSink).Close)
		if err == nil && s.keyPath != cfg.key && spec.Kind == "file" {
			err = errors.Join(errors.New("its checkpoints are signed with another audit_key already: restart to change it"), release())
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("audit %s: %w", spec.Name(), err), rec.releaseSinks())
		}
		if slices.Contains(rec.sinks, s) { // the same sink written twice in the Corefile
			_ = release()
			continue
		}
		rec.sinks = append(rec.sinks, s)
		rec.releases = append(rec.releases, release)
	}
	rec.Fold = newFolder(cfg.fold, rec.postFolded)
	rec.Answers = newAnswerFolder(cfg.answers, rec.postFolded)
	rec.watchClock()
	start := &Event{Action: ActionStart, Extra: map[string]any{extraSinks: names, extraFailure: string(cfg.failure)}}
	if err := rec.recordAll(start, (*WatchedSink).begin); err != nil {
		meanwhile := "no transfer is served until one does"
		if cfg.failure == corefile.AuditServe {
			meanwhile = "transfers are served, and a gap event will tell what is missing"
		}
		log.Warningf("audit: no sink takes a record, %s: %v", meanwhile, err)
	}
	return rec, nil
}

// TellOthers posts a sink's change of state to all other sinks of the process.
func TellOthers(from *WatchedSink, e *Event) {
	r := recordOf(e)
	SinkPool.ForEach(func(w *WatchedSink) {
		if w != from {
			w.post(r)
		}
	})
}

// close is called for the last user of the set.
func (r *Recorder) close() error {
	if r.unwatch != nil {
		r.unwatch()
	}
	r.late.Wait() // no longer than a sink's deadline
	r.Fold.close()
	if r.Answers != nil {
		r.Answers.close()
	}
	err := r.recordAll(&Event{Action: ActionStop}, (*WatchedSink).append)
	return errors.Join(err, r.releaseSinks())
}

func (r *Recorder) releaseSinks() error {
	errs := make([]error, len(r.releases))
	for i, release := range r.releases {
		errs[i] = release()
	}
	return errors.Join(errs...)
}

// Decision records that a transfer is allowed. It returns nil once at least one
// sink has the event durably, and waits for none that hangs beyond its deadline.
// With audit_failure refuse an error means that nobody has it: the transfer must not be served, and
// the denial with audit-unavailable is recorded as any other, with the same ID. With
// serve it never fails; a gap event will tell what is missing. Decision fills e.ID when
// it is empty: the end event must carry it. None of the methods keeps or changes e otherwise.
func (a *Auditor) Decision(ctx context.Context, e *Event) error {
	e.Action, e.Allowed = ActionDecision, true
	if e.ID == "" {
		e.ID = NewID()
	}
	ev := *e
	err := a.record(ctx, &ev)
	e.settled = ev.settled
	if err == nil || a.failure == corefile.AuditServe {
		return nil
	}
	AuditRefused.Inc()
	return fmt.Errorf("the decision could not be recorded: %w", err)
}

// Answer records that a request is allowed whose answer holds no zone data: the SOA alone.
// Its line is the whole record, unless the answer cannot be sent: then an end follows. One
// that is over the budgets of its identity is counted towards a later line, and has no end
// either. Like Decision it fails, with audit_failure refuse, when nobody can record it.
func (a *Auditor) Answer(ctx context.Context, e *Event) error {
	e.Action, e.Allowed, e.Complete = ActionDecision, true, true
	if a.Answers == nil || a.failure == corefile.AuditRefuse && !a.up() || a.Answers.own(e) {
		return a.Decision(ctx, e)
	}
	e.counted = true
	return nil
}

// up reports whether any sink is.
func (r *Recorder) up() bool {
	return slices.ContainsFunc(r.sinks, (*WatchedSink).up)
}

// Denied records a refusal, or counts it towards a later line when its kind floods.
// It never blocks and never fails.
func (a *Auditor) Denied(e *Event) {
	ev := *e
	ev.Action, ev.Allowed = ActionDecision, false
	a.Fold.add(&ev)
}

// Observed records what would have become of a request. A denial may be folded
// like any other; nothing blocks.
func (a *Auditor) Observed(e *Event) {
	if !e.Allowed {
		a.Denied(e)
		return
	}
	e.Action = ActionDecision
	if a.Answers != nil && !a.Answers.own(e) {
		a.Answers.tally(e)
	} else {
		e.ID = NewID()
		a.post(e)
	}
}

// End records how an allowed transfer ended. It does not block. An answer whose decision
// says all has no end.
func (a *Auditor) End(e *Event) {
	if e.counted {
		d := *e
		d.Action, d.Reason, d.Allowed = ActionDecision, string(policy.ReasonAllowed), true
		if d.Complete || e.Reason == string(EndClientGone) {
			d.Complete = true
			a.Answers.tally(&d)
			return
		}
		d.ID = NewID() // it was cut off by us: it gets both of its lines
		e.ID = d.ID
		a.post(&d)
	} else if e.Complete && e.Served.SOAAlone() {
		return
	}
	ev := *e
	ev.Action, ev.Time = ActionEnd, time.Now()
	Stamp(&ev)
	rec := recordOf(&ev)
	for i, s := range a.sinks {
		a.postAfter(s, rec, ev.settled, i)
	}
}

// postAfter posts the end of a transfer to one sink, once that sink is done with the
// decision: another one may have been quicker, and the transfer too.
func (r *Recorder) postAfter(s *WatchedSink, rec *record, settled []chan struct{}, i int) {
	if i >= len(settled) {
		s.post(rec)
		return
	}
	select {
	case <-settled[i]:
		s.post(rec)
	default:
		r.late.Go(func() {
			<-settled[i]
			s.post(rec)
		})
	}
}

// Lifecycle records any other event; its Action says which. It does not block.
func (a *Auditor) Lifecycle(e *Event) {
	ev := *e
	a.post(&ev)
}

// Announce records an event of the start, of which there may be thousands at once: where a
// sink has no room it waits for some, no longer than the sink's deadline in all.
func (a *Auditor) Announce(e *Event) {
	ev := *e
	Stamp(&ev)
	rec := recordOf(&ev)
	for _, s := range a.sinks {
		s.awaitRoom()
		s.post(rec)
	}
}

// Close gives the sinks back. The last user of a set writes what is folded and the
// stop event, and waits a bounded time for the sinks. Close again does nothing.
func (a *Auditor) Close() error { return a.release() }

// record appends the event to all sinks at once and returns with the first success.
func (r *Recorder) record(ctx context.Context, e *Event) error {
	Stamp(e)
	rec := recordOf(e)
	if len(r.sinks) == 1 {
		return r.sinks[0].append(rec)
	}
	results := make(chan error, len(r.sinks))
	e.settled = make([]chan struct{}, len(r.sinks))
	for i, s := range r.sinks {
		settled := make(chan struct{})
		e.settled[i] = settled
		r.late.Go(func() {
			err := s.append(rec)
			close(settled)
			results <- err
		})
	}
	errs := make([]error, 0, len(r.sinks))
	for range r.sinks {
		select {
		case err := <-results:
			if err == nil {
				return nil
			}
			errs = append(errs, err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errors.Join(errs...)
}

// recordAll puts the event into all sinks and waits for each of them, no longer than its
// deadline: nothing may come before the start, or after the stop. It fails when all do.
func (r *Recorder) recordAll(e *Event, put func(*WatchedSink, *record) error) error {
	Stamp(e)
	rec := recordOf(e)
	errs := make([]error, len(r.sinks))
	var all sync.WaitGroup
	for i, s := range r.sinks {
		all.Go(func() { errs[i] = put(s, rec) })
	}
	all.Wait()
	if slices.Contains(errs, nil) {
		return nil
	}
	return errors.Join(errs...)
}

func (r *Recorder) post(e *Event) {
	Stamp(e)
	rec := recordOf(e)
	for _, s := range r.sinks {
		s.post(rec)
	}
}

// postFolded writes what a folder lets through.
func (r *Recorder) postFolded(e *Event) {
	if e.Suppressed == nil && e.ID == "" {
		e.ID = NewID()
	}
	r.post(e)
}

// Stamp fills what every event needs. The handler may use one Event for a decision
// and for its end; they are two events all the same.
func Stamp(e *Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.EventID = NewID()
}

// NewID returns an identifier that sorts by time (UUID version 7, RFC 9562 §5.7).
func NewID() string {
	id, err := uuid.NewV7()
	if err != nil { // crypto/rand does not fail
		return uuid.NewString()
	}
	return id.String()
}
