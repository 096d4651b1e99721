package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
)

// sealSize is what a sealed value is longer than the value.
const sealSize = 8

// seal returns a value as it is stored: behind a hash of its bucket, name and
// bytes. bbolt notices no damage but that of its two first pages; with the
// hash a value that changed, or came under another name, is known.
func seal(bucket, name string, value []byte) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, sealSize+len(value)), hash(bucket, name, value))
	return append(b, value...)
}

// unseal returns the value and its hash. ok says that it is the one that was
// sealed.
func unseal(bucket, name string, sealed []byte) (value []byte, sum uint64, ok bool) {
	if len(sealed) < sealSize {
		return nil, 0, false
	}
	value, sum = bytes.Clone(sealed[sealSize:]), binary.BigEndian.Uint64(sealed)
	return value, sum, sum == hash(bucket, name, value)
}

func hash(bucket, name string, value []byte) uint64 {
	h := sha256.New()
	for _, s := range []string{bucket, name} {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		_, _ = h.Write([]byte(s))
	}
	_, _ = h.Write(value)
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// total is what all values add up to. It is stored beside them and changes
// with each: a value that is gone, or is there twice, makes another total.
type total struct {
	count uint64
	sum   uint64 // of the hashes, modulo 1<<64
}

func (t total) encode() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, t.count), t.sum)
}

func decodeTotal(b []byte) (t total, ok bool) {
	if len(b) != 16 {
		return t, false
	}
	return total{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}, true
}
