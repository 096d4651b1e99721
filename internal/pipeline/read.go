package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// body is a log file in memory: inflated or, if it is large, as it is stored.
type body struct {
	held   *held
	stored fetch.Chunks // as it is stored; nil for one that is held inflated
	sum    digest.Sum
	size   int64 // inflated bytes
}

// held is what a log file holds until it is released. One goroutine uses it.
type held struct {
	pipeline *Pipeline
	share    *Share
	class    int     // of the buffer
	buffer   *buffer // inflated, or nil
	reserved amount  // zero where nothing is reserved
}

func (b body) release() {
	if b.held != nil {
		b.held.release()
	}
}

// readAny reads the files that can be the log file until one has the signed hash, and
// returns that one. In a copy it then compares the others, too. An error is about the
// file that speaks most against the log file: one that was not read before one that has
// another content, before one that is not there.
func (p *Pipeline) readAny(ctx context.Context, j Job) (good body, r Receipt, err error) {
	found := false
	for _, at := range j.Places {
		var sum digest.Sum
		var readErr error
		if found {
			sum, readErr = p.hash(ctx, j, at)
		} else {
			var b body
			b, readErr = p.read(ctx, j, at)
			if sum = b.sum; readErr == nil {
				found, good = true, b
				r.At, r.Sum, r.Bytes = at, sum, b.size
			}
		}
		if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
			r.Others = append(r.Others, Other{at, sum, readErr})
		}
		if ctx.Err() != nil {
			good.release()
			return body{}, r, ctx.Err()
		}
	}
	switch {
	case found:
		return good, r, nil
	case len(r.Others) == 0:
		r.At = j.Places[0]
		return body{}, r, fs.ErrNotExist
	}
	worst := 0
	for i, o := range r.Others {
		if !finding.IsFact(o.Err) {
			worst = i
			break
		}
	}
	w := r.Others[worst]
	r.At, r.Sum = w.At, w.Sum
	r.Others = append(r.Others[:worst:worst], r.Others[worst+1:]...)
	return body{}, r, w.Err
}

// hash reads a file for its hash alone, and compares that with the signed one.
func (p *Pipeline) hash(ctx context.Context, j Job, at trail.Object) (digest.Sum, error) {
	f := j.Share.source.fetcher
	s, err := f.ReadLog(ctx, at, fetch.LogRead{Slot: j.Slot, MaxInflated: f.MaxLog})
	if err != nil {
		return s.Sum, err
	}
	return s.Sum, j.Log.Check(s.Sum)
}

// read reads a file and compares its hash with the signed one. It begins with the size
// class of the chain's last log file and goes up from there.
func (p *Pipeline) read(ctx context.Context, j Job, at trail.Object) (body, error) {
	for n := classOf(j.Share.last.inflated.Load()); n < len(classes); n++ {
		b, err := p.readInflated(ctx, j, at, n)
		if err == nil {
			j.Share.remember(b.size)
		}
		if !errors.Is(err, inflate.ErrTooLarge) {
			return b, err
		}
	}
	b, err := p.readStored(ctx, j, at)
	switch {
	case err == nil:
		j.Share.remember(b.size)
	case errors.Is(err, errManyStored):
		// CloudTrail does not write such a file, so it is most likely planted. It is read
		// for its hash alone.
		var modified error
		if b.sum, modified = p.hash(ctx, j, at); modified != nil {
			err = modified
		}
	}
	return b, err
}

// readInflated reads a file of a size class into a buffer. It reserves the memory when
// the first bytes are there: while a request waits for the network, it holds none.
func (p *Pipeline) readInflated(ctx context.Context, j Job, at trail.Object, n int) (b body, err error) {
	h := &held{pipeline: p, share: j.Share, class: n}
	s, err := j.Share.source.fetcher.ReadLog(
		ctx, at, fetch.LogRead{Early: j.Early, Slot: j.Slot, MaxInflated: classes[n].inflated, Open: h.open},
	)
	b = body{sum: s.Sum, size: s.Inflated}
	if err == nil {
		err = j.Log.Check(s.Sum)
	}
	if err != nil {
		h.release()
		return b, err
	}
	b.held = h
	return b, nil
}

// open reserves memory for a log file of the class and returns the buffer to inflate it into,
// which it empties.
func (h *held) open(ctx context.Context) (io.Writer, error) {
	c := classes[h.class]
	err := h.reserve(ctx, amount{memory: c.reserve(h.share.source.sinks), active: h.share.estimate(c)})
	if err != nil {
		return nil, err
	}
	if h.buffer == nil {
		h.buffer = h.pipeline.buffers[h.class].Get().(*buffer)
	}
	h.buffer.reset(int(min(withSlack(h.share.last.inflated.Load()), c.inflated)))
	return h.buffer, nil
}

// errManyStored says that a file has more than maxStored stored bytes.
var errManyStored = fmt.Errorf("more than %d stored bytes: %w", maxStored, inflate.ErrTooLarge)

// readStored reads a file that is too large to be held inflated: its stored bytes are
// held, and inflated once for the hash and once more for the records. It reserves the
// memory when the first bytes are there.
func (p *Pipeline) readStored(ctx context.Context, j Job, at trail.Object) (b body, err error) {
	h := &held{pipeline: p, share: j.Share}
	defer func() {
		if err != nil {
			h.release()
		}
	}()
	f := j.Share.source.fetcher
	b.stored, err = f.Stored(ctx, at, fetch.StoredRead{Slot: j.Slot, Max: maxStored, Open: func(ctx context.Context) error {
		return h.reserve(ctx, amount{memory: largeReserve(j.Share.source.sinks)})
	}})
	if errors.Is(err, inflate.ErrTooLarge) {
		return body{}, errManyStored
	}
	if err == nil {
		b.sum, b.size, err = inflate.Copy(nil, b.stored.Reader(), f.InflateLog())
	}
	if err == nil {
		err = j.Log.Check(b.sum)
	}
	if err != nil {
		return body{sum: b.sum}, err
	}
	b.held = h
	return b, nil
}
