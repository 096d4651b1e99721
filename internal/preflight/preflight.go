// Package preflight finds out whether a source can be read, before a worker
// runs: what is listed, one digest and one log file opened, and where logs are
// written that no digest will vouch for. It proves nothing and changes nothing.
package preflight

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Source is a source to try.
type Source struct {
	source.Source
	Objects fetch.Objects
	Keep    func(trail.Place) bool // as in discover.Finder
	Since   time.Time              // logs before it are of no interest
	Now     time.Time
}

// Result is what came of one trial. With neither Err nor Missing nor Note all
// is well.
type Result struct {
	Detail   string
	Missing  bool   // something has to be set right
	Note     bool   // worth knowing
	Err      error  // as the source gave it: something has to be set right, Detail is empty
	Action   string // of S3, that Err may be about
	Resource string // BUCKET or BUCKET/*, what Action is about
}

// The actions that a source needs.
const (
	listBucket = "s3:ListBucket"
	getObject  = "s3:GetObject"
)

// Try tries the source and returns the regions that it has folders of.
func (s Source) Try(ctx context.Context) ([]Result, []string) {
	s.Objects = s.View(s.Objects)
	var unlistable atomic.Int64
	finder := &discover.Finder{
		Objects: s.Objects, Source: s.Source, Concurrency: 1, Keep: s.Keep,
		Unlistable: func(trail.Place, trail.Object, error) { unlistable.Add(1) },
	}
	found, err := finder.Places(ctx)
	places := found.Places
	if err == nil {
		err = found.Absent()
	}
	if err != nil {
		return []Result{s.failed(err, listBucket)}, nil
	}
	accounts, regions := map[string]bool{}, map[string]bool{}
	for _, p := range places {
		accounts[p.Account], regions[p.Region] = true, true
	}
	all := []Result{{Detail: fmt.Sprintf("listed: %s, %s", count(len(accounts), "account"), count(len(regions), "region"))}}
	if n := int(unlistable.Load()); n > 0 {
		all = append(all, Result{Missing: true, Detail: count(n, "folder") + " could not be listed"})
	}
	all = append(all, s.read(ctx, finder, places)...)
	return append(all, s.validation(ctx, places)...), slices.Sorted(maps.Keys(regions))
}

func (s Source) failed(err error, action string) Result {
	r := Result{Err: err, Action: action, Resource: s.Bucket}
	if action == getObject {
		r.Resource += "/*"
	}
	return r
}

// read reads the newest digest of the first place that has one, and a log file.
func (s Source) read(ctx context.Context, finder *discover.Finder, places []discover.Place) []Result {
	for _, p := range places {
		if !p.Digests {
			continue
		}
		newest, ok, err := finder.Newest(ctx, s.Signed(), p, s.Now.AddDate(0, 0, 1))
		if err != nil {
			return []Result{s.failed(err, listBucket)}
		}
		if !ok {
			continue
		}
		digest, logs := s.readDigest(ctx, p, newest)
		if digest.Err != nil {
			return []Result{digest}
		}
		return append([]Result{digest}, s.readLog(ctx, logs)...)
	}
	return []Result{{Missing: true, Detail: "no digest found: nothing can be proven"}}
}

// readDigest reads a digest, and says where a log file may be: one that it
// lists or, in an hour without, the first there is.
func (s Source) readDigest(ctx context.Context, p discover.Place, d discover.Digest) (Result, []trail.Object) {
	fetcher := fetch.New(s.Objects, 1)
	fetcher.Plain = s.IsCopy()
	at := s.Locate(d.Object())[0]
	f, err := fetcher.Digest(ctx, at)
	r := Result{Detail: "read: " + at.String()}
	switch {
	case err != nil && !finding.IsFact(err):
		return s.failed(err, getObject), nil
	case err != nil:
		r = Result{Note: true, Detail: "the newest digest is broken, which the worker will report: " + err.Error()}
	case len(f.Digest.Logs) > 0:
		return r, s.Locate(f.Digest.Logs[0].Location())
	}
	if o, err := s.firstLog(ctx, p, time.Time{}); err == nil && o.Key != "" {
		return r, []trail.Object{o}
	}
	return r, nil
}

// readLog reads the first byte of the first object that is there.
func (s Source) readLog(ctx context.Context, at []trail.Object) []Result {
	var absent error
	for _, o := range at {
		body, _, err := s.Objects.Get(ctx, o)
		if err == nil {
			_, err = io.CopyN(io.Discard, body, 1)
			body.Close()
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			absent = err
		case err != nil:
			return []Result{s.failed(err, getObject)}
		default:
			return []Result{{Detail: "read: " + o.String()}}
		}
	}
	if absent != nil {
		return []Result{{Note: true, Detail: "a log file is gone, which the worker will report: " + absent.Error()}}
	}
	return []Result{{Note: true, Detail: "no log file found to be read"}}
}

// validation points out where logs are written and nothing vouches for them.
func (s Source) validation(ctx context.Context, places []discover.Place) []Result {
	const shown = 20
	var off []string
	for _, p := range places {
		if p.Digests || !p.Logs {
			continue
		}
		if o, err := s.firstLog(ctx, p, s.Since); err != nil || o.Key != "" {
			off = append(off, p.Account+" "+p.Region)
		}
	}
	if len(off) == 0 {
		return nil
	}
	more := ""
	if len(off) > shown {
		off, more = off[:shown], fmt.Sprintf(" and %d more", len(off)-shown)
	}
	return []Result{{Missing: true, Detail: "log files and no digests: " + strings.Join(off, ", ") + more +
		": switch validation on (aws cloudtrail update-trail --name TRAIL --enable-log-file-validation)"}}
}

// firstLog returns a place's first log file from the day of from on, one with
// an empty key where there is none.
func (s Source) firstLog(ctx context.Context, p discover.Place, from time.Time) (trail.Object, error) {
	for _, root := range p.Roots {
		after := ""
		if !from.IsZero() {
			after = root + p.Day(trail.LogFolder, from)
		}
		for o, err := range s.Objects.List(ctx, s.Signed(), root+p.Folder(trail.LogFolder), after) {
			if err != nil || !discover.IsMarker(o) {
				return o, err
			}
		}
	}
	return trail.Object{}, nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
