package provenance

import (
	"slices"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Lines gathers the lines of records until they are a batch. The zero Lines is
// ready; one that is reset keeps its buffers.
type Lines struct {
	text   []byte // the lines, one after the other
	ends   []int  // of the lines in text
	ids    []byte // likewise
	idEnds []int
	lines  [][]byte
}

// Reset forgets the lines and makes room for size bytes of the next ones.
func (b *Lines) Reset(size int) {
	b.text, b.ends, b.ids, b.idEnds, b.lines = slices.Grow(b.text[:0], size), b.ends[:0], b.ids[:0], b.idEnds[:0], b.lines[:0]
}

// Add adds the line of the log's next record. A record that is no object has
// none: the error is ErrNoObject.
func (b *Lines) Add(log *Log, record []byte) error {
	text, ids, err := log.Line(b.text, b.ids, record)
	if err != nil {
		return err
	}
	b.text, b.ends = text, append(b.ends, len(text))
	b.ids, b.idEnds = ids, append(b.idEnds, len(ids))
	return nil
}

// Size returns how many bytes the lines come to.
func (b *Lines) Size() int { return len(b.text) }

// Len returns how many lines there are.
func (b *Lines) Len() int { return len(b.ends) }

// Batch returns the lines as a part of the log's. It is valid until Reset.
func (b *Lines) Batch(log trail.Object, part int) trail.Batch {
	batch := trail.Batch{Log: log, Part: part, IDs: make([]string, len(b.ends)), Lines: b.lines[:0]}
	ids, start, idStart := string(b.ids), 0, 0
	for i, end := range b.ends {
		batch.Lines = append(batch.Lines, b.text[start:end:end])
		batch.IDs[i] = ids[idStart:b.idEnds[i]]
		start, idStart = end, b.idEnds[i]
	}
	b.lines = batch.Lines
	return batch
}
