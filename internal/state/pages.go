package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
)

// The file format of bbolt, version 2, in the machine's byte order: pages of a
// header (id 8, flags 2, count 2, overflow 4) and what the flags say. The first
// two are metas, the one with the higher transaction that has a good checksum
// counts; a crash can leave the other one torn.
const (
	pageSize   = 4096 // of the files that OpenFile makes, whatever the machine's
	headerSize = 16
	elemSize   = 16
	bucketSize = 16 // root page 8, sequence 8; an inline page follows where the root is 0
	metaSum    = 56 // offset of the checksum in a meta

	branchPage = 0x01
	leafPage   = 0x02
	freePage   = 0x10
	bucketElem = 0x01

	boltMagic   = 0xED0CDAED
	boltVersion = 2
	maxDepth    = 64 // of pages below each other; a million values take 4
)

// pages reads a file of bbolt without trusting any of it. bbolt itself maps
// the file and follows what it finds: on damaged pages it panics, faults, runs
// in circles or silently misses values. So every page is looked at here before
// bbolt sees the file, and each must be reachable exactly once or free.
type pages struct {
	r     io.ReaderAt
	end   uint64 // first page that is not in use; the file is at least so long
	used  []bool // by page: met on the way
	value func(bucket, name string, value []byte) error
}

// bounds are the keys that may lie below a branch: from low on, and before
// high unless that is nil.
type bounds struct{ low, high []byte }

var ne = binary.NativeEndian

// readPages calls value for every value of every bucket. Its error says which
// part of the file is not as bbolt writes it, or is that of value or r.
func readPages(r io.ReaderAt, size int64, value func(bucket, name string, value []byte) error) error {
	m, err := newestMeta(r)
	if err != nil {
		return err
	}
	root, free, end := ne.Uint64(m[16:]), ne.Uint64(m[32:]), ne.Uint64(m[40:])
	if end < 3 || end > uint64(size)/pageSize {
		return fmt.Errorf("%d pages of %d bytes are in use, and the file has %d bytes", end, pageSize, size)
	}
	p := &pages{r: r, end: end, used: make([]bool, end), value: value}
	p.used[0], p.used[1] = true, true
	if err := p.tree(root, "", bounds{}, 0); err != nil {
		return err
	}
	if err := p.free(free); err != nil {
		return err
	}
	for id, used := range p.used {
		if !used {
			return fmt.Errorf("page %d is lost", id)
		}
	}
	return nil
}

func newestMeta(r io.ReaderAt) ([]byte, error) {
	var newest []byte
	for i := range int64(2) {
		b := make([]byte, pageSize)
		if _, err := r.ReadAt(b, i*pageSize); err != nil && err != io.EOF {
			return nil, err
		}
		m, h := b[headerSize:], fnv.New64a()
		_, _ = h.Write(m[:metaSum])
		good := ne.Uint32(m) == boltMagic && ne.Uint32(m[4:]) == boltVersion && ne.Uint64(m[metaSum:]) == h.Sum64()
		// bbolt believes the size of whatever good meta it finds, and looks for
		// one behind the first.
		if good && ne.Uint32(m[8:]) != pageSize || len(bytes.Trim(m[metaSum+8:], "\x00")) > 0 {
			return nil, fmt.Errorf("page %d is none of a state file", i)
		}
		if good && (newest == nil || ne.Uint64(m[48:]) > ne.Uint64(newest[48:])) {
			newest = m
		}
	}
	if newest == nil {
		return nil, fmt.Errorf("its first pages are not those of a state file")
	}
	return newest, nil
}

