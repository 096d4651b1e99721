package discover

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/pkg/trail"
)

// EachDigest lists a place's digest folders from the day of from on and calls
// visit with the name of each digest, in the order of the keys of each folder; a
// zero from lists everything. In a copy the names have neither bucket nor prefix,
// and one name can come several times. Foreign is told of other objects in
// those folders.
func (f *Finder) EachDigest(
	ctx context.Context,
	bucket string,
	p Place,
	from time.Time,
	visit func(Digest) bool,
) error {
	names := p.Place
	for _, root := range p.Roots {
		folder := root + p.Folder(trail.DigestFolder)
		after := ""
		if !from.IsZero() {
			after = root + p.Day(trail.DigestFolder, from)
		}
		var last trail.Chain // its strings are shared by all its digests, so that each may let go of its key
		for o, err := range f.Objects.List(ctx, bucket, folder, after) {
			if err != nil {
				return err
			}
			if IsMarker(o) || f.IsExcepted(o.Key) {
				continue
			}
			k, err := trail.ParseDigestKey(f.logical(o.Key[len(root):]))
			if err != nil || k.Place != names {
				f.foreign(p.Place, o, "in a digest folder, and not named like a digest of it")
				continue
			}
			if k.Chain == last {
				k.Chain = last
			}
			last = k.Chain
			if !visit(Digest{DigestKey: k, Bucket: bucket}) {
				break
			}
		}
	}
	return nil
}

// logical returns the key that a file of a copy stands for.
func (f *Finder) logical(key string) string {
	if f.Source.IsCopy() {
		key, _ = source.Logical(key)
	}
	return key
}

// Digests lists a place's digests that end from the day of from on and not
// after until, by chain, oldest first.
func (f *Finder) Digests(
	ctx context.Context,
	bucket string,
	p Place,
	from, until time.Time,
) (map[trail.Chain][]Digest, error) {
	found := map[trail.Chain][]Digest{}
	past := p.Day(trail.DigestFolder, until.AddDate(0, 0, 1))
	err := f.EachDigest(ctx, bucket, p, from, func(d Digest) bool {
		if d.Day(trail.DigestFolder, d.End) >= past {
			return false
		}
		if !d.End.After(until) {
			found[d.Chain] = append(found[d.Chain], d)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	for name, digests := range found {
		slices.SortFunc(digests, func(a, b Digest) int { return a.End.Compare(b.End) })
		found[name] = slices.CompactFunc(digests, func(a, b Digest) bool { return a == b })
	}
	return found, nil
}

// Odd yields what lies in a log folder and not in the folder of a day: objects
// directly below the region, a year or a month, and whole folders whose name is
// not that of a year, month or day. It looks into the years and months of the
// given days only. The visit function is given the folders as objects whose key
// ends in a slash.
func (f *Finder) Odd(
	ctx context.Context,
	bucket, folder string,
	first, last time.Time,
	visit func(o trail.Object) error,
) error {
	layouts := [...]string{"2006/", "2006/01/", "2006/01/02/"} // a month can lack a day
	var look func(above string, level int) error
	look = func(above string, level int) error {
		layout := layouts[level]
		for o, err := range f.Objects.Children(ctx, bucket, above) {
			if err != nil {
				return err
			}
			date := o.Key[len(folder):]
			switch {
			case o.Key == above, f.IsExcepted(o.Key):
			case !IsFolder(o, above) || !isDate(date, layout):
				err = visit(o)
			case level < len(layouts)-1 && date >= first.UTC().Format(layout) && date <= last.UTC().Format(layout):
				err = look(o.Key, level+1)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return look(folder, 0)
}

// isDate reports whether name is written as the layout writes it.
func isDate(name, layout string) bool {
	t, err := time.Parse(layout, name)
	return err == nil && t.Format(layout) == name && !strings.HasPrefix(name, "0000")
}
