package chain_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// line is a step in short: the hour of the digest's end, the verdict and what
// stops the walk there.
func line(s chain.Step) string {
	text := fmt.Sprintf("%02d %s", s.End.Sub(day)/time.Hour, s.Verdict.Status)
	if s.Verdict.Class != "" {
		text += " " + string(s.Verdict.Class)
	}
	if s.Verdict.Err != nil {
		text += " " + string(finding.ReasonOf(s.Verdict.Err))
	}
	for name, is := range map[string]bool{" trusted": s.Verdict.Trusted && s.Verdict.Status != chain.Valid, " starting": s.Starting(), " contradicted": s.Verdict.Contradicted} {
		if is {
			text += name
		}
	}
	if errors.Is(s.NameErr, chain.ErrName) {
		text += " name"
	}
	if errors.Is(s.WindowErr, digest.ErrWindow) {
		text += " window"
	}
	for _, c := range s.Copies {
		text += fmt.Sprintf(" copy:%s %s", c.Verdict.Status, c.Verdict.Class)
	}
	return text
}

func lines(steps []chain.Step) string {
	var all []string
	for _, s := range steps {
		all = append(all, line(s))
	}
	return strings.Join(all, ", ")
}

func TestWalk(t *testing.T) {
	set := func(p **string, s string) { *p = &s }
	for _, row := range []struct {
		name   string
		tamper func(*store, *testtrail.Chain, *chain.Options)
		want   string
	}{
		{"control", nil, "04 valid, 03 valid, 02 valid, 01 valid, 00 valid starting"},
		{"until the end of a digest", func(_ *store, c *testtrail.Chain, o *chain.Options) { o.Until = c.Issued[2].End }, "04 valid, 03 valid, 02 valid"},
		{"until the middle of an hour", func(_ *store, c *testtrail.Chain, o *chain.Options) { o.Until = c.Issued[2].End.Add(-time.Minute) }, "04 valid, 03 valid, 02 valid, 01 valid"},
		{"until later than the newest", func(_ *store, c *testtrail.Chain, o *chain.Options) { o.Until = c.Issued[4].End.Add(time.Hour) }, "04 valid"},
		{"until earlier than the oldest", func(_ *store, _ *testtrail.Chain, o *chain.Options) { o.Until = day.AddDate(-1, 0, 0) }, "04 valid, 03 valid, 02 valid, 01 valid, 00 valid starting"},
		{"missing", func(s *store, c *testtrail.Chain, _ *chain.Options) { s.Delete(c.Issued[2].Bucket, c.Issued[2].Key) }, "04 valid, 03 valid, 02 invalid digest-missing"},
		{"newest is missing", func(s *store, c *testtrail.Chain, _ *chain.Options) { s.Delete(c.Issued[4].Bucket, c.Issued[4].Key) }, "04 invalid digest-missing"},
		{"altered", func(s *store, c *testtrail.Chain, _ *chain.Options) {
			c.Reissue(2, func(d *testtrail.Doc) { d.Logs = nil })
		}, "04 valid, 03 valid, 02 invalid chain-mismatch"},
		{"metadata lost", func(s *store, c *testtrail.Chain, _ *chain.Options) {
			s.Edit(c.Issued[2].Bucket, c.Issued[2].Key, func(o *testtrail.Stored) { o.Meta = nil })
		}, "04 valid, 03 valid, 02 invalid digest-signature trusted, 01 valid, 00 valid starting"},
		{"newest is ahead of the clock", func(_ *store, c *testtrail.Chain, o *chain.Options) { o.Now = c.Issued[3].End }, "04 unverified clock trusted, 03 valid, 02 valid, 01 valid, 00 valid starting"},
		{"container is broken", func(s *store, c *testtrail.Chain, _ *chain.Options) {
			s.Edit(c.Issued[2].Bucket, c.Issued[2].Key, func(o *testtrail.Stored) { o.Body = append(o.Body, "more"...) })
		}, "04 valid, 03 valid, 02 invalid digest-corrupt trusted, 01 valid, 00 valid starting"},
		{"names another chain", func(_ *store, c *testtrail.Chain, _ *chain.Options) {
			c.ReissueFrom(2, func(d *testtrail.Doc) { set(&d.PrevObject, strings.Replace(*d.PrevObject, "_main_", "_other_", 1)) })
		}, "04 valid, 03 valid, 02 valid name"},
		{"names what is not a digest", func(_ *store, c *testtrail.Chain, _ *chain.Options) {
			c.ReissueFrom(2, func(d *testtrail.Doc) { set(&d.PrevObject, "nothing") })
		}, "04 valid, 03 valid, 02 valid name"},
		{"names itself", func(_ *store, c *testtrail.Chain, _ *chain.Options) {
			c.ReissueFrom(2, func(d *testtrail.Doc) { set(&d.PrevObject, d.Object) })
		}, "04 valid, 03 valid, 02 valid name"},
		{"names its successor", func(_ *store, c *testtrail.Chain, _ *chain.Options) {
			c.ReissueFrom(2, func(d *testtrail.Doc) { set(&d.PrevObject, c.Issued[3].Key) })
		}, "04 valid, 03 valid, 02 valid name"},
		{"leaves a hole", func(_ *store, c *testtrail.Chain, _ *chain.Options) {
			c.ReissueFrom(2, func(d *testtrail.Doc) { d.Start = "2026-03-01T01:08:12Z" })
		}, "04 valid, 03 valid, 02 valid window, 01 valid, 00 valid starting"},
		{"overlaps", func(_ *store, c *testtrail.Chain, _ *chain.Options) {
			c.ReissueFrom(2, func(d *testtrail.Doc) { d.Start = "2026-03-01T01:08:10Z" })
		}, "04 valid, 03 valid, 02 valid window, 01 valid, 00 valid starting"},
		{"a second copy is altered", func(s *store, c *testtrail.Chain, _ *chain.Options) {
			s.more[c.Issued[2].Key] = []chain.Found{{At: trail.Object{Key: "x"}, File: fileOf(append(c.Issued[2].Body, '\n'), nil)}}
		}, "04 valid, 03 valid, 02 valid copy:invalid chain-mismatch, 01 valid, 00 valid starting"},
		{"a second copy is equal", func(s *store, c *testtrail.Chain, _ *chain.Options) {
			s.more[c.Issued[2].Key] = []chain.Found{{At: trail.Object{Key: "x"}, File: fileOf(c.Issued[2].Body, nil)}}
		}, "04 valid, 03 valid, 02 valid, 01 valid, 00 valid starting"},
		{"a second copy is absent", func(s *store, c *testtrail.Chain, _ *chain.Options) {
			s.more[c.Issued[2].Key] = []chain.Found{{At: trail.Object{Key: "x"}, Err: notThere}}
		}, "04 valid, 03 valid, 02 valid, 01 valid, 00 valid starting"},
		{"a second copy is not read", func(s *store, c *testtrail.Chain, _ *chain.Options) {
			s.more[c.Issued[2].Key] = []chain.Found{{At: trail.Object{Key: "x"}, Err: errors.New("timeout")}}
		}, "04 valid, 03 valid, 02 valid copy:unverified , 01 valid, 00 valid starting"},
		{"the second copy is the genuine one", func(s *store, c *testtrail.Chain, _ *chain.Options) {
			s.Delete(c.Issued[2].Bucket, c.Issued[2].Key)
			s.more[c.Issued[2].Key] = []chain.Found{{At: trail.Object{Key: "x"}, File: fileOf(append(c.Issued[2].Body, '\n'), nil)}, {At: trail.Object{Bucket: c.Issued[2].Bucket, Key: "y"}, File: fileOf(c.Issued[2].Body, c.Issued[2].Meta)}}
		}, "04 valid, 03 valid, 02 valid copy:invalid chain-mismatch, 01 valid, 00 valid starting"},
		{"an absent copy beside an altered one", func(s *store, c *testtrail.Chain, _ *chain.Options) {
			s.Delete(c.Issued[2].Bucket, c.Issued[2].Key)
			s.more[c.Issued[2].Key] = []chain.Found{{At: trail.Object{Key: "x"}, File: fileOf(append(c.Issued[2].Body, '\n'), nil)}}
		}, "04 valid, 03 valid, 02 invalid chain-mismatch"},
		{"a copy that was not read beside an altered one", func(s *store, c *testtrail.Chain, _ *chain.Options) {
			c.Reissue(2, func(d *testtrail.Doc) { d.Logs = nil })
			s.more[c.Issued[2].Key] = []chain.Found{{At: trail.Object{Key: "x"}, Err: errors.New("timeout")}}
		}, "04 valid, 03 valid, 02 unverified network copy:invalid chain-mismatch"},
		{"two signed contents of the newest", func(s *store, c *testtrail.Chain, _ *chain.Options) {
			other := c.Reissue(4, func(d *testtrail.Doc) { d.Logs = nil })
			at := trail.Object{Bucket: other.Bucket, Key: other.Key}
			s.more[other.Key] = []chain.Found{{At: at, File: fileOf(c.Issued[4].Body, c.Issued[4].Meta)}}
		}, "04 valid copy:invalid chain-mismatch, 03 valid, 02 valid, 01 valid, 00 valid starting"},
		{"the second copy has its metadata", func(s *store, c *testtrail.Chain, _ *chain.Options) {
			d := c.Issued[2]
			s.Edit(d.Bucket, d.Key, func(o *testtrail.Stored) { delete(o.Meta, digest.MetaSignatureAlgorithm) })
			s.more[d.Key] = []chain.Found{{At: trail.Object{Bucket: d.Bucket, Key: "y"}, File: fileOf(d.Body, d.Meta)}}
		}, "04 valid, 03 valid, 02 valid, 01 valid, 00 valid starting"},
		{"what is known of the newest is not said of the next", func(s *store, c *testtrail.Chain, o *chain.Options) {
			s.Edit(c.Issued[3].Bucket, c.Issued[3].Key, func(o *testtrail.Stored) { o.Body = testtrail.Gzip(append(c.Issued[3].Body, '\n')) })
			o.Repeated = []string{c.Issued[4].Signature}
		}, "04 valid, 03 invalid chain-mismatch"},
		{"the newest is named", func(_ *store, c *testtrail.Chain, o *chain.Options) {
			o.Successor = &chain.Successor{Previous: digest.Previous{Hash: parse(c.Issued[0].Body).Sum}}
		}, "04 invalid chain-mismatch"},
		{"the newest has lost its metadata, and its signature is known", func(s *store, c *testtrail.Chain, o *chain.Options) {
			for _, d := range c.Issued[3:] {
				s.Edit(d.Bucket, d.Key, func(o *testtrail.Stored) { o.Meta = nil })
			}
			o.Repeated = []string{c.Issued[4].Signature}
		}, "04 invalid digest-signature trusted, 03 invalid digest-signature trusted, 02 valid, 01 valid, 00 valid starting"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, c := newChain(testtrail.Options{}, 4)
			s, o := &store{World: w, more: map[string][]chain.Found{}}, chain.Options{}
			newest := refOf(c.Issued[4])
			if row.tamper != nil {
				row.tamper(s, c, &o)
			}
			if got := lines(walk(t, s, newest, o)); got != row.want {
				t.Errorf("want %s\n got %s", row.want, got)
			}
		})
	}
}

