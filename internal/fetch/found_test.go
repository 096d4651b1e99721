package fetch_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// outcome is what was found in one place.
type outcome struct {
	place    int // index of the place
	isParsed bool
	isHashed bool
	err      error // that is wrapped
}

// Each file that can be a digest is a candidate. Large ones are not read before Take, and
// of those only the first is parsed.
func TestReadAhead(t *testing.T) {
	boom := errors.New("connection reset")
	type content string // of a place: absent, small, large, broken, or failing
	busy := busyDigest(newHour(t))
	packed, sum := testtrail.Gzip(busy.Body), sumOf(t, busy.Body)
	const absent, small, large, broken, failing content = "absent", "small", "large", "broken", "failing"
	for _, tt := range []struct {
		name     string
		places   []content
		want     []outcome // after Take
		isAbsent bool
	}{
		{"control", []content{small}, []outcome{{0, true, true, nil}}, false},
		{"absent", []content{absent}, []outcome{{0, false, false, fs.ErrNotExist}}, true},
		{"absent everywhere", []content{absent, absent, absent}, []outcome{{0, false, false, fs.ErrNotExist}}, true},
		{"in the second place", []content{absent, small, absent}, []outcome{{1, true, true, nil}}, false},
		{"in the first place", []content{small, absent}, []outcome{{0, true, true, nil}}, false},
		{"two files", []content{small, absent, small}, []outcome{{0, true, true, nil}, {2, true, true, nil}}, false},
		{"broken", []content{broken, small}, []outcome{{0, false, true, digest.ErrFormat}, {1, true, true, nil}}, false},
		{"fails", []content{absent, failing, small}, []outcome{{1, false, false, boom}, {2, true, true, nil}}, false},
		{"large", []content{large}, []outcome{{0, true, true, nil}}, false},
		{"large and small", []content{small, large}, []outcome{{0, true, true, nil}, {1, true, true, nil}}, false},
		{"two large ones", []content{large, large}, []outcome{{0, true, true, nil}, {1, false, true, finding.ErrTooLarge}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHour(t)
				stored, _ := h.Stored(h.digest.Bucket, h.digest.Key)
				var places []trail.Object
				for i, c := range tt.places {
					o := trail.Object{Bucket: h.digest.Bucket, Key: string(rune('a'+i)) + "/" + h.digest.Key}
					places = append(places, o)
					switch c {
					case small, failing:
						h.Put(o.Bucket, o.Key, stored)
					case broken:
						h.Put(o.Bucket, o.Key, testtrail.Stored{Body: testtrail.Gzip([]byte("{}"))})
					case large:
						h.Put(o.Bucket, o.Key, testtrail.Stored{Body: packed})
					}
					if c == failing {
						h.Fail(o.Bucket, o.Key, &testtrail.Fault{Err: boom})
					}
				}
				f := fetch.New(h, 1)
				all := f.ReadAhead(t.Context(), places)
				if all.IsAbsent() != tt.isAbsent || all.IsLarge() != slices.Contains(tt.places, large) ||
					len(all.Found()) != len(tt.want) {
					t.Errorf("absent %t, large %t, %d files", all.IsAbsent(), all.IsLarge(), len(all.Found()))
				}
				if all.IsLarge() && slices.ContainsFunc(all.Found(), func(found chain.Found) bool {
					return found.File.Digest != nil && found.File.Digest.Sum == sum
				}) {
					t.Error("a large digest was read ahead")
				}
				found := f.Take(t.Context(), all)
				released := 0
				for i, want := range tt.want {
					got := found[i]
					if got.At != places[want.place] || (got.File.Digest != nil) != want.isParsed || got.File.Hashed != want.isHashed ||
						!errors.Is(got.Err, want.err) ||
						(got.Err == nil) != (want.err == nil) {
						t.Errorf("file %d: %+v, want %+v", i, got, want)
					}
					if got.Release != nil {
						got.Release()
						released++
					}
				}
				if want := min(1, len(tt.places)); all.IsLarge() && released != want {
					t.Errorf("%d large digests were in memory, want %d", released, want)
				}
			})
		})
	}
}

func sumOf(t *testing.T, body []byte) digest.Sum {
	t.Helper()
	d, err := digest.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	return d.Sum
}

// A second large digest waits until the first is released, or its context ends.
func TestOneLargeDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHour(t)
		o := trail.Object{Bucket: h.digest.Bucket, Key: busyDigest(h).Key}
		f := fetch.New(h, 4)
		_, release, err := f.ReadLarge(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		for _, ctx := range []context.Context{ctx, t.Context()} {
			go func() {
				_, release, err := f.ReadLarge(ctx, o)
				release()
				done <- err
			}()
		}
		synctest.Wait()
		if len(done) != 0 {
			t.Error("two large digests are in memory")
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		release()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestHashDigest(t *testing.T) {
	h := newHour(t)
	busy := busyDigest(h)
	f := fetch.New(h, 1)
	f.MaxDigest = 100 // it does not count
	sum, err := f.HashDigest(t.Context(), trail.Object{Bucket: busy.Bucket, Key: busy.Key})
	if err != nil || sum != sumOf(t, busy.Body) {
		t.Errorf("%s, %v", sum, err)
	}
	_, err = f.HashDigest(t.Context(), trail.Object{Bucket: busy.Bucket, Key: "none"})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	o := trail.Object{Bucket: "b", Key: "k"}
	why := errors.New("outside the source")
	all := fetch.Refused(o, why)
	if found := all.Found(); len(found) != 1 || found[0].At != o || found[0].Err != why || all.IsAbsent() ||
		all.IsLarge() {
		t.Errorf("%+v", found)
	}
}