// page reads a page with its overflow, and marks them.
func (p *pages) page(id uint64) ([]byte, error) {
	if id < 2 || id >= p.end {
		return nil, fmt.Errorf("page %d is none", id)
	}
	var header [headerSize]byte
	if _, err := p.r.ReadAt(header[:], int64(id)*pageSize); err != nil {
		return nil, err
	}
	more := uint64(ne.Uint32(header[12:]))
	if ne.Uint64(header[:]) != id {
		return nil, fmt.Errorf("page %d: bad header", id)
	}
	for i := id; i <= id+more; i++ {
		if err := p.mark(i); err != nil {
			return nil, err
		}
	}
	b := make([]byte, (1+more)*pageSize)
	_, err := p.r.ReadAt(b, int64(id)*pageSize)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

func (p *pages) mark(id uint64) error {
	if id < 2 || id >= p.end || p.used[id] {
		return fmt.Errorf("page %d is none or is used twice", id)
	}
	p.used[id] = true
	return nil
}

// tree reads the page id of bucket and what is below it.
func (p *pages) tree(id uint64, bucket string, in bounds, depth int) error {
	b, err := p.page(id)
	if err != nil {
		return err
	}
	if depth > maxDepth {
		return fmt.Errorf("page %d is too deep", id)
	}
	if ne.Uint16(b[8:]) == branchPage {
		return p.branch(id, b, bucket, in, depth)
	}
	if err := p.leaf(b, bucket, in, depth); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

func (p *pages) branch(id uint64, b []byte, bucket string, in bounds, depth int) error {
	n := int(ne.Uint16(b[10:]))
	keys := make([][]byte, n+1)
	for i := range n {
		elem, ok := element(b, i)
		if ok {
			keys[i], ok = part(elem, uint64(ne.Uint32(elem)), uint64(ne.Uint32(elem[4:])))
		}
		if !ok || !in.hold(keys[:i], keys[i]) {
			return fmt.Errorf("page %d: bad branch", id)
		}
	}
	if n == 0 {
		return fmt.Errorf("page %d: empty branch", id)
	}
	keys[n] = in.high
	for i := range n {
		child := ne.Uint64(b[headerSize+i*elemSize+8:])
		if err := p.tree(child, bucket, bounds{keys[i], keys[i+1]}, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (p *pages) leaf(b []byte, bucket string, in bounds, depth int) error {
	if ne.Uint16(b[8:]) != leafPage {
		return fmt.Errorf("neither branch nor leaf")
	}
	n := int(ne.Uint16(b[10:]))
	keys := make([][]byte, n)
	for i := range n {
		elem, ok := element(b, i)
		if !ok {
			return fmt.Errorf("too many elements")
		}
		flags, pos := ne.Uint32(elem), uint64(ne.Uint32(elem[4:]))
		ksize, vsize := uint64(ne.Uint32(elem[8:])), uint64(ne.Uint32(elem[12:]))
		both, ok := part(elem, pos, ksize+vsize)
		if !ok {
			return fmt.Errorf("element outside its page")
		}
		keys[i] = both[:ksize]
		if !in.hold(keys[:i], keys[i]) {
			return fmt.Errorf("keys out of order")
		}
		if err := p.element(flags, bucket, string(keys[i]), both[ksize:], depth); err != nil {
			return err
		}
	}
	return nil
}

// element is one of a leaf: a bucket in the root, a value in a bucket.
func (p *pages) element(flags uint32, bucket, key string, value []byte, depth int) error {
	switch {
	case flags == 0 && bucket != "":
		return p.value(bucket, key, value)
	case flags != bucketElem || bucket != "" || len(value) < bucketSize:
		return fmt.Errorf("an element of an unknown kind")
	}
	if root := ne.Uint64(value); root != 0 {
		return p.tree(root, key, bounds{}, depth+1)
	}
	if len(value) < bucketSize+headerSize {
		return fmt.Errorf("a bucket cut short")
	}
	return p.leaf(value[bucketSize:], key, bounds{}, depth+1)
}

// free reads the list of free pages. One that is in use would be overwritten
// by the next commit.
func (p *pages) free(id uint64) error {
	b, err := p.page(id)
	if err != nil {
		return err
	}
	n, ids := uint64(ne.Uint16(b[10:])), b[headerSize:]
	if n == 0xFFFF { // too many for the header
		n, ids = ne.Uint64(ids), ids[8:]
	}
	if ne.Uint16(b[8:]) != freePage || n > uint64(len(ids)/8) {
		return fmt.Errorf("page %d: bad list of free pages", id)
	}
	for last := uint64(0); n > 0; n-- {
		next := ne.Uint64(ids)
		if next <= last {
			return fmt.Errorf("page %d: free pages out of order", id)
		}
		if err := p.mark(next); err != nil {
			return fmt.Errorf("free: %w", err)
		}
		last, ids = next, ids[8:]
	}
	return nil
}

// hold reports whether key follows those before it and lies in the bounds.
func (in bounds) hold(before [][]byte, key []byte) bool {
	if len(key) == 0 || bytes.Compare(key, in.low) < 0 || in.high != nil && bytes.Compare(key, in.high) >= 0 {
		return false
	}
	return len(before) == 0 || bytes.Compare(before[len(before)-1], key) < 0
}

// element returns the page from its i-th element on: what the element points
// to is counted from there.
func element(page []byte, i int) ([]byte, bool) {
	at := headerSize + i*elemSize
	if at+elemSize > len(page) {
		return nil, false
	}
	return page[at:], true
}

func part(b []byte, from, size uint64) ([]byte, bool) {
	if from < elemSize || from+size > uint64(len(b)) {
		return nil, false
	}
	return b[from : from+size], true
}
