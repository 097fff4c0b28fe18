// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"
)

func big64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }

// Load returns what is kept of a zone, nil when that is nothing. All that it returns
// was verified; ErrCorrupt for one zone leaves the others usable, and Forget or a
// Change with Reset clears the zone. zone is at most MaxZone octets.
func (j *Journal) Load(zone string) (*State, error) {
	var s *State
	err := j.view(func(tx *bbolt.Tx) error {
		h, found, err := readHead(tx, zone)
		if err != nil || !found {
			return err
		}
		if s, err = load(tx, &h); err != nil {
			return fmt.Errorf("zone %q: %w", zone, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Zones returns the identities of all zones, in the order of their octets.
func (j *Journal) Zones() ([]string, error) {
	var all []string
	err := j.view(func(tx *bbolt.Tx) error {
		return scan(tx, bucketZones, nil, func(key, _ []byte) error {
			all = append(all, string(key[1:]))
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

func readHead(tx *bbolt.Tx, zone string) (h head, found bool, err error) {
	if len(zone) > MaxZone {
		return head{}, false, fmt.Errorf("%w: a zone's identity of %d octets", ErrInvalid, len(zone))
	}
	b, err := get(tx, bucketZones, zoneKey(zone))
	if err != nil || b == nil {
		return head{}, false, err
	}
	h, err = decodeHead(b)
	return h, err == nil, err
}

func load(tx *bbolt.Tx, h *head) (*State, error) {
	links, err := readChain(tx, h)
	if err != nil {
		return nil, err
	}
	stream, err := readChunks(tx, bucketBases, h.slot, h.base, h.baseOctets)
	if err != nil {
		return nil, fmt.Errorf("base %d: %w", h.serial, err)
	}
	s := &State{Base: Base{Serial: h.serial, Digest: h.digest}, Given: make(map[Digest][]string)}
	if s.Base.Messages, err = splitMessages(stream, h.messages); err != nil {
		return nil, err
	}
	for i := range links {
		l := &links[i]
		b, err := readChunks(tx, bucketDeltas, h.slot, h.first+uint64(i), l.size())
		if err != nil {
			return nil, fmt.Errorf("delta from %d to %d: %w", l.from, l.to, err)
		}
		s.Deltas = append(s.Deltas, l.delta(b))
	}
	var given uint64
	err = scan(tx, bucketGiven, slotKey(h.slot), func(key, _ []byte) error {
		_, digest, rule, err := decodeGiven(key)
		s.Given[digest] = append(s.Given[digest], rule)
		given++
		return err
	})
	if err == nil && given != h.given {
		err = corrupt("%d given versions, not %d", given, h.given)
	}
	if err != nil {
		return nil, err
	}
	b, err := get(tx, bucketSerials, slotKey(h.slot))
	if err != nil {
		return nil, err
	}
	if s.Serials, err = decodeSerials(b); err != nil {
		return nil, err
	}
	if b, err = get(tx, bucketNotes, slotKey(h.slot)); err != nil {
		return nil, err
	}
	if len(b) > 0 {
		s.Note = b
	}
	return s, nil
}

// readChain returns the links of a zone, and verifies that they are a chain which the
// base belongs to.
func readChain(tx *bbolt.Tx, h *head) ([]link, error) {
	var links []link
	err := scan(tx, bucketLinks, slotKey(h.slot), func(key, payload []byte) error {
		l, err := decodeLink(payload)
		if err != nil {
			return err
		}
		if len(key) != 16 || big64(key[8:]) != h.first+uint64(len(links)) {
			return corrupt("a delta is missing")
		}
		links = append(links, l)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if uint64(len(links)) != h.links {
		return nil, corrupt("%d deltas, not %d", len(links), h.links)
	}
	if why := chained(links, h); why != "" {
		return nil, corrupt("%s", why)
	}
	return links, nil
}

// chained says why the links and the base are no chain; "" when they are.
func chained(links []link, h *head) string {
	belongs := len(links) == 0
	for i := range links {
		l := &links[i]
		if i > 0 && (links[i-1].to != l.from || links[i-1].toDigest != l.fromDigest) {
			return fmt.Sprintf("the delta from %d to %d does not begin where the one before ends, at %d", l.from, l.to, links[i-1].to)
		}
		if l.from == h.serial && l.fromDigest == h.digest || l.to == h.serial && l.toDigest == h.digest {
			belongs = true
		}
	}
	if !belongs {
		return fmt.Sprintf("the base %d is at no end of a delta", h.serial)
	}
	return ""
}

// readChunks puts an object together.
func readChunks(tx *bbolt.Tx, bucket string, slot, number, octets uint64) ([]byte, error) {
	if octets > uint64(tx.Size()) {
		return nil, corrupt("an object of %d octets in a file of %d", octets, tx.Size())
	}
	all := make([]byte, 0, octets)
	c := tx.Bucket([]byte(bucket)).Cursor()
	key := chunkKey(slot, number, 0)
	k, v := c.Seek(key)
	for chunk := uint64(0); uint64(len(all)) < octets; chunk++ {
		key = chunkKey(slot, number, chunk)
		want := min(octets-uint64(len(all)), chunkOctets)
		if string(k) != string(key) || uint64(len(v)) != want+tagOctets {
			return nil, corrupt("chunk %d of an object is missing", chunk)
		}
		var err error
		if all, err = unseal(all, bucket, key, v); err != nil {
			return nil, err
		}
		k, v = c.Next()
	}
	return all, nil
}