var notThere = func() error {
	s := &store{World: testtrail.New()}
	return s.read(trail.Object{Bucket: "none", Key: "none"}).Err
}()

// A walk says what its successor says of each digest, and where it lies.
func TestWalkNamed(t *testing.T) {
	w, c := newChain(testtrail.Options{}, 3)
	steps := walk(t, &store{World: w}, refOf(c.Issued[3]), chain.Options{})
	for i, s := range steps {
		switch {
		case i == 0 && s.Named != nil:
			t.Error("the newest digest is named")
		case i > 0 && (s.Named.Previous.Hash != s.Digest.Sum || s.Named.At != steps[i-1].At):
			t.Errorf("step %d: %+v", i, s.Named)
		}
		if last := i == len(steps)-1; last != (s.Next == nil) || !last && *s.Next != steps[i+1].Ref {
			t.Errorf("step %d: next is %+v", i, s.Next)
		}
	}
}

// A digest that is not trusted is not a starting one, whatever it says.
func TestStepStarting(t *testing.T) {
	w, c := newChain(testtrail.Options{}, 0)
	s, first := &store{World: w}, c.Issued[0]
	if steps := walk(t, s, refOf(first), chain.Options{}); len(steps) != 1 || !steps[0].Starting() {
		t.Errorf("control: %s", lines(steps))
	}
	s.Edit(first.Bucket, first.Key, func(o *testtrail.Stored) { o.Body = testtrail.Gzip(append(first.Body, '\n')) })
	if steps := walk(t, s, refOf(first), chain.Options{}); len(steps) != 1 || steps[0].Starting() || steps[0].Digest == nil {
		t.Errorf("altered: %s", lines(steps))
	}
}

