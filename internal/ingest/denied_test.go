package ingest_test

import (
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
)

// A folder that can never be listed holds up no chain of the same account and region whose digests
// lie elsewhere.
func TestDeniedFolder(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after func(*site) // the first run
		want  []string
	}{
		{"goes on", hours(3), nil},
		{"a digest is gone", func(s *site) { s.c.Hours(3); gone(4)(s) }, found("digest-missing")},
		{"begins anew", func(s *site) { stops(s, 3*time.Hour); s.c.Hours(3) }, found("gap")},
		{"is new", func(s *site) {
			c := s.World.Trail(testtrail.Options{Name: "new"}).Chain(account, region, s.c.Now().Add(2*time.Hour))
			s.add(c).Hours(3)
		}, nil},
	} {
		for _, denied := range []string{
			"none", "a/AWSLogs/" + account + "/CloudTrail-Digest/", "a/AWSLogs/" + account + "/CloudTrail-Digest/" + region,
			"AWSLogs/o-abcdefghij/" + account + "/CloudTrail-Digest/" + region,
		} {
			withSite(t, tt.name+", denied "+denied, 3, func(s *site) {
				s.World.Trail(testtrail.Options{Prefix: "a", Name: "one"}).Chain(account, region, day)
				s.World.Trail(testtrail.Options{Organization: "o-abcdefghij", Name: "two"}).Chain(account, region, day)
				s.run()
				tt.after(s)
				s.hooks.list = failAt(denied, fs.ErrPermission)
				s.hooks.below = s.hooks.list
				o, _, err := s.try()
				if isDenied := errors.Is(err, fs.ErrPermission); isDenied != (denied != "none") || o.Waiting > 0 {
					s.t.Errorf("%+v, %v", o, err)
				}
				s.expect(tt.want...)
			})
		}
	}
}
