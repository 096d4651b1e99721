package ingest_test

import (
	"testing"

	"github.com/trailseal/trailseal/internal/dir"
	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/testtrail"
)

// copied makes a plain copy of the bucket, without metadata, the source.
func (s *site) copied(t *testing.T, folder string) {
	t.Helper()
	if err := s.WriteFolder(bucket, folder, nil); err != nil {
		t.Fatal(err)
	}
	d, err := dir.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	s.cfg.Sources = []ingest.Source{{Source: discover.Source{Name: folder}, Objects: d}}
}

// In a plain copy a digest is proven by the one after it: the newest waits,
// and nothing of it comes out before.
func TestCopyWaitsForTheSuccessor(t *testing.T) {
	s, folder := newSite(t, 3), t.TempDir()
	s.copied(t, folder)
	if o := s.run(t); o.Waiting != 1 || o.Findings != 0 {
		t.Errorf("%+v", o)
	}
	newest := s.c.Issued[len(s.c.Issued)-1]
	s.expect(t, s.want(newest.Logs...))
	s.c.Hours(1)
	s.copied(t, folder)
	s.run(t)
	s.expect(t, s.want(s.c.Issued[len(s.c.Issued)-1].Logs...))
	s.once(t)
}

// Something planted between a digest and its successor in a plain copy holds
// neither.
func TestPlantedInACopy(t *testing.T) {
	s := newSite(t, 4)
	s.Put(bucket, s.c.Name().Digest(s.c.Issued[2].End.Add(1e9)).String(), testtrail.Stored{Body: []byte("x")})
	s.copied(t, t.TempDir())
	s.run(t)
	s.expect(t, s.want(s.c.Issued[len(s.c.Issued)-1].Logs...), "digest-corrupt")
}
