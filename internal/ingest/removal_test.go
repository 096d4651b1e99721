package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/notify"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// An announced deletion is looked at: it is a finding only where the object is gone and a
// trusted digest lists it. A message alone never ends a worker.
func TestAnnouncedRemovals(t *testing.T) {
	digestOf := func(d *testtrail.Issued) trail.Object { return trail.Object{Bucket: d.Bucket, Key: d.Key} }
	for _, row := range []struct {
		name    string
		gone    func(*site) notify.Removal
		result  string // of the metric
		class   finding.Class
		comes   bool // the message comes back
		refused bool
	}{
		{"a listed log", func(s *site) notify.Removal {
			o := s.c.Issued[2].Logs[0]
			s.Delete(bucket, o.Key)
			return notify.Removal{Object: o, Cause: notify.Deleted}
		}, "listed", finding.LogMissing, false, false},
		{"a listed log, hidden by a delete marker", func(s *site) notify.Removal {
			o := s.c.Issued[2].Logs[0]
			s.Delete(bucket, o.Key)
			return notify.Removal{Object: o, Cause: notify.Marked, VersionID: "v"}
		}, "listed", finding.LogMissing, false, false},
		{"the version of a listed log", func(s *site) notify.Removal {
			o := s.c.Issued[2].Logs[0]
			s.Delete(bucket, o.Key)
			return notify.Removal{Object: o, Cause: notify.Deleted, VersionID: "v"}
		}, "listed", finding.LogMissing, false, false},
		{"a log that is there", func(s *site) notify.Removal {
			return notify.Removal{Object: s.c.Issued[2].Logs[0], Cause: notify.Deleted}
		}, "present", "", false, false},
		{"a log that expired", func(s *site) notify.Removal {
			o := s.c.Issued[2].Logs[0]
			s.Delete(bucket, o.Key)
			return notify.Removal{Object: o, Cause: notify.Expired}
		}, "expired", "", false, false},
		{"a log that no digest lists", func(s *site) notify.Removal {
			o := s.c.Issued[2].Logs[0]
			o.Key = strings.Replace(o.Key, ".json.gz", "", 1)
			return notify.Removal{Object: trail.Object{Bucket: bucket, Key: o.Key[:len(o.Key)-4] + "zzzz.json.gz"}, Cause: notify.Deleted}
		}, "unlisted", "", false, false},
		{"a digest that its successor names", func(s *site) notify.Removal {
			o := digestOf(s.c.Issued[2])
			s.Delete(bucket, o.Key)
			return notify.Removal{Object: o, Cause: notify.Deleted}
		}, "listed", finding.DigestMissing, false, false},
		{"the newest digest", func(s *site) notify.Removal {
			o := digestOf(s.c.Issued[4])
			s.Delete(bucket, o.Key)
			return notify.Removal{Object: o, Cause: notify.Deleted}
		}, "ahead", "", false, false},
		{"a digest of another prefix", func(s *site) notify.Removal {
			o := digestOf(s.c.Issued[2])
			return notify.Removal{Object: trail.Object{Bucket: bucket, Key: "other/" + o.Key}, Cause: notify.Deleted}
		}, "", "", true, false},
		{"a planted digest", func(s *site) notify.Removal {
			o := trail.Object{Bucket: bucket, Key: s.c.Name().Digest(s.c.Issued[2].End.Add(time.Minute)).String()}
			return notify.Removal{Object: o, Cause: notify.Deleted}
		}, "unlisted", "", false, false},
		{"another account", func(s *site) notify.Removal {
			o := s.c.Issued[2].Logs[0]
			o.Key = strings.ReplaceAll(o.Key, account, "999999999999")
			return notify.Removal{Object: o, Cause: notify.Deleted}
		}, "", "", true, false},
		{"another bucket", func(s *site) notify.Removal {
			return notify.Removal{Object: trail.Object{Bucket: "other", Key: s.c.Issued[2].Logs[0].Key}, Cause: notify.Deleted}
		}, "", "", true, true},
		{"a digest that cannot be read", func(s *site) notify.Removal {
			o := s.c.Issued[2].Logs[0]
			s.Delete(bucket, o.Key)
			s.Fail(bucket, s.c.Issued[2].Key, &testtrail.Fault{Err: errors.New("connection reset")})
			return notify.Removal{Object: o, Cause: notify.Deleted}
		}, "", "", true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, 4)
			s.cfg.Metrics = prometheus.NewRegistry()
			s.run(t)
			a := newAnnouncer([]trail.Object{})
			a.gone = []notify.Removal{row.gone(s)}
			s.cfg.Announcers = []ingest.Announcer{a}
			got := s.runFor(t)
			var classes []finding.Class
			for _, f := range s.found.all {
				classes = append(classes, f.Class)
			}
			if want := []finding.Class{row.class}; row.class == "" && len(classes) > 0 || row.class != "" && !slices.Equal(classes, want) {
				t.Errorf("findings %v", s.found.all)
			}
			if len(a.ends) != 1 || (a.ends[0] != nil) != row.comes {
				t.Errorf("the message ended with %v", a.ends)
			}
			if row.result != "" && got[fmt.Sprintf("removals_total{result=%s}", row.result)] != 1 {
				t.Errorf("%q is not counted: %v", row.result, got)
			}
			if refused := got["announced_total{result=refused}"] == 1; refused != row.refused {
				t.Errorf("refused %t", refused)
			}
		})
	}
}

// What cannot be decided within the grace is counted, and its message does not come back.
func TestUndecidedRemoval(t *testing.T) {
	s := newSite(t, 4)
	s.run(t)
	o := s.c.Issued[2].Logs[0]
	s.Delete(bucket, o.Key)
	s.Fail(bucket, s.c.Issued[2].Key, &testtrail.Fault{Err: errors.New("connection reset")})
	a := newAnnouncer([]trail.Object{})
	a.gone, a.sent = []notify.Removal{{Object: o, Cause: notify.Deleted}}, s.cfg.Now().Add(-4*time.Hour)
	s.cfg.Announcers = []ingest.Announcer{a}
	got := s.runFor(t)
	if len(a.ends) != 1 || a.ends[0] != nil || got["removals_total{result=unverified}"] != 1 || got["unverified_total{reason=network}"] != 1 {
		t.Errorf("ended with %v, %v", a.ends, got)
	}
	if len(s.found.all) > 0 {
		t.Errorf("findings %v", s.found.all)
	}
}

// A forged removal does not end a worker that halts at findings. A true one does.
func TestRemovalAndHalt(t *testing.T) {
	for _, isTrue := range []bool{false, true} {
		s := newSite(t, 4)
		s.run(t)
		o := s.c.Issued[2].Logs[0]
		if isTrue {
			s.Delete(bucket, o.Key)
		}
		a := newAnnouncer([]trail.Object{})
		a.gone = []notify.Removal{{Object: o, Cause: notify.Deleted}}
		s.cfg.Announcers, s.cfg.Halt = []ingest.Announcer{a}, true
		s.cfg.Metrics = prometheus.NewRegistry()
		_, err := ingest.Run(context.Background(), s.cfg)
		if errors.Is(err, ingest.ErrHalt) != isTrue {
			t.Errorf("true %t: %v", isTrue, err)
		}
	}
}
