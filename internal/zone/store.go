// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/coredns/coredns/plugin/secondary"
)

// Store keeps the versions of one server block. Serials are trusted for freshness
// only within it: a reload makes a new Store.
type Store struct {
	sources []Source
	limit   int64

	mu   sync.Mutex
	kept map[string]*slot
	size int64
}

// slot is the place of one zone. Its lock is held while a version is built, so
// that clients who come at once share one build.
type slot struct {
	sync.Mutex
	version *Version
	used    time.Time // guarded by Store.mu
}

// NewStore returns a store over the backends, tried in order, that keeps at most
// limit bytes of packed versions. A larger zone is built for each who asks.
func NewStore(sources []Source, limit int64) *Store {
	return &Store{sources: sources, limit: limit, kept: make(map[string]*slot)}
}

// Current returns the zone's current version. It fails with ErrUnavailable,
// ErrInvalid, or an error of internal/wire for a record that cannot be packed.
func (s *Store) Current(apex string) (*Version, error) {
	sl := s.slot(apex)
	sl.Lock()
	defer sl.Unlock()
	v, err := s.load(apex, sl.version)
	if err != nil {
		s.keepLocked(sl, nil)
		return nil, err
	}
	s.keepLocked(sl, v)
	return v, nil
}

// load asks the backends in order. One that had the zone before and does not send
// it any more is not the end: the next may.
func (s *Store) load(apex string, kept *Version) (*Version, error) {
	for i, src := range s.sources {
		if expired(src, apex) {
			return nil, fmt.Errorf("%w: %s has expired", ErrUnavailable, apex)
		}
		mine := kept
		if kept != nil && kept.source != i {
			mine = nil
		}
		v, err := loadFrom(i, src, apex, mine)
		if errors.Is(err, errStale) {
			v, err = loadFrom(i, src, apex, nil)
		}
		if notHere(err) {
			continue
		}
		return v, err
	}
	return nil, fmt.Errorf("%w: %s", ErrUnavailable, apex)
}

func loadFrom(i int, src Source, apex string, kept *Version) (*Version, error) {
	if kept != nil && !kept.settled() {
		kept = nil
	}
	asked := time.Now()
	var serial uint32 // 0 asks for the whole zone
	if kept != nil {
		serial = kept.Serial
	}
	records, err := src.Transfer(apex, serial)
	switch {
	case notHere(err):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %s: %w", ErrUnavailable, apex, err)
	}
	v, err := build(i, apex, kept, records)
	if v != nil && v != kept {
		v.asked = asked
	}
	return v, err
}

func (s *Store) slot(apex string) *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	sl, ok := s.kept[apex]
	if !ok {
		sl = &slot{}
		s.kept[apex] = sl
	}
	sl.used = time.Now()
	return sl
}

// keepLocked puts v, or nothing, into the slot whose lock is held, and lets go of
// the versions that nobody asked for longest when there is too much.
func (s *Store) keepLocked(sl *slot, v *Version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sl.version == v {
		return
	}
	if sl.version != nil {
		s.size -= sl.version.Size
		sl.version = nil
	}
	if v == nil || v.Size > s.limit {
		return
	}
	for s.size+v.Size > s.limit {
		if !s.evictLocked(sl) {
			return
		}
	}
	sl.version = v
	s.size += v.Size
}

// evictLocked drops the version used longest ago, but for that of sl.
func (s *Store) evictLocked(sl *slot) bool {
	var oldest *slot
	for _, other := range s.kept {
		if other == sl || (oldest != nil && !other.used.Before(oldest.used)) || !other.TryLock() {
			continue
		}
		if other.version == nil {
			other.Unlock()
			continue
		}
		if oldest != nil {
			oldest.Unlock()
		}
		oldest = other
	}
	if oldest == nil {
		return false
	}
	s.size -= oldest.version.Size
	oldest.version = nil
	oldest.Unlock()
	return true
}

// expired reports whether the source is a secondary that may no longer serve the
// zone (RFC 1035 §3.3.13, EXPIRE): its Transfer would still send it.
func expired(src Source, apex string) bool {
	sec, ok := src.(*secondary.Secondary)
	if !ok {
		return false
	}
	z := sec.Z[apex]
	if sec.ZoneLookupFunc != nil { // zones of a catalog come and go
		_, z, _ = sec.ZoneLookupFunc(apex)
	}
	if z == nil {
		return false
	}
	z.RLock()
	defer z.RUnlock()
	return z.Expired
}
