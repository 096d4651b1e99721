package ingest

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// lookBack is how many days of a place's digests each look lists: backfill
// digests come late, and a chain's head may be that old.
const lookBack = 7 * 24 * time.Hour

// pollAll looks at a source again and again. New accounts and regions appear
// by themselves.
func (w *Worker) pollAll(ctx context.Context, s *source) error {
	for {
		err := w.poll(ctx, s)
		w.mu.Lock()
		w.sourceErr = err
		w.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && w.Once:
			return err
		case err != nil:
			w.Log.Warn("source cannot be listed", "source", s.Name, "error", err)
		case w.Once:
			return nil
		}
		if err := sleep(ctx, w.Poll); err != nil {
			return err
		}
	}
}

// poll announces every digest that the source's listings show.
func (w *Worker) poll(ctx context.Context, s *source) error {
	places, err := s.finder.Places(ctx)
	if err != nil {
		return err
	}
	if len(places) == 0 {
		return discover.ErrNothing
	}
	var errs []error
	for _, p := range places {
		if err := w.pollPlace(ctx, s, p); err != nil {
			if errors.Is(err, ErrHalt) {
				return err
			}
			errs = append(errs, err)
		}
	}
	w.checkLate(ctx)
	return errors.Join(errs...)
}

func (w *Worker) pollPlace(ctx context.Context, s *source, p discover.Place) error {
	until := w.Now().Add(window)
	chains, err := s.finder.Digests(ctx, s.Bucket, p.Place, w.listFrom(s, p), until)
	if err != nil {
		return err
	}
	if len(chains) == 0 && p.Logs {
		return w.withoutDigests(ctx, s, p)
	}
	for name, digests := range chains {
		if !wanted(w.Trails, name.Trail) {
			continue
		}
		f := w.follower(s, bare(name))
		for _, d := range digests {
			if !d.End.Before(w.Since) {
				f.announce(d, nil)
			}
		}
		w.kick(ctx, f)
	}
	return nil
}

// listFrom returns the day from which a place's digests are listed: that of
// the oldest head there, some days at least, and all since Since for a chain
// never seen.
func (w *Worker) listFrom(s *source, p discover.Place) time.Time {
	from, known := w.Now().Add(-lookBack), false
	for _, f := range w.followers() {
		if f.source != s || f.name.Account != p.Account || f.name.Region != p.Region || f.name.Backfill {
			continue
		}
		f.mu.Lock()
		if f.loaded && !f.head.Cursor.IsZero() {
			known = true
			if f.head.Cursor.Before(from) {
				from = f.head.Cursor
			}
		}
		f.mu.Unlock()
	}
	if !known && w.Since.Before(from) || from.Before(w.Since) {
		return w.Since
	}
	return from
}

// withoutDigests reports a place that has recent logs and no digests.
func (w *Worker) withoutDigests(ctx context.Context, s *source, p discover.Place) error {
	from := w.Since
	if day := w.Now().Add(-24 * time.Hour); day.After(from) {
		from = day
	}
	for o, err := range s.Objects.List(ctx, s.Bucket, p.Folder(trail.LogFolder), p.Day(trail.LogFolder, from)) {
		if err != nil {
			return err
		}
		if discover.IsMarker(o) {
			continue
		}
		return w.find(ctx, finding.Finding{
			Class:   finding.Coverage,
			Subject: finding.Subject{Account: p.Account, Region: p.Region, Bucket: s.Bucket, Key: p.Folder(trail.LogFolder)},
			Detail:  "log files, and no digests: switch validation on (aws cloudtrail update-trail --enable-log-file-validation)",
		})
	}
	return nil
}

// checkLate reports chains whose newest digest is later than the grace, once
// until the next one comes.
func (w *Worker) checkLate(ctx context.Context) {
	for _, f := range w.followers() {
		f.mu.Lock()
		end, late, idle := f.head.End, f.late, !f.running
		isLate := !f.name.Backfill && !end.IsZero() && w.Now().Sub(end) > w.Grace+window
		f.late = isLate
		f.mu.Unlock()
		if isLate && !late && idle && !w.Once {
			w.warn(w.find(ctx, finding.Finding{
				Class:    finding.Coverage,
				Subject:  finding.Subject{Account: f.name.Account, Region: f.name.Region, Trail: f.name.Trail, Bucket: f.source.Bucket, Time: end},
				Detail:   "no digest after the one that ends at " + end.Format(time.RFC3339) + ": deleted, late, or logging stopped",
				Evidence: finding.Evidence{From: end, To: w.Now().UTC().Truncate(time.Second)},
			}))
		}
	}
}

// bare returns a chain's name without the prefix and organization that its
// files happen to lie below: a trail is known by its name and home region.
func bare(c trail.Chain) trail.Chain {
	c.Prefix, c.Organization = "", ""
	return c
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// counting counts the bytes that are read.
type counting struct {
	fetch.Objects
	m *Metrics
}

func (c counting) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	body, meta, err := c.Objects.Get(ctx, o)
	if err == nil {
		body = countedBody{body, c.m}
	}
	return body, meta, err
}

type countedBody struct {
	io.ReadCloser
	m *Metrics
}

func (b countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.m.fetched.Add(float64(n))
	return n, err
}