// A trail may change its bucket, prefix and organization.
func TestWalkFollowsTheTrail(t *testing.T) {
	w := testtrail.New()
	tr := w.Trail(testtrail.Options{})
	c := tr.Chain(account, region, day)
	c.Hours(1)
	tr.Bucket, tr.Prefix, tr.Organization = "second-bucket", "new/prefix", "o-0123456789"
	c.Hours(2)
	s := &store{World: w}
	if got, want := lines(walk(t, s, refOf(c.Issued[3]), chain.Options{})), "03 valid, 02 valid, 01 valid, 00 valid starting"; got != want {
		t.Errorf("want %s\n got %s", want, got)
	}
	for i, asked := range s.asked {
		if d := c.Issued[3-i]; asked != "s3://"+d.Bucket+"/"+d.Key {
			t.Errorf("asked for %s", asked)
		}
	}
}

// copied is a Fetcher over a copy: it has neither buckets nor prefixes nor metadata.
type copied map[string]chain.Found

func (f copied) ReadDigest(_ context.Context, r chain.Ref) []chain.Found {
	if r.Bucket != "" || r.Prefix != "" {
		panic("a copy is asked for " + r.Object().String())
	}
	found, ok := f[r.DigestKey.String()]
	if !ok {
		found.Err = notThere
	}
	return []chain.Found{found}
}

