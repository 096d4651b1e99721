package verify

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// unlisted judges the objects of a scope's log folders that no trusted digest
// lists.
type unlisted struct {
	r     *run
	scope *scope
	// spans and ends are of each chain. They are made anew when more digests are read.
	spans map[*strands][]report.Segment // what trusted digests say of the time, in order
	ends  map[*strands]end

	doubts   map[placeHour]*tally   // not judged, by place and hour
	coverage map[trail.Place]*tally // of places without a chain
}

type placeHour struct {
	place trail.Place
	hour  int64
}

// tally counts objects of one kind.
type tally struct {
	count       int
	first       trail.Object // the first by key
	from, until time.Time    // their stamps
	why         string
}

func (t *tally) add(o trail.Object, stamp time.Time, why string) {
	if t.count++; t.count == 1 || o.Key < t.first.Key {
		t.first, t.why = o, why
	}
	if t.from.IsZero() || stamp.Before(t.from) {
		t.from = stamp
	}
	if stamp.After(t.until) {
		t.until = stamp
	}
}

// checkUnlisted looks at every object that can hold log files of the asked time:
// does a digest list it?
func (r *run) checkUnlisted(ctx context.Context, s *scope, listings []*logObjects) {
	u := &unlisted{r: r, scope: s, doubts: map[placeHour]*tally{}, coverage: map[trail.Place]*tally{}}
	seen := 0
	for _, l := range listings {
		isTold := false
		for o := range l.found {
			if o.err != nil {
				if ctx.Err() == nil && !isTold {
					isTold = true
					r.unsearched.Store(true)
					folder := trail.Object{Bucket: r.cfg.Source.Signed(), Key: l.folder}
					r.doubt(ctx, subject(trail.Chain{Place: l.place.Place}, folder, r.cfg.Start), o.err, 0)
				}
				continue
			}
			if discover.IsMarker(o.Object) || r.finder.IsExcepted(o.Key) {
				continue
			}
			seen++
			u.object(ctx, l, o)
		}
	}
	u.conclude()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logObjects += seen
}

// object judges one object of a log folder.
func (u *unlisted) object(ctx context.Context, l *logObjects, o foundObject) {
	root := strings.TrimSuffix(l.folder, l.place.Folder(trail.LogFolder))
	key := o.Key[len(root):]
	if u.r.cfg.Source.IsCopy() {
		key, _ = source.Logical(key)
	}
	signed := trail.Object{Bucket: o.Bucket, Key: key}
	if u.scope.listed.has(u.r.signedName(signed)) {
		return
	}
	k, err := trail.ParseLogKey(key)
	if o.isOdd || err != nil || k.Place != l.place.Place {
		u.foreign(ctx, l, o, key)
		return
	}
	if !u.isAsked(k) || !k.Stamp.Before(u.r.due()) {
		return
	}
	// A log that was delivered late is listed by a digest of its folder's day.
	end := k.Day.Add(24 * time.Hour)
	u.readBetween(ctx, later(k.Stamp, k.Day.Add(-maxLate)), end)
	if u.scope.listed.has(u.r.signedName(signed)) {
		return
	}
	last := k.Stamp
	switch {
	case !k.Day.Equal(k.Stamp.Truncate(24 * time.Hour)):
		last = later(last, end)
	case o.Modified.Before(end): // delivered hours late, and on the day of its stamp
		last = later(last, o.Modified)
	}
	u.judge(l.place.Place, o.Object, k.Stamp, last)
}

// maxLate is how long after its time CloudTrail may deliver a log file (User
// Guide, "CloudTrail log file delivery": it retries for 30 days).
const maxLate = 31 * 24 * time.Hour

// isAsked reports whether an object belongs to the range: by its stamp and, where
// its folder is another day's, by that day.
func (u *unlisted) isAsked(k trail.LogKey) bool {
	in := func(from, to time.Time) bool { return from.Before(u.r.cfg.End) && to.After(u.r.cfg.Start) }
	return in(k.Stamp, k.Stamp.Add(1)) ||
		!k.Day.Equal(k.Stamp.Truncate(24*time.Hour)) && in(k.Day, k.Day.Add(24*time.Hour))
}

