package pipeline_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/internal/pipeline"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var day = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// taker is a sink that keeps what it takes.
type taker struct {
	fail func(b sink.Batch) error // nil: it takes all

	mu    sync.Mutex
	parts []part
}

// part is a batch as the taker keeps it.
type part struct {
	Key    string
	Part   int
	IDs    []string
	Record string // the first one
}

// Emit implements pipeline.Sink.
func (s *taker) Emit(ctx context.Context, b sink.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.fail != nil {
		if err := s.fail(b); err != nil {
			return err
		}
	}
	p := part{Key: b.Log.Key, Part: b.Part, Record: string(b.Events[0].Record)}
	for i := range b.Events {
		p.IDs = append(p.IDs, b.Events[i].ID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts = append(s.parts, p)
	return nil
}

// ids returns the ids of all events that the taker has, sorted.
func (s *taker) ids() (all []string) {
	for _, p := range s.parts {
		all = append(all, p.IDs...)
	}
	slices.Sort(all)
	return all
}

// site is a trail with a pipeline that reads it.
type site struct {
	*testtrail.World
	*pipeline.Pipeline
	t       *testing.T
	sink    *taker
	source  *pipeline.Source
	share   *pipeline.Share
	chain   *testtrail.Chain
	metrics *prometheus.Registry
}

// options are those of newSite, unless they are changed.
func options() pipeline.Options {
	return pipeline.Options{Memory: 2 * pipeline.MinMemory(1), Concurrency: 8}
}

// newSite returns a site. Each Get of its source demands that nothing is reserved where
// one log file at a time is processed.
func newSite(t *testing.T, o pipeline.Options) *site {
	s := &site{t: t, World: testtrail.New(), sink: &taker{}, metrics: prometheus.NewRegistry()}
	s.chain = s.Trail(testtrail.Options{}).Chain("111122223333", "us-east-1", day)
	o.Sink, o.Now, o.Log, o.Metrics = s.sink, time.Now, slog.New(slog.DiscardHandler), s.metrics
	s.Pipeline = pipeline.New(o)
	s.open(s.World)
	t.Cleanup(func() {
		s.source.Wait()
		if n := s.InFlight(); n != 0 {
			t.Errorf("%d bytes are still reserved", n)
		}
	})
	return s
}

// open makes the source read o.
func (s *site) open(o fetch.Objects) {
	if s.source != nil {
		s.source.Wait()
	}
	f := fetch.New(o, 8)
	f.Plain = true
	s.source = s.Source(f)
	s.share = s.source.Share()
}

// hour delivers log files and returns the jobs for them. A large one is stored without
// compression, which takes less time.
func (s *site) hour(bodies ...[]byte) (jobs []pipeline.Job) {
	s.t.Helper()
	small := slices.Clone(bodies)
	for i, b := range bodies {
		if isLarge(b) {
			small[i] = nil
		}
	}
	d, err := digest.Parse(s.chain.Hour(small...).Body)
	if err != nil {
		s.t.Fatal(err)
	}
	for i, l := range d.Logs {
		if b := bodies[i]; isLarge(b) {
			l.Hash = sha256.Sum256(b)
			s.Edit(l.Bucket, l.Object, func(o *testtrail.Stored) { o.Body = stored(b) })
		}
		jobs = append(jobs, pipeline.Job{
			Share: s.share, Log: l, Places: []trail.Object{l.Location()}, Chain: s.chain.Name(), Digest: d,
		})
	}
	return jobs
}

func isLarge(body []byte) bool { return len(body) > 1<<20 }

// process runs one job and settles it.
func (s *site) process(ctx context.Context, j pipeline.Job) (r pipeline.Receipt, err error) {
	done := make(chan struct{})
	goErr := j.Share.Go(ctx, func(slot *fetch.Slot) {
		defer close(done)
		j.Slot = slot
		r, err = s.Process(ctx, j)
		outcome := pipeline.Emitted
		if err != nil {
			outcome = pipeline.Returned
		}
		s.Accounts().Settle(outcome)
	})
	if goErr != nil {
		return r, goErr
	}
	<-done
	return r, err
}

// balanced demands that the accounts balance.
func (s *site) balanced() {
	s.t.Helper()
	want := map[string]int64{"objects": 0, "records": 0, "logs": 0}
	if diff := differ(want, s.Accounts().Unaccounted()); diff != "" {
		s.t.Errorf("unaccounted (-want +got):\n%s", diff)
	}
}

// log returns a log file of n records of a size each.
func log(n, size int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"Records":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		text := fmt.Sprintf(`{"i":%d,"x":"`, i)
		b.WriteString(text)
		b.WriteString(strings.Repeat("x", max(0, size-len(text)-2)))
		b.WriteString(`"}`)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

// watched calls get before each Get.
type watched struct {
	fetch.Objects
	get func(trail.Object)
}

// Get implements fetch.Objects.
func (w watched) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	w.get(o)
	return w.Objects.Get(ctx, o)
}

var errReset = errors.New("connection reset")

// A log file can lie in several places of a copy. The one with the signed hash is emitted,
// once, and the receipt speaks of the others.
func TestPlaces(t *testing.T) {
	altered := testtrail.Gzip(log(2, 200))
	const (
		good       = "good"
		plain      = "plain"
		modified   = "modified"
		unreadable = "unreadable"
		corrupt    = "corrupt"
		missing    = "missing"
	)
	type other struct {
		At  string
		Err string
	}
	for _, tt := range []struct {
		name   string
		places []string
		at     string // the receipt's
		err    error
		others []other
	}{
		{"alone", []string{good}, good, nil, nil},
		{"inflated", []string{plain}, plain, nil, nil},
		{"modified", []string{modified}, modified, digest.ErrModified, nil},
		{"corrupt", []string{corrupt}, corrupt, finding.ErrContainer, nil},
		{"unreadable", []string{unreadable}, unreadable, errReset, nil},
		{"missing", []string{missing}, missing, fs.ErrNotExist, nil},
		{"missing twice", []string{missing, missing + "2"}, missing, fs.ErrNotExist, nil},
		{"not in the first place", []string{missing, good}, good, nil, nil},
		{"good twice", []string{good, plain}, good, nil, nil},
		{"good before modified", []string{good, modified}, good, nil, []other{{modified, modified}}},
		{"good after modified", []string{modified, good}, good, nil, []other{{modified, modified}}},
		{"good among all", []string{unreadable, modified, missing, good, corrupt}, good, nil,
			[]other{{unreadable, unreadable}, {modified, modified}, {corrupt, corrupt}}},
		{"one was not read", []string{modified, unreadable}, unreadable, errReset, []other{{modified, modified}}},
		{"none is good", []string{missing, modified, corrupt}, modified, digest.ErrModified, []other{{corrupt, corrupt}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, options())
				body := s.Log(3)
				j := s.hour(body)[0]
				s.open(watched{s.World, func(o trail.Object) {
					isKnown := slices.IndexFunc(tt.places, func(p string) bool { return p == good || p == plain })
					if n := s.InFlight(); n != 0 && slices.Index(tt.places, o.Key) <= isKnown {
						t.Errorf("%d bytes are reserved before %s is there", n, o.Key)
					}
				}})
				j.Share = s.share
				for key, stored := range map[string][]byte{
					good: testtrail.Gzip(body), plain: body, modified: altered, unreadable: altered,
					corrupt: append(testtrail.Gzip(body)[:40:40], bytes.Repeat([]byte{0xff}, 40)...),
				} {
					s.Put("copy", key, testtrail.Stored{Body: stored})
				}
				s.Fail("copy", unreadable, &testtrail.Fault{Err: errReset})
				j.Places = nil
				for _, p := range tt.places {
					j.Places = append(j.Places, trail.Object{Bucket: "copy", Key: p})
				}
				r, err := s.process(t.Context(), j)
				if !errors.Is(err, tt.err) || tt.err == nil && err != nil || r.At.Key != tt.at {
					t.Errorf("%v of %s, want %v of %s", err, r.At.Key, tt.err, tt.at)
				}
				var others []other
				for _, o := range r.Others {
					text := map[bool]string{errors.Is(o.Err, digest.ErrModified): modified, errors.Is(o.Err, errReset): unreadable,
						errors.Is(o.Err, finding.ErrContainer): corrupt}[true]
					others = append(others, other{o.At.Key, text})
				}
				if diff := differ(tt.others, others); diff != "" {
					t.Errorf("others (-want +got):\n%s", diff)
				}
				want := pipeline.Counts{}
				if tt.err == nil {
					want = pipeline.Counts{Split: 3, Emitted: 3}
				}
				if got := len(s.sink.ids()); r.Counts != want || got != want.Emitted {
					t.Errorf("%+v, %d events, want %+v", r.Counts, got, want)
				}
				s.balanced()
			})
		})
	}
}

