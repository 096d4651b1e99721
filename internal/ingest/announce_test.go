package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/notify"
	"github.com/trailseal/trailseal/pkg/trail"
)

// announcer announces deliveries, and ends when all of them have ended. It runs in a bubble.
type announcer struct {
	errs []error // of the first calls of Next

	mu         sync.Mutex // guards what follows
	deliveries []notify.Delivery
	sent       int
	isOver     bool    // the worker has asked for more deliveries than there are
	ends       []error // in the order in which deliveries ended
}

func newAnnouncer(deliveries ...notify.Delivery) *announcer {
	return &announcer{deliveries: deliveries}
}

// Next implements ingest.Announcer.
func (a *announcer) Next(ctx context.Context) (notify.Delivery, error) {
	if len(a.errs) > 0 {
		err := a.errs[0]
		a.errs = a.errs[1:]
		return notify.Delivery{}, err
	}
	for {
		if d, err := a.next(); err != nil || d.Done != nil {
			return d, err
		}
		select {
		case <-ctx.Done():
			return notify.Delivery{}, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

func (a *announcer) next() (d notify.Delivery, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sent == len(a.deliveries) {
		a.isOver = true
		if len(a.ends) == a.sent {
			err = io.EOF
		}
		return d, err
	}
	d = a.deliveries[a.sent]
	a.sent++
	d.Done = func(err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.ends = append(a.ends, err)
	}
	return d, nil
}

// isSent reports whether the worker has processed all announcements, and isEnded whether a delivery has ended.
func (a *announcer) isSent() bool  { return a.sees(func() bool { return a.isOver }) }
func (a *announcer) isEnded() bool { return a.sees(func() bool { return len(a.ends) > 0 }) }

func (a *announcer) sees(what func() bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return what()
}

// failed returns how many deliveries came back.
func (a *announcer) failed() (n int) {
	return len(slices.DeleteFunc(slices.Clone(a.ends), func(err error) bool { return err == nil }))
}

// until is a hook that holds a call up until a time has come.
func until(come func() bool) func(context.Context, string) error {
	return func(ctx context.Context, _ string) error {
		for !come() && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		return ctx.Err()
	}
}

// each announces objects one by one.
func each(objects ...trail.Object) (all []notify.Delivery) {
	for _, o := range objects {
		all = append(all, notify.Delivery{Created: []trail.Object{o}})
	}
	return all
}

// announce makes the site's worker hear of deliveries.
func (s *site) announce(deliveries ...notify.Delivery) *announcer {
	a := newAnnouncer(deliveries...)
	s.cfg.Announcers = []ingest.Announcer{a}
	return a
}

// The order and number of announcements do not matter, nor what else they name. The listing shows
// nothing here.
func TestAnnounced(t *testing.T) {
	for _, tt := range []struct {
		name       string
		deliveries func(*site) []notify.Delivery
	}{
		{"the newest alone", func(s *site) []notify.Delivery { return each(s.digest(6)) }},
		{"each three times, shuffled, with others", func(s *site) []notify.Delivery {
			list := each(slices.Concat(s.digests(0), s.digests(0), s.digests(0))...)
			for i := range list {
				o := list[i].Created[0]
				foreign := trail.Object{Bucket: bucket, Key: "AWSLogs/" + account + "/Config/x"}
				list[i].Created = append(s.c.Issued[i%7].Logs, o, foreign)
			}
			rand.New(rand.NewPCG(1, 2)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			return append(list, each(trail.Object{Bucket: bucket, Key: "odd"})...)
		}},
	} {
		withSite(t, tt.name, 6, func(s *site) {
			s.hooks.shows = none
			a := s.announce(tt.deliveries(s)...)
			s.run()
			if a.failed() > 0 {
				s.t.Errorf("ends %v", a.ends)
			}
			s.expect()
		})
	}
}

// The digests before a gap are not named by those after it. Whichever is announced first, none is
// left out.
func TestAnnouncedAcrossAGap(t *testing.T) {
	for _, isKnown := range []bool{false, true} {
		for _, order := range []string{"the last alone", "last first", "in order"} {
			withSite(t, fmt.Sprintf("%s, known %t", order, isKnown), 3, func(s *site) {
				if order != "the last alone" {
					s.hooks.shows = none // or the listing that a starting digest asks for shows them
				}
				if isKnown {
					s.announce(each(s.digest(3))...)
					s.run()
				}
				s.c.Hours(2)
				stops(s, 4*time.Hour)
				s.c.Hours(2)
				list := each(s.digests(0)...)
				switch order {
				case "the last alone":
					list = list[len(list)-1:]
				case "last first":
					slices.Reverse(list)
				}
				a := s.announce(list...)
				// Nothing is read before all is announced: a listing that shows nothing would not
				// make up for what comes later.
				s.hooks.get = func(ctx context.Context, o trail.Object) error { return until(a.isSent)(ctx, o.Key) }
				s.run()
				s.expect("gap")
			})
		}
	}
}

// A chain that a message names before a listing shows it begins at the asked time, too, although
// a digest on the way back is gone.
func TestAnnouncedAfterAHole(t *testing.T) {
	withSite(t, "", 8, func(s *site) {
		gone(3)(s)
		s.hooks.below = until(s.announce(each(s.digest(8))...).isEnded)
		s.run()
		s.expect("digest-missing")
	})
}

// The digests of a trail that became an organization's are announced in any order, and the
// listing shows none: each event comes once, and the former chain has ended.
func TestAnnouncedAfterAMove(t *testing.T) {
	for _, tt := range []struct {
		name    string
		hasHead bool // the former chain
		which   []int
		lost    []int
		since   time.Duration
		gone    int
		want    []string
	}{
		{"the newest", false, []int{6}, nil, 0, 0, nil},
		{"the newest, and the former chain is known", true, []int{6}, nil, 0, 0, nil},
		{"the first of the organization", false, []int{4}, []int{5, 6}, 0, 0, nil},
		{"the newest first", true, []int{6, 5, 4, 3, 2, 1, 0}, nil, 0, 0, nil},
		{"after the time to begin", false, []int{6}, []int{1, 2, 3, 4}, 4*time.Hour + 30*time.Minute, 0, nil},
		{"the last former one is gone", false, []int{6}, []int{1, 2}, 0, 3, found("digest-missing")},
	} {
		withSite(t, tt.name, 2, func(s *site) {
			if tt.hasHead {
				s.run()
			}
			s.c.Hours(1)
			asOrganization(s)
			s.c.Hours(3)
			s.cfg.Since = day.Add(tt.since)
			for _, n := range tt.lost {
				s.lose(n)
			}
			all := s.digests(0)
			if tt.gone > 0 {
				gone(tt.gone)(s)
			}
			var which []trail.Object
			for _, n := range tt.which {
				which = append(which, all[n])
			}
			a := s.announce(each(which...)...)
			// A place is found only when the messages have come: a chain that an earlier listing did
			// not show would begin at its oldest digest.
			s.hooks.shows, s.hooks.below = none, until(a.isSent)
			s.run()
			s.expect(tt.want...)
		})
	}
}

// Nothing of a delivery that is refused is followed, and no head moves. It comes before the first
// listing.
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		object func(*site) trail.Object
	}{
		{"another bucket", func(s *site) trail.Object { return trail.Object{Bucket: "other", Key: s.digest(1).Key} }},
		{"outside the prefix", func(s *site) trail.Object {
			return trail.Object{Bucket: bucket, Key: "x/" + s.digest(1).Key}
		}},
		{"not there", func(s *site) trail.Object { return s.nameAfter(4, 55*time.Minute) }},
		{"not there, long ago", func(s *site) trail.Object { return s.nameAfter(0, 22*time.Minute) }},
		{"in the future", func(s *site) trail.Object { return s.nameAfter(4, 1000*time.Hour) }},
	} {
		withSite(t, tt.name, 4, func(s *site) {
			s.cfg.Sources[0].Prefix = "AWSLogs/"
			a := s.announce(notify.Delivery{Created: []trail.Object{s.digest(0), tt.object(s)}})
			s.hooks.below = until(a.isEnded)
			if s.run(); len(a.ends) != 1 || a.failed() != 1 {
				s.t.Errorf("ends %v", a.ends)
			}
			s.expect()
			s.c.Hours(2) // nothing of it hides what comes
			s.announce(each(s.digests(4)...)...)
			s.run()
			s.expect()
		})
	}
}

// A message about what the head has passed, or what was not asked for, ends without a look.
func TestAnnouncedInVain(t *testing.T) {
	withSite(t, "before the head", 4, func(s *site) {
		s.run()
		old := s.nameAfter(0, 20*time.Minute)
		s.deny(old, errReset)
		a := s.announce(each(append(s.digests(0), old)...)...)
		if s.run(); len(a.ends) != 6 || a.failed() > 0 || s.Reads(bucket, old.Key) > 0 {
			s.t.Errorf("ends %v", a.ends)
		}
		s.expect()
	})
	withSite(t, "not asked for", 6, func(s *site) {
		c := s.trail.Chain(account, "eu-west-1", day)
		c.Hours(2)
		s.cfg.Regions, s.cfg.Since = []string{region}, s.c.Issued[4].End
		for n := range 4 {
			s.lose(n)
		}
		a := s.announce(each(append(s.digests(0), trail.Object{Bucket: bucket, Key: c.Issued[1].Key})...)...)
		s.hooks.below = until(a.isSent)
		if s.run(); len(a.ends) != 8 || a.failed() > 0 {
			s.t.Errorf("ends %v", a.ends)
		}
		s.expect()
	})
}

// A chain that waits gives its deliveries back and does not hold up those of another.
func TestAnnouncedUnreadable(t *testing.T) {
	withSite(t, "", 3, func(s *site) {
		s.hooks.shows = none
		c := s.chain(other, region, day)
		c.Hours(3)
		denied, own, others := s.c.Issued[2].Logs[0], s.digest(3), trail.Object{Bucket: bucket, Key: c.Issued[3].Key}
		s.deny(denied, fs.ErrPermission)
		s.repeat = true // the other log file of the digest
		a := s.announce(append(each(own, others), notify.Delivery{Created: []trail.Object{own, others}})...)
		if s.run(); a.failed() != 2 || a.ends[0] != nil {
			s.t.Errorf("ends %v", a.ends)
		}
		s.deny(denied, nil)
		a = s.announce(each(own)...)
		if s.run(); a.failed() > 0 {
			s.t.Errorf("ends %v", a.ends)
		}
		s.expect()
	})
}

// An announcer that fails is called again. A run that ends by itself ends with its error.
func TestAnnouncerFails(t *testing.T) {
	for fails, want := range map[int]error{2: nil, 4: errReset} {
		withSite(t, fmt.Sprint(fails, " times"), 2, func(s *site) {
			s.hooks.shows = none
			s.announce(each(s.digests(0)...)...).errs = slices.Repeat([]error{errReset}, fails)
			if _, _, err := s.try(); !errors.Is(err, want) {
				s.t.Errorf("error %v", err)
			} else if want == nil {
				s.expect()
			}
		})
	}
}

// announcerFunc is an announcer.
type announcerFunc func(context.Context) (notify.Delivery, error)

// Next implements ingest.Announcer.
func (f announcerFunc) Next(ctx context.Context) (notify.Delivery, error) { return f(ctx) }

// Anyone who may write to the queue cannot hold a chain before a gap.
func TestForgedAnnouncementsBeforeAGap(t *testing.T) {
	for _, every := range []time.Duration{100 * time.Millisecond, 20 * time.Millisecond, 5 * time.Millisecond} {
		withSite(t, every.String(), 3, func(s *site) {
			stops(s, 4*time.Hour)
			s.c.Hours(3)
			s.at(s.c.Now().Add(20 * time.Hour))
			s.Latency, s.cfg.Poll = 30*time.Millisecond, time.Hour
			n := 0
			s.cfg.Announcers = []ingest.Announcer{announcerFunc(func(ctx context.Context) (notify.Delivery, error) {
				time.Sleep(every)
				n++
				forged := s.nameAfter(3, time.Duration(1+n%3000)*time.Second)
				return notify.Delivery{Created: []trail.Object{forged}, Done: func(error) {}}, ctx.Err()
			})}
			if took := s.emittedAfter(account, len(s.want()), time.Minute); took > 50*time.Second {
				s.t.Errorf("took %s", took)
			}
			s.expect("gap")
		})
	}
}
