// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"io"
)

// The layout of a bbolt file, in its machine's byte order.
const (
	pageOctets   = 4096
	headerOctets = 16 // id 8, flags 2, count 2, overflow 4
	elemOctets   = 16 // branch: pos 4, ksize 4, page 8; leaf: flags 4, pos 4, ksize 4, vsize 4
	bucketOctets = 16 // root 8, sequence 8

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagMeta     = 0x04
	flagFreelist = 0x10
	flagBucket   = 0x01 // of a leaf's element

	boltMagic   = 0xED0CDAED
	boltVersion = 2
	metaSummed  = 56 // octets under the meta's checksum

	maxDepth  = 64 // of pages and buckets; 2^64 keys are not deeper
	maxKey    = 32768
	wholeRun  = 16 * pageOctets // longer runs of pages are read in parts: they are mostly values
	maxValues = 1<<31 - 2
)

// order is the byte order of the machine: bbolt's files are memory.
var order = binary.NativeEndian

// checker walks a bbolt file with reads only. bbolt has a check of its own, but that
// follows the pointers it checks, in a goroutine where a fault ends the process, and a
// cycle there ends the stack.
type checker struct {
	r     io.ReaderAt
	limit uint64 // page numbers are below
	used  []bool // pages that are free or were met
}

// meta is a bbolt meta page.
type meta struct{ root, freelist, pages, txid uint64 }

// checkFile verifies that every page is in exactly one place: meta, free list, free, or
// in a tree whose keys are in order and whose elements lie where bbolt puts them.
func checkFile(r io.ReaderAt, size int64) error {
	if size == 0 {
		return corrupt("it is empty")
	}
	if size < 4*pageOctets {
		return corrupt("%d octets are too few", size)
	}
	m, err := newestMeta(r)
	if err != nil {
		return err
	}
	if m.pages < 4 || m.pages > uint64(size)/pageOctets {
		return corrupt("it is cut off: %d octets where %d pages of %d should be", size, m.pages, pageOctets)
	}
	c := &checker{r: r, limit: m.pages, used: make([]bool, m.pages)}
	c.used[0], c.used[1] = true, true
	if err := c.freelist(m.freelist); err != nil {
		return err
	}
	if _, err := c.tree(m.root, 0, nil); err != nil {
		return err
	}
	for id, used := range c.used {
		if !used {
			return corrupt("page %d is lost", id)
		}
	}
	return nil
}

// newestMeta insists on both meta pages: with one, it would be unknown whether the
// other had a newer state.
func newestMeta(r io.ReaderAt) (meta, error) {
	var m [2]meta
	for i := range m {
		var err error
		if m[i], err = readMeta(r, uint64(i)); err != nil {
			return meta{}, err
		}
	}
	switch {
	case m[0].txid == m[1].txid+1:
		return m[0], nil
	case m[1].txid == m[0].txid+1:
		return m[1], nil
	}
	return meta{}, corrupt("its two meta pages are of transactions %d and %d", m[0].txid, m[1].txid)
}

func readMeta(r io.ReaderAt, id uint64) (meta, error) {
	var page [headerOctets + metaSummed + 8]byte
	if _, err := r.ReadAt(page[:], int64(id)*pageOctets); err != nil {
		return meta{}, corrupt("meta page %d: %v", id, err)
	}
	b := page[headerOctets:]
	if order.Uint32(b) != boltMagic || order.Uint32(b[4:]) != boltVersion {
		return meta{}, corrupt("meta page %d is not one of a journal", id)
	}
	sum := fnv.New64a()
	sum.Write(b[:metaSummed])
	if sum.Sum64() != order.Uint64(b[metaSummed:]) {
		return meta{}, corrupt("meta page %d has a wrong checksum", id)
	}
	if n := order.Uint32(b[8:]); n != pageOctets {
		return meta{}, corrupt("its pages have %d octets, not those %d of a journal", n, pageOctets)
	}
	if order.Uint64(page[:]) != id || order.Uint16(page[8:]) != flagMeta {
		return meta{}, corrupt("meta page %d has a wrong header", id)
	}
	return meta{order.Uint64(b[16:]), order.Uint64(b[32:]), order.Uint64(b[40:]), order.Uint64(b[48:])}, nil
}