// A log file that its digest lists for another place is not read.
func TestMisplaced(t *testing.T) {
	s := newSite(t, options())
	j := s.hour(s.Log(1))[0]
	j.Chain.Account = "999988887777"
	r, err := s.process(t.Context(), j)
	if !errors.Is(err, digest.ErrMisplaced) || r.At != j.Log.Location() || s.Reads(j.Log.Bucket, j.Log.Object) != 0 {
		t.Errorf("%v at %s", err, r.At)
	}
	s.balanced()
}

// Log files of all sizes are emitted whole, whatever the size of the one before, and each
// is read once in each class from that of the one before on.
func TestSizes(t *testing.T) {
	bodies := map[string][]byte{
		"none": []byte(
			`{"Records":[]}`,
		), "null": []byte(`{"Records":null}`), "small": log(5, 1000), "first class": log(500, 1000),
		"second class": log(2000, 1000), "third class": log(5000, 1000), "large": log(17<<10, 1<<10),
	}
	for _, tt := range []struct {
		name, before string
		reads, parts int
	}{
		{"none", "", 1, 0}, {"null", "", 1, 0}, {"small", "", 1, 1}, {"first class", "", 1, 1}, {"second class", "", 2, 1},
		{"third class", "", 3, 1}, {"large", "", 4, 7}, {"small", "large", 1, 1}, {"second class", "second class", 1, 1},
		{"third class", "second class", 2, 1}, {"none", "third class", 1, 0},
	} {
		t.Run(tt.name+" after "+tt.before, func(t *testing.T) {
			s := newSite(t, options())
			if tt.before != "" {
				if _, err := s.process(t.Context(), s.hour(bodies[tt.before])[0]); err != nil {
					t.Fatal(err)
				}
				s.sink.parts = nil
			}
			j := s.hour(bodies[tt.name])[0]
			r, err := s.process(t.Context(), j)
			if err != nil {
				t.Fatal(err)
			}
			n := bytes.Count(bodies[tt.name], []byte(`"x":"`))
			if got := slices.Compact(s.sink.ids()); len(got) != n ||
				r.Counts != (pipeline.Counts{Split: n, Emitted: n}) {
				t.Errorf("%d ids, %+v, want %d", len(got), r.Counts, n)
			}
			if len(s.sink.parts) != tt.parts || r.Parts != tt.parts {
				t.Errorf("%d parts, and %d by the receipt, want %d", len(s.sink.parts), r.Parts, tt.parts)
			}
			if got := s.Reads(j.Log.Bucket, j.Log.Object); got != tt.reads {
				t.Errorf("read %d times, want %d", got, tt.reads)
			}
			if r.Bytes != int64(len(bodies[tt.name])) || r.Sum != j.Log.Hash || r.At != j.Log.Location() {
				t.Errorf("%+v", r)
			}
			s.balanced()
		})
	}
}