func (copied) HashDigest(context.Context, trail.Object) (digest.Sum, error) {
	return digest.Sum{}, finding.ErrTooLarge
}

func TestWalkCopy(t *testing.T) {
	w := testtrail.New()
	tr := w.Trail(testtrail.Options{Prefix: "old"})
	c := tr.Chain(account, region, day)
	c.Hours(1)
	tr.Bucket, tr.Prefix = "second-bucket", "new/prefix"
	c.Hours(2)
	f := copied{}
	for i, d := range c.Issued {
		var meta map[string]string
		if i == 3 {
			meta = d.Meta
		}
		f[trail.Tail(d.Key)] = chain.Found{At: trail.Object{Key: "copy/" + d.Key}, File: fileOf(d.Body, meta)}
	}
	var steps []chain.Step
	for s := range chain.Walk(t.Context(), f, keyring(w), chain.Ref{DigestKey: parseKey(trail.Tail(c.Issued[3].Key))}, chain.Options{}) {
		steps = append(steps, s)
	}
	if got, want := lines(steps), "03 valid, 02 valid, 01 valid, 00 valid starting"; got != want {
		t.Errorf("want %s\n got %s", want, got)
	}
}

func TestWalkBackfill(t *testing.T) {
	w, c := newChain(testtrail.Options{}, 1)
	b := c.Backfill(day.AddDate(0, 0, -2))
	b.Hour(w.Log(1))
	b.Hour(w.Log(1))
	b.ReissueFrom(1, func(d *testtrail.Doc) { d.Start = "2026-02-01T00:00:00Z" })
	steps := walk(t, &store{World: w}, refOf(b.Issued[1]), chain.Options{})
	if got := lines(steps); !strings.Contains(got, "valid starting") || strings.Contains(got, "window") {
		t.Error(got) // backfill has no hours that must meet
	}
}