// foreign reports an object that does not belong where it lies. One with the name
// of a log file of another time is left to the run of that time.
func (u *unlisted) foreign(ctx context.Context, l *logObjects, o foundObject, key string) {
	why := "in a log folder, and not named like a log file of it"
	if o.isOdd {
		why = "beside the folders of the days"
	}
	if t, ok := stampIn(path.Base(key)); ok && o.isOdd && (!t.Before(u.r.cfg.End) || t.Before(u.r.cfg.Start)) {
		return
	}
	about := subject(trail.Chain{Place: l.place.Place}, o.Object, o.Modified)
	if u.r.cfg.Source.IsCopy() && strings.HasSuffix(key, ".metadata.json") {
		// Only the content says whether a file with a sidecar's name is a sidecar.
		body, _, err := u.r.cfg.Fetcher.Objects.Get(ctx, o.Object)
		if body != nil {
			_ = body.Close()
		}
		if err != nil && !finding.IsFact(err) {
			u.r.doubt(ctx, about, err, 1)
			return
		}
	}
	u.r.find(finding.Finding{Class: finding.ForeignObject, Detail: why, Subject: about})
}

var stampForm = regexp.MustCompile(`_(\d{8}T\d{4}Z)_`)

// stampIn returns the stamp in the name of a log file, wherever it lies.
func stampIn(name string) (time.Time, bool) {
	m := stampForm.FindStringSubmatch(name)
	if m == nil {
		return time.Time{}, false
	}
	t, err := time.Parse("20060102T1504Z", m[1])
	return t, err == nil
}

// folderDay returns the day in whose folder an object lies.
func folderDay(key string) (time.Time, bool) {
	parts := strings.Split(key, "/")
	if len(parts) < 4 {
		return time.Time{}, false
	}
	t, err := time.Parse("2006/01/02", strings.Join(parts[len(parts)-4:len(parts)-1], "/"))
	return t, err == nil
}

// readBetween reads the digests of the scope's chains from one time to another, as
// far as they were not read before.
func (u *unlisted) readBetween(ctx context.Context, from, to time.Time) {
	s := u.scope
	read := s.read
	more := extent{lower: earlier(from.Add(-window), read.lower), upper: later(to.Add(lookAhead), read.upper)}
	if more.lower.Equal(read.lower) && more.upper.Equal(read.upper) {
		return
	}
	if more.upper.After(read.upper) {
		s.forget(read.upper.Add(-window), read.upper)
		read.upper = read.upper.Add(-window)
	}
	s.read = more
	u.spans, u.ends = nil, nil
	for _, w := range s.walks {
		if err := w.extend(ctx, read, more); err != nil {
			return
		}
	}
}

// slot is what a log's stamp is rounded up to: it lies at most so long after the
// delivery. edge is that with some to spare.
const (
	slot = 5 * time.Minute
	edge = 2 * slot
)

// standing is what the digests of one chain say of a log that they do not list.
type standing int

const (
	absent  standing = iota // the chain had not begun, or its end is acknowledged
	over                    // the chain has ended, which is reported as such
	off                     // logging or validation was off
	pending                 // the digest that can list it is not late yet
	proven                  // the chain is proven around the time
	inDoubt                 // some digest of the time is missing, wrong, not read, or still to come
)