// A log file that was not read leaves the size of the one before it.
func TestFailuresTeachNoSize(t *testing.T) {
	s := newSite(t, options())
	jobs := s.hour(log(2000, 1000), log(1, 10), log(2000, 1000))
	s.Delete(jobs[1].Log.Bucket, jobs[1].Log.Object)
	for i, want := range []int{2, 1, 1} {
		_, err := s.process(t.Context(), jobs[i])
		if (err != nil) != (i == 1) {
			t.Fatal(err)
		}
		if got := s.Reads(jobs[i].Log.Bucket, jobs[i].Log.Object); got != want {
			t.Errorf("log file %d is read %d times, want %d", i, got, want)
		}
	}
	s.balanced()
}

// Parts depend on the log file alone: what was read before must not move their ends, or a
// repeat that skips parts would skip other events.
func TestParts(t *testing.T) {
	small, middle, third := log(3, 100), log(100, 20<<10), log(5000, 1000)
	for name, body := range map[string][]byte{
		"tiny records":      log(5000, 10),    // of the first class, and more than it may encode
		"more tiny records": log(30_000, 10),  // of the second class
		"small records":     log(30_000, 100), // 3 MB
		"large":             log(17<<10, 1<<10),
	} {
		t.Run(name, func(t *testing.T) {
			var first []part
			befores := map[string][]byte{"small": small, "middle": middle, "third": third}
			if name == "large" {
				befores = map[string][]byte{"third": third} // it takes long
			}
			for before, body0 := range befores {
				s := newSite(t, options())
				if _, err := s.process(t.Context(), s.hour(body0)[0]); err != nil {
					t.Fatal(err)
				}
				s.sink.parts = nil
				j := s.hour(body)[0]
				r, err := s.process(t.Context(), j)
				if err != nil || len(s.sink.parts) < 2 || r.Parts != len(s.sink.parts) {
					t.Fatalf("%d parts, %+v, %v", len(s.sink.parts), r.Counts, err)
				}
				s.balanced()
				if first == nil {
					first = s.sink.parts
				}
				if diff := differ(first, s.sink.parts); diff != "" {
					t.Fatalf("after a %s log file the parts differ:\n%.2000s", before, diff)
				}
				for _, have := range []int{1, len(first)} {
					s.sink.parts = nil
					j.Parts = have
					r, err := s.process(t.Context(), j)
					if diff := differ(slices.Clip(first[have:]), s.sink.parts); err != nil || diff != "" ||
						r.Parts != len(first) {
						t.Errorf("with %d parts: %d, %v\n%.2000s", have, r.Parts, err, diff)
					}
					s.balanced()
				}
			}
		})
	}
}