// run is a page with those that it flows over into, or a page within a bucket's value.
type run struct {
	c      *checker
	id     uint64
	off    int64 // in the file
	size   int   // octets
	whole  []byte
	flags  uint16
	count  int
	inline bool
}

// bytes returns n octets of the run.
func (p *run) bytes(off, n int) ([]byte, error) {
	if off < 0 || n < 0 || off > p.size || n > p.size-off {
		return nil, corrupt("page %d points out of itself", p.id)
	}
	if p.whole != nil {
		return p.whole[off : off+n], nil
	}
	b := make([]byte, n)
	if _, err := p.c.r.ReadAt(b, p.off+int64(off)); err != nil {
		return nil, corrupt("page %d: %v", p.id, err)
	}
	return b, nil
}

// page reads a page's header, and claims it and those that it flows over into.
func (c *checker) page(id uint64) (*run, error) {
	if id < 2 || id >= c.limit {
		return nil, corrupt("a reference to page %d of %d", id, c.limit)
	}
	p := &run{c: c, id: id, off: int64(id) * pageOctets, size: pageOctets}
	first := make([]byte, pageOctets)
	if _, err := c.r.ReadAt(first, p.off); err != nil {
		return nil, corrupt("page %d: %v", id, err)
	}
	if order.Uint64(first) != id {
		return nil, corrupt("page %d says that it is page %d", id, order.Uint64(first))
	}
	p.flags, p.count = order.Uint16(first[8:]), int(order.Uint16(first[10:]))
	over := uint64(order.Uint32(first[12:]))
	if over >= c.limit-id {
		return nil, corrupt("page %d flows over the end", id)
	}
	for i := id; i <= id+over; i++ {
		if c.used[i] {
			return nil, corrupt("page %d is in two places", i)
		}
		c.used[i] = true
	}
	p.size = int(over+1) * pageOctets
	if over == 0 {
		p.whole = first
	} else if p.size <= wholeRun {
		b, err := p.bytes(0, p.size)
		if err != nil {
			return nil, err
		}
		p.whole = b
	}
	return p, nil
}

// freelist claims the free pages.
func (c *checker) freelist(id uint64) error {
	p, err := c.page(id)
	if err != nil {
		return err
	}
	if p.flags != flagFreelist {
		return corrupt("page %d is no free list", id)
	}
	off, n := headerOctets, uint64(p.count)
	if n == 0xFFFF { // the first entry is the count then
		b, err := p.bytes(off, 8)
		if err != nil {
			return err
		}
		off, n = off+8, order.Uint64(b)
	}
	if n > uint64(p.size)/8 {
		return corrupt("the free list is longer than its pages")
	}
	b, err := p.bytes(off, 8*int(n))
	if err != nil {
		return err
	}
	for ; len(b) > 0; b = b[8:] {
		free := order.Uint64(b)
		if free >= c.limit || c.used[free] {
			return corrupt("the free list has page %d, which is used or not there", free)
		}
		c.used[free] = true
	}
	return nil
}

// tree walks the pages under one, whose first key is low unless that is nil, and whose
// others are after it. It returns the last key.
func (c *checker) tree(id uint64, depth int, low []byte) ([]byte, error) {
	p, err := c.page(id)
	if err != nil {
		return nil, err
	}
	return c.node(p, depth, low)
}

func (c *checker) node(p *run, depth int, low []byte) ([]byte, error) {
	if depth > maxDepth {
		return nil, corrupt("page %d is too deep", p.id)
	}
	switch p.flags {
	case flagBranch:
		if p.count > 0 && !p.inline {
			return c.elements(p, depth, low, c.branchElement)
		}
	case flagLeaf:
		return c.elements(p, depth, low, c.leafElement)
	}
	return nil, corrupt("page %d is neither branch nor leaf", p.id)
}

