package chain_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// What a trusted digest says of its predecessor tells what that one was, even where
// its file is gone.
func TestStartingAndFollows(t *testing.T) {
	w, c := newChain(testtrail.Options{}, 3)
	b := c.Backfill(day.AddDate(-1, 0, 0))
	b.Hour()
	b.Hour()
	of := func(d *testtrail.Issued) digest.Previous { return *parse(d.Body).Previous }
	first, second, third := of(c.Issued[1]), of(c.Issued[2]), of(c.Issued[3])
	with := func(p digest.Previous, edit func(*digest.Previous)) digest.Previous { edit(&p); return p }
	forged := with(first, func(p *digest.Previous) { p.Hash[0]++ })
	for _, row := range []struct {
		name     string
		of       string
		p        digest.Previous
		older    string
		starting bool
		follows  bool
	}{
		{"starting", c.Issued[0].Key, first, c.Issued[0].Signature, true, false},
		{"second", c.Issued[1].Key, second, c.Issued[0].Signature, false, true},
		{"third", c.Issued[2].Key, third, c.Issued[1].Signature, false, true},
		{"third after the first", c.Issued[2].Key, third, c.Issued[0].Signature, false, false},
		{"no signature", c.Issued[1].Key, second, "", false, false},
		{"another hash", c.Issued[0].Key, forged, "", false, false},
		{"another time", c.Issued[1].Key, first, "", false, false},
		{"another bucket", c.Issued[0].Key, with(first, func(p *digest.Previous) { p.Bucket = "x" }), "", false, false},
		{"another signature", c.Issued[0].Key, with(first, func(p *digest.Previous) { p.Signature = second.Signature }), "", false, false},
		{"backfill", b.Issued[0].Key, of(b.Issued[1]), "", true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			keys := chain.Saved(w.KeySet(day, day.AddDate(0, 1, 0)))
			starting, err := chain.Starting(t.Context(), keys, parseKey(row.of), row.p)
			if err != nil || starting != row.starting {
				t.Errorf("starting: %v, %v", starting, err)
			}
			follows, err := chain.Follows(t.Context(), keys, parseKey(row.of), row.p, row.older)
			if err != nil || follows != row.follows {
				t.Errorf("follows: %v, %v", follows, err)
			}
		})
	}
	w.KeysErr = errors.New("timeout")
	if is, err := chain.Starting(t.Context(), keyring(w), parseKey(c.Issued[0].Key), first); is || !errors.Is(err, digest.ErrNoKeys) {
		t.Errorf("no keys: %v, %v", is, err)
	}
	if is, err := chain.Follows(t.Context(), keyring(w), parseKey(c.Issued[1].Key), second, ""); is || err != nil {
		t.Errorf("no signature: %v, %v", is, err)
	}
}

func TestPrevious(t *testing.T) {
	_, c := newChain(testtrail.Options{}, 2)
	d := parse(c.Issued[2].Body)
	moved := parseKey(c.Issued[1].Key)
	moved.Prefix, moved.Organization = "new", "o-0123456789"
	for _, row := range []struct {
		name string
		edit func(*digest.Digest)
		want chain.Ref
		bad  bool
	}{
		{"control", func(*digest.Digest) {}, refOf(c.Issued[1]), false},
		{"starting", func(d *digest.Digest) { d.Previous = nil }, chain.Ref{}, false},
		{"another bucket, prefix, organization", func(d *digest.Digest) { d.Previous.Bucket, d.Previous.Object = "x", moved.String() }, chain.Ref{DigestKey: moved, Bucket: "x"}, false},
		{"not a digest", func(d *digest.Digest) { d.Previous.Object = "x" }, chain.Ref{}, true},
		{"itself", func(d *digest.Digest) { d.Previous.Object = d.Object }, chain.Ref{}, true},
		{"another region", func(d *digest.Digest) {
			k := parseKey(d.Previous.Object)
			k.Region = "eu-west-1"
			d.Previous.Object = k.String()
		}, chain.Ref{}, true},
		{"backfill", func(d *digest.Digest) {
			k := parseKey(d.Previous.Object)
			k.Backfill = true
			d.Previous.Object = k.String()
		}, chain.Ref{}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			d, p := *d, *d.Previous
			d.Previous = &p
			row.edit(&d)
			got, err := chain.Previous(&d, c.Name())
			if got != row.want || errors.Is(err, chain.ErrName) != row.bad || (err == nil) == row.bad {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func TestDue(t *testing.T) {
	at := func(hours ...float64) (all []time.Time) {
		for _, h := range hours {
			all = append(all, day.Add(time.Duration(h*float64(time.Hour))))
		}
		return all
	}
	for _, row := range []struct {
		name  string
		newer float64
		want  []time.Time
	}{
		{"they meet", 0, nil},
		{"one is missing", 1, at(1)},
		{"three are missing", 3, at(3, 2, 1)},
		{"half an hour", 0.5, nil},
		{"more than half an hour", 0.51, at(0.51)},
		{"an hour and a half", 1.5, at(1.5)},
		{"they overlap", -2, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := slices.Collect(chain.Due(day, at(row.newer)[0])); !slices.Equal(got, row.want) {
				t.Errorf("got %v", got)
			}
		})
	}
	for got := range chain.Due(time.Time{}, day) { // a consumer may stop
		if !got.Equal(day) {
			t.Error(got)
		}
		break
	}
}

func TestRefObject(t *testing.T) {
	_, c := newChain(testtrail.Options{}, 0)
	if got, want := refOf(c.Issued[0]).Object(), (trail.Object{Bucket: c.Issued[0].Bucket, Key: c.Issued[0].Key}); got != want {
		t.Errorf("got %s", got)
	}
}