// Records that are not one event are counted and shown, and the others are emitted.
func TestOdd(t *testing.T) {
	event := `{"eventName":"A"}`
	const large = 5 << 20
	for _, tt := range []struct {
		name, record string
		size         int64
		text         string
		why          error
	}{
		{"not an object", `17`, 2, `17`, trail.ErrOddRecord},
		{"control character", "{\"a\":\"x\ny\"}", 11, "{\"a\":\"x\ny\"}", trail.ErrOddRecord},
		{"own member", `{"trailseal":{}}`, 16, `{"trailseal":{}}`, trail.ErrOddRecord},
		{"bad escape", `{"a":"\q"}`, 10, `{"a":"\q"}`, trail.ErrOddRecord},
		{"too large", `{"a":"` + strings.Repeat("x", large) + `"}`, large + 8, "", trail.ErrRecordTooLarge},
		{"long", `["` + strings.Repeat("x", 10_000) + `"]`, 10_004, `["` + strings.Repeat("x", 4094), trail.ErrOddRecord},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, options())
			j := s.hour([]byte(`{"Records":[` + event + `,` + tt.record + `,` + event + `]}`))[0]
			r, err := s.process(t.Context(), j)
			if err != nil || r.Malformed != nil || r.Counts != (pipeline.Counts{Split: 3, Emitted: 2, Odd: 1}) {
				t.Fatalf("%+v, %v, %v", r.Counts, err, r.Malformed)
			}
			if len(r.Odd) != 1 || r.Odd[0].Index != 1 || r.Odd[0].Size != tt.size || r.Odd[0].Text != tt.text ||
				!errors.Is(r.Odd[0].Why, tt.why) {
				t.Errorf("%+.200v", r.Odd)
			}
			log := j.Log.Location()
			events := []sink.Event{{Index: 0}, {Index: 2}}
			sink.Identify(log, events)
			if diff := differ([]string{events[0].ID, events[1].ID}, s.sink.ids()); diff != "" {
				t.Errorf("ids (-want +got):\n%s", diff)
			}
			s.balanced()
		})
	}
	t.Run("many", func(t *testing.T) {
		s := newSite(t, options())
		r, err := s.process(
			t.Context(),
			s.hour(testtrail.LogOf(slices.Repeat([]json.RawMessage{[]byte(`1`)}, 1000)...))[0],
		)
		if err != nil || len(r.Odd) != 100 || r.Odd[99].Index != 99 ||
			r.Counts != (pipeline.Counts{Split: 1000, Odd: 1000}) ||
			r.Parts != 0 {
			t.Errorf("%d, %+v, %v", len(r.Odd), r.Counts, err)
		}
		s.balanced()
	})
}