// element is one entry of a page: its header, where its octets begin, and its key.
type element struct {
	p     *run
	head  []byte
	off   int
	key   []byte
	depth int
}

// elements walks a page's entries. Their octets follow the table of entries and each
// other without a gap.
func (c *checker) elements(p *run, depth int, low []byte, visit func(*element) (int, []byte, error)) ([]byte, error) {
	table, err := p.bytes(headerOctets, elemOctets*p.count)
	if err != nil {
		return nil, err
	}
	next := headerOctets + elemOctets*p.count
	if p.count == 0 && low != nil {
		return nil, corrupt("page %d is empty", p.id)
	}
	last := low
	for i := range p.count {
		e := &element{p: p, head: table[elemOctets*i : elemOctets*(i+1)], off: next, depth: depth}
		pos, ksize := order.Uint32(e.head), order.Uint32(e.head[4:])
		if p.flags == flagLeaf {
			pos, ksize = order.Uint32(e.head[4:]), order.Uint32(e.head[8:])
		}
		if int64(headerOctets+elemOctets*i)+int64(pos) != int64(next) || ksize == 0 || ksize > maxKey {
			return nil, corrupt("page %d, entry %d is not in its place", p.id, i)
		}
		if e.key, err = p.bytes(next, int(ksize)); err != nil {
			return nil, err
		}
		// The first key of a child is its parent's key. bbolt relies on that when it changes
		// either, its own check does not.
		if cmp := bytes.Compare(e.key, last); last != nil && (cmp < 0 || (cmp == 0) != (i == 0 && low != nil)) {
			return nil, corrupt("page %d, entry %d is out of order", p.id, i)
		}
		n, sub, err := visit(e)
		if err != nil {
			return nil, err
		}
		last = e.key
		if sub != nil {
			last = sub
		}
		next += int(ksize) + n
	}
	if p.inline && next != p.size {
		return nil, corrupt("a bucket in page %d has more than its entries", p.id)
	}
	return last, nil
}

func (c *checker) branchElement(e *element) (int, []byte, error) {
	last, err := c.tree(order.Uint64(e.head[8:]), e.depth+1, e.key)
	return 0, last, err
}

func (c *checker) leafElement(e *element) (int, []byte, error) {
	flags, vsize := order.Uint32(e.head), order.Uint32(e.head[12:])
	if flags&^flagBucket != 0 || vsize > maxValues {
		return 0, nil, corrupt("page %d has an entry of an unknown kind", e.p.id)
	}
	off := e.off + len(e.key)
	if off > e.p.size || int(vsize) > e.p.size-off {
		return 0, nil, corrupt("page %d has an entry longer than itself", e.p.id)
	}
	if flags == 0 {
		return int(vsize), nil, nil
	}
	return int(vsize), nil, c.bucket(e, off, int(vsize))
}

// bucket walks a bucket: its root's page, or the page within the value.
func (c *checker) bucket(e *element, off, size int) error {
	value, err := e.p.bytes(off, size)
	if err != nil {
		return err
	}
	if size < bucketOctets {
		return corrupt("page %d has a bucket of %d octets", e.p.id, size)
	}
	if root := order.Uint64(value); root != 0 {
		if size != bucketOctets {
			return corrupt("page %d has a bucket of %d octets", e.p.id, size)
		}
		_, err := c.tree(root, e.depth+1, nil)
		return err
	}
	value = value[bucketOctets:]
	// An inline page has no number and nowhere to flow; bbolt would free the page that it
	// names.
	if len(value) < headerOctets || order.Uint64(value) != 0 || order.Uint32(value[12:]) != 0 {
		return corrupt("page %d has a bad bucket of %d octets", e.p.id, size)
	}
	_, err = c.node(&run{
		c: c, id: e.p.id, size: len(value), whole: value, inline: true,
		flags: order.Uint16(value[8:]), count: int(order.Uint16(value[10:])),
	}, e.depth+1, nil)
	return err
}