// judge says what an unlisted object is. It is planted only by proof: some chain
// of its place is proven from its stamp to last, and no other chain is in doubt.
func (u *unlisted) judge(p trail.Place, o trail.Object, stamp, last time.Time) {
	s := u.scope
	count := map[standing]int{}
	why, by := "", (*strands)(nil)
	isSaid := false // the end of a chain is reported
	for _, c := range u.chainsOf(p) {
		st, reason := u.standing(c, stamp, last)
		count[st]++
		switch {
		case st == inDoubt && why == "":
			why = fmt.Sprintf("chain %s: %s", c.name, reason)
		case st == proven && by == nil:
			by = c
		case st == over:
			isSaid = isSaid || !c.isSilent
		}
	}
	if count[inDoubt] == 0 && s.unreadBackfill.touches(trail.Place{}, stamp.Add(-edge), stamp.Add(edge)) {
		count[inDoubt]++
		why = "a backfill digest of that time was not read"
	}
	if c, is := u.claimed(o); is && count[inDoubt] == 0 && !c.isRefuted() {
		count[inDoubt]++
		why = "a digest that was not judged lists it"
	}
	switch {
	case count[off] > 0:
	case !s.isComplete && count[inDoubt] == 0:
		u.doubt(p, o, stamp, "a digest folder of the account and region was not listed")
	case count[inDoubt] > 0:
		u.doubt(p, o, stamp, why)
	case count[pending] > 0:
		u.r.isNotDue()
	case count[proven] > 0 && count[over] > 0:
		u.doubt(p, o, stamp, "another chain of the place ended before")
	case count[proven] > 0:
		u.r.find(finding.Finding{
			Class: finding.LogUnlisted, Subject: subject(trail.Chain{Place: p}, o, stamp),
			Detail:   "the digests around it are proven, and none lists it: planted, or written while validation was off",
			Evidence: finding.Evidence{Digest: u.digestAt(by, stamp)},
		})
	case isSaid: // the end of the chain is the finding
	case s.unread.touches(p, stamp.Add(-edge), last.Add(window)):
		u.doubt(p, o, stamp, "no digest of the place was proven")
	case last.After(u.r.due()):
		u.doubt(p, o, stamp, "it came late: the digest of the time when it came is not due")
	case !s.told[p]:
		if u.coverage[p] == nil {
			u.coverage[p] = &tally{}
		}
		u.coverage[p].add(o, stamp, "")
	}
}

// digestAt names the digest of a chain that should list a log with a stamp.
func (u *unlisted) digestAt(c *strands, stamp time.Time) string {
	end := c.newest.Add(-c.newest.Sub(stamp) / window * window)
	return chain.Ref{DigestKey: c.name.Digest(end), Bucket: u.r.cfg.Source.Signed()}.Object().String()
}

// claimed reports whether a digest that was not judged lists an object, and whether
// that was reported.
func (u *unlisted) claimed(o trail.Object) (c claim, is bool) {
	key, _ := source.Logical(o.Key)
	c, is = u.scope.claimed[u.scope.hash(u.r.signedName(trail.Object{Bucket: o.Bucket, Key: key}))]
	return c, is
}

// isRefuted reports whether trusted digests of the same trail cover the hour of the
// digest that claims a log. Then the claim casts no doubt.
func (c claim) isRefuted() bool {
	return !c.isBackfill &&
		slices.ContainsFunc(c.by.chains, func(o *strands) bool { return o.root().overlaps(c.end.Add(-window), c.end) })
}

func (u *unlisted) doubt(p trail.Place, o trail.Object, stamp time.Time, why string) {
	if c, _ := u.claimed(o); c.isSaid {
		return // said with the digest that lists it
	}
	at := placeHour{p, stamp.Truncate(time.Hour).Unix()}
	if u.doubts[at] == nil {
		u.doubts[at] = &tally{}
	}
	u.doubts[at].add(o, stamp, why)
}

// chainsOf returns the chains that belong to a place.
func (u *unlisted) chainsOf(p trail.Place) (chains []*strands) {
	for _, w := range u.scope.walks {
		for _, c := range w.chains {
			if c.joined == nil && !c.name.Backfill && c.places[p] {
				chains = append(chains, c)
			}
		}
	}
	return chains
}

// spanOf returns what is known of a chain's time.
func (u *unlisted) spanOf(c *strands) []report.Segment {
	if u.spans == nil {
		u.spans = map[*strands][]report.Segment{}
	}
	span, ok := u.spans[c]
	if !ok {
		all := timeline{segments: slices.Concat(c.time.segments, c.starts.segments)}
		span = all.within(time.Unix(0, 0), u.r.cfg.Now.Add(lookAhead))
		u.spans[c] = span
	}
	return span
}

// end is what follows a chain's newest trusted digest.
type end struct {
	filled []report.Segment // names that are not proven, in order
	told   time.Time        // from then on the report tells the end of the chain
}

// endOf returns what follows a chain's newest trusted digest.
func (u *unlisted) endOf(c *strands) end {
	if u.ends == nil {
		u.ends = map[*strands]end{}
	}
	e, ok := u.ends[c]
	if !ok {
		latest := u.r.cfg.Now.Add(lookAhead)
		e = end{filled: c.filled.within(time.Unix(0, 0), latest), told: latest}
		if holes := c.filled.uncovered(c.newest, latest); len(holes) > 0 {
			e.told = holes[0].Start
		}
		u.ends[c] = e
	}
	return e
}