// Of a proven file that cannot be split to its end, the records before that are emitted.
func TestMalformed(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		events     int
	}{
		{"empty", ``, 0},
		{"not JSON", `hello`, 0},
		{"no records", `{"a":[{}]}`, 0},
		{"records are not a list", `{"Records":{}}`, 0},
		{"cut off", `{"Records":[{"a":1},{"b":2},{"c"`, 2},
		{"data behind", `{"Records":[{"a":1}]}x`, 1},
		{"records twice", `{"Records":[{"a":1}],"Records":[{"b":1}]}`, 1},
		{"cut off and large", string(log(17<<10, 1<<10)[:17<<20]), 17 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, options())
			want := tt.events
			if tt.name == "cut off and large" {
				want = bytes.Count([]byte(tt.body), []byte(`"}`))
			}
			r, err := s.process(t.Context(), s.hour([]byte(tt.body))[0])
			if err != nil || !errors.Is(r.Malformed, trail.ErrRecords) ||
				r.Counts != (pipeline.Counts{Split: want, Emitted: want}) {
				t.Errorf("%+v, %v, %v", r.Counts, err, r.Malformed)
			}
			if got := len(s.sink.ids()); got != want {
				t.Errorf("%d events, want %d", got, want)
			}
			s.balanced()
		})
	}
}

// The receipt has the events that switch a trail off, also where they were emitted before.
func TestSwitchOffs(t *testing.T) {
	s := newSite(t, options())
	arn := trail.ARN{Partition: "aws", Region: "us-east-1", Account: "111122223333", Name: "main"}
	j := s.hour(testtrail.LogOf([]byte(`{"eventName":"StopLogging"}`), s.StopLogging(day, arn.String()), []byte(`{"a":"StopLogging\""}`)))[0]
	for _, j.Parts = range []int{0, 1} {
		r, err := s.process(t.Context(), j)
		var named []chain.Off
		for _, off := range r.SwitchOffs {
			if off.Trail.Name == "main" {
				named = append(named, off.Off)
			}
		}
		if err != nil || len(named) != 1 || r.SwitchOffs[len(r.SwitchOffs)-1].Event.Actor == "" {
			t.Errorf("with %d parts: %+v, %v", j.Parts, r.SwitchOffs, err)
		}
	}
	s.balanced()
}