// Each file is released once, whatever becomes of the walk, and not before the
// consumer is done with it.
func TestWalkRelease(t *testing.T) {
	for _, row := range []struct {
		name    string
		consume func(ctx context.Context, cancel func(), s *store, seq func(func(chain.Step, error) bool))
		files   int
	}{
		{"to the end", func(_ context.Context, _ func(), s *store, seq func(func(chain.Step, error) bool)) {
			for range seq {
				if s.unfreed != 2 {
					panic("released early")
				}
			}
		}, 10},
		{"stops early", func(_ context.Context, _ func(), _ *store, seq func(func(chain.Step, error) bool)) {
			for range seq {
				break
			}
		}, 2},
		{"panics", func(_ context.Context, _ func(), _ *store, seq func(func(chain.Step, error) bool)) {
			defer func() { _ = recover() }()
			for range seq {
				panic("consumer")
			}
		}, 2},
		{"ends ctx in the consumer", func(_ context.Context, cancel func(), _ *store, seq func(func(chain.Step, error) bool)) {
			for range seq {
				cancel()
			}
		}, 4},
		{"ends ctx while reading", func(_ context.Context, cancel func(), s *store, seq func(func(chain.Step, error) bool)) {
			s.onRead = func(chain.Ref) { cancel() }
			for _, err := range seq {
				if !errors.Is(err, context.Canceled) {
					panic(err)
				}
			}
		}, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, c := newChain(testtrail.Options{}, 4)
			s := &store{World: w, more: map[string][]chain.Found{}}
			for _, d := range c.Issued {
				s.more[d.Key] = []chain.Found{{At: trail.Object{Key: "x"}, Err: notThere}}
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			row.consume(ctx, cancel, s, chain.Walk(ctx, s, keyring(w), refOf(c.Issued[4]), chain.Options{}))
			if s.unfreed != 0 || s.releases != row.files {
				t.Errorf("%d files are not released, %d are", s.unfreed, s.releases)
			}
		})
	}
}

// cancelling are keys whose lookup ends the walk's ctx.
type cancelling struct {
	chain.Keys
	cancel func()
}

func (k cancelling) Find(context.Context, string, string, time.Time) (digest.Key, error) {
	k.cancel()
	return digest.Key{}, fmt.Errorf("list keys: %w", digest.ErrNoKeys)
}