// overlapping returns the segments that have time between from and to. The segments
// are in order and do not overlap each other.
func overlapping(all []report.Segment, from, to time.Time) []report.Segment {
	first, _ := slices.BinarySearchFunc(all, from, func(s report.Segment, t time.Time) int {
		if s.End.After(t) {
			return 1
		}
		return -1
	})
	last := first
	for last < len(all) && all[last].Start.Before(to) {
		last++
	}
	return all[first:last]
}

// standing says how a chain stands to a log with a stamp that can have been
// delivered until last.
func (u *unlisted) standing(c *strands, stamp, last time.Time) (standing, string) {
	switch {
	case !c.began.IsZero() && !stamp.Add(edge).After(c.began.Add(-window)) && (!last.After(c.began) || !last.Add(window).After(c.newest)):
		return absent, "" // a log that came late waits for the digest of the time when it came
	case !stamp.Before(c.newest.Add(slot)) && u.r.due().After(c.newest):
		// Where names that are not proven fill the hours after the last proven
		// digest, these hours are not told as the end of the chain.
		e := u.endOf(c)
		if filled := overlapping(e.filled, stamp.Add(-edge), stamp.Add(1)); len(filled) > 0 && stamp.Before(e.told) {
			return inDoubt, fmt.Sprintf(
				"the digest of %s is %s",
				between(filled[0].Start, filled[0].End),
				filled[0].State,
			)
		}
		switch {
		case u.r.mayGoOn(c):
			return pending, ""
		case u.r.isAcknowledged(c):
			return absent, ""
		}
		for _, f := range overlapping(e.filled, stamp, stamp.Add(edge)) {
			if f.State == report.Unverified {
				return inDoubt, fmt.Sprintf("the digest of %s is %s", between(f.Start, f.End), f.State)
			}
		}
		return over, ""
	}
	from, to := stamp.Add(-window), last.Add(window)
	if !c.began.IsZero() && from.Before(c.began.Add(-window)) {
		from = c.began.Add(-window)
	}
	at, st := from, proven
	why := ""
	for _, s := range overlapping(u.spanOf(c), from, to) {
		if s.Start.After(at) {
			break
		}
		at = s.End
		switch s.State {
		case report.Verified:
		case report.Gap: // digests do not list the files of a gap, so only a near one matters
			switch isNear := s.End.After(stamp.Add(-edge)) && s.Start.Before(stamp.Add(edge)); {
			case isNear && c.isSilent: // its gap is not reported
				return inDoubt, "logging or validation was off"
			case isNear:
				return off, ""
			}
		default:
			st, why = inDoubt, fmt.Sprintf("the digest of %s is %s", between(s.Start, s.End), s.State)
		}
	}
	if at.Before(to) {
		return inDoubt, "no digest is proven for " + between(at, to)
	}
	return st, why
}

// conclude reports what was counted.
func (u *unlisted) conclude() {
	for at, t := range u.doubts {
		hour := time.Unix(at.hour, 0).UTC()
		u.r.collect.AddUnverified(finding.Unverified{
			Reason: finding.NoSignature, Subject: subject(trail.Chain{Place: at.place}, t.first, hour), Objects: t.count,
			Detail: fmt.Sprintf(
				"%s with stamps of this hour in no proven digest; the first is named here; %s",
				objects(t.count),
				t.why,
			),
		})
	}
	for _, p := range slices.SortedFunc(maps.Keys(u.coverage), func(a, b trail.Place) int {
		return cmp.Compare(a.Folder(trail.LogFolder), b.Folder(trail.LogFolder))
	}) {
		t := u.coverage[p]
		why := "log files, and no digest chain: is log file validation switched on?"
		switch {
		case len(u.chainsOf(p)) > 0:
			why = "log files in a time for which the place has no digest chain: is log file validation switched on?"
		case u.scope.named[p]:
			why = "log files, and none of the digests in their place is proven"
		}
		u.r.absent(
			finding.Subject{Account: p.Account, Region: p.Region},
			fmt.Sprintf("%s (%s, %s; the first is %s)", why, objects(t.count), between(t.from, t.until), t.first),
		)
	}
}

func objects(n int) string {
	if n == 1 {
		return "1 object"
	}
	return fmt.Sprintf("%d objects", n)
}

// between names a range of time for people.
func between(from, to time.Time) string {
	return fmt.Sprintf("%s to %s", from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