// An early request is read once. One for another object, or one that was dropped, is not
// used.
func TestEarly(t *testing.T) {
	for _, tt := range []struct {
		name     string
		of       int // the log file that it is sent for
		dropped  bool
		reads    int
		requests int // of the other log file
	}{
		{"used", 0, false, 1, 0},
		{"dropped", 0, true, 2, 0},
		{"of another", 1, false, 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, options())
				jobs := s.hour(s.Log(2), s.Log(2))
				j := jobs[0]
				j.Early = s.source.Request(t.Context(), jobs[tt.of].Log.Location())
				synctest.Wait()
				if n := s.InFlight(); n != 0 {
					t.Errorf("%d bytes are reserved for a request", n)
				}
				if tt.dropped {
					j.Early.Drop()
				}
				r, err := s.process(t.Context(), j)
				j.Early.Drop()
				if err != nil || r.Counts.Emitted != 2 {
					t.Errorf("%+v, %v", r.Counts, err)
				}
				got := []int{s.Reads(j.Log.Bucket, j.Log.Object), s.Reads(j.Log.Bucket, jobs[1].Log.Object)}
				if diff := differ([]int{tt.reads, tt.requests}, got); diff != "" {
					t.Errorf("reads (-want +got):\n%s", diff)
				}
				s.balanced()
			})
		})
	}
}

// Of a file with too many stored bytes only the hash is read. Such a file is planted, or
// proven and too large. No memory is reserved before its first byte is there.
func TestTooManyStoredBytes(t *testing.T) {
	s := newSite(t, options())
	body := incompressible(97 << 20)
	jobs := s.hour(s.Log(1), body)
	proven, _ := s.Stored(jobs[1].Log.Bucket, jobs[1].Log.Object)
	s.Put(jobs[0].Log.Bucket, jobs[0].Log.Object, proven)
	s.open(watched{s.World, func(trail.Object) {
		if n := s.InFlight(); n != 0 {
			t.Errorf("%d bytes are reserved before the object is there", n)
		}
	}})
	for i, want := range []error{digest.ErrModified, inflate.ErrTooLarge} {
		jobs[i].Share = s.share
		r, err := s.process(t.Context(), jobs[i])
		if !errors.Is(err, want) || r.Sum != jobs[1].Log.Hash || len(s.sink.parts) != 0 {
			t.Errorf("%v, %s", err, r.Sum)
		}
	}
	s.balanced()
}

func TestMetrics(t *testing.T) {
	s := newSite(t, options())
	if _, err := s.process(t.Context(), s.hour(s.Log(4))[0]); err != nil {
		t.Fatal(err)
	}
	families, err := s.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += "/" + l.GetValue()
			}
			values[name] = m.GetGauge().
				GetValue() +
				m.GetCounter().
					GetValue() +
				float64(
					m.GetHistogram().GetSampleCount(),
				)
		}
	}
	want := map[string]float64{
		"in_flight_bytes": 0, "memory_budget_bytes": float64(2 * pipeline.MinMemory(1)), "event_age_seconds": 1,
		"stage_seconds/fetch": 1, "stage_seconds/emit": 1, "inflated_bytes_total": values["inflated_bytes_total"],
		"records_total/split": 4, "records_total/filtered": 0, "records_total/emitted": 4, "records_total/odd": 0, "records_total/returned": 0,
		"outcomes_total/objects/emitted": 1, "outcomes_total/objects/quarantined": 0, "outcomes_total/objects/returned": 0,
		"outcomes_total/records/emitted": 4, "outcomes_total/records/quarantined": 0, "outcomes_total/records/returned": 0,
		"unaccounted/objects": 0, "unaccounted/records": 0, "unaccounted/logs": 0,
	}
	if diff := differ(want, values); diff != "" || values["inflated_bytes_total"] < 100 {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