// The end of ctx is not a doubt about a digest.
func TestWalkEndOfContext(t *testing.T) {
	w, c := newChain(testtrail.Options{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for s, err := range chain.Walk(ctx, &store{World: w}, cancelling{cancel: cancel}, refOf(c.Issued[1]), chain.Options{}) {
		if n++; !errors.Is(err, context.Canceled) || s.Verdict.Status != 0 {
			t.Errorf("%v, %v", line(s), err)
		}
	}
	if n != 1 {
		t.Errorf("%d steps", n)
	}
}

// A file that is too large to be parsed is hashed where its hash is signed.
func TestWalkLarge(t *testing.T) {
	for _, row := range []struct {
		name   string
		tamper func(*store, *testtrail.Chain, *testtrail.Issued)
		want   string
		hashed int
	}{
		{"control", func(s *store, _ *testtrail.Chain, _ *testtrail.Issued) { s.most = 0 }, "02 valid, 01 valid, 00 valid starting", 0},
		{"named", nil, "02 valid, 01 unverified too-large trusted", 1},
		{"altered", func(s *store, c *testtrail.Chain, _ *testtrail.Issued) {
			c.Reissue(1, func(d *testtrail.Doc) { d.Newest = nil })
		}, "02 valid, 01 invalid chain-mismatch", 1},
		{"altered and trailing bytes", func(s *store, c *testtrail.Chain, d *testtrail.Issued) {
			c.Reissue(1, func(d *testtrail.Doc) { d.Newest = nil })
			s.Edit(d.Bucket, d.Key, func(o *testtrail.Stored) { o.Body = append(o.Body, "more"...) })
		}, "02 valid, 01 invalid chain-mismatch", 1},
		{"trailing bytes", func(s *store, _ *testtrail.Chain, d *testtrail.Issued) {
			s.Edit(d.Bucket, d.Key, func(o *testtrail.Stored) { o.Body = append(o.Body, "more"...) })
		}, "02 valid, 01 invalid digest-corrupt trusted", 1},
		{"cannot be hashed", func(s *store, _ *testtrail.Chain, _ *testtrail.Issued) { s.hashErr = errors.New("timeout") }, "02 valid, 01 unverified network", 1},
		{"broken container", func(s *store, _ *testtrail.Chain, _ *testtrail.Issued) {
			s.hashErr = fmt.Errorf("corrupt: %w", finding.ErrContainer)
		}, "02 valid, 01 invalid digest-corrupt", 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := testtrail.New()
			c := w.Trail(testtrail.Options{}).Chain(account, region, day)
			var logs [][]byte
			for range 40 {
				logs = append(logs, w.Log(1))
			}
			large := c.Hour(logs...)
			c.Hour()
			s := &store{World: w, most: 4 << 10}
			if row.tamper != nil {
				row.tamper(s, c, large)
			}
			if got := lines(walk(t, s, refOf(c.Issued[2]), chain.Options{})); got != row.want || s.hashed != row.hashed {
				t.Errorf("want %s\n got %s, %d hashed", row.want, got, s.hashed)
			}
			if s.most == 0 || row.hashed == 0 {
				return
			}
			s.hashed = 0
			if steps := walk(t, s, refOf(large), chain.Options{}); s.hashed != 0 || len(steps) != 1 || steps[0].Verdict.Status != chain.Unverified {
				t.Errorf("without a successor: %s, %d hashed", lines(steps), s.hashed)
			}
		})
	}
}

// empty is a Fetcher that returns no file.
type empty struct{}

func (empty) ReadDigest(context.Context, chain.Ref) []chain.Found { return nil }

func (empty) HashDigest(context.Context, trail.Object) (digest.Sum, error) {
	return digest.Sum{}, finding.ErrTooLarge
}

// A Fetcher that returns no file says nothing about the digest.
func TestWalkWithoutFiles(t *testing.T) {
	w, c := newChain(testtrail.Options{}, 1)
	for s := range chain.Walk(t.Context(), empty{}, keyring(w), refOf(c.Issued[1]), chain.Options{}) {
		if s.Verdict.Status != chain.Unverified || s.Verdict.Trusted {
			t.Error(line(s))
		}
	}
}

// A walk lets go of each digest: its memory does not depend on the chain's length.
func TestWalkMemory(t *testing.T) {
	const hours = 300
	w := testtrail.New()
	c := w.Trail(testtrail.Options{}).Chain(account, region, day)
	for range hours {
		c.Hour()
	}
	alive, most, steps := 0, 0, 0
	gone := make(chan struct{}, hours+1)
	for s := range chain.Walk(t.Context(), &store{World: w}, chain.Saved(w.KeySet(day, day.AddDate(0, 2, 0))), refOf(c.Issued[hours]), chain.Options{}) {
		alive++
		steps++
		runtime.AddCleanup(s.Digest, func(struct{}) { gone <- struct{}{} }, struct{}{})
		if steps%100 == 0 {
			runtime.GC()
			for alive > 2 { // the walk and this loop hold one each
				<-gone
				alive--
			}
			most = max(most, alive)
		}
	}
	if steps != hours+1 || most > 2 {
		t.Errorf("%d steps, %d digests at once", steps, most)
	}
}
