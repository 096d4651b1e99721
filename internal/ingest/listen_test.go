package ingest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/notify"
	"github.com/trailseal/trailseal/internal/queue"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// announcer announces what it is given and keeps how each delivery ended.
type announcer struct {
	mu     sync.Mutex
	queue  [][]trail.Object
	open   int
	ends   []error // in the order in which they ended
	change chan struct{}
	errs   []error          // of Next, before anything else
	drain  bool             // io.EOF when all has ended
	heard  chan struct{}    // closed when all is announced
	gone   []notify.Removal // announced with the first delivery
	sent   time.Time        // when
	second chan struct{}    // unless nil: the second delivery comes when it is closed
}

func newAnnouncer(deliveries ...[]trail.Object) *announcer {
	return &announcer{queue: deliveries, change: make(chan struct{}, 1000), drain: true, heard: make(chan struct{})}
}

func (a *announcer) Next(ctx context.Context) (notify.Delivery, error) {
	if a.second != nil && a.delivered() == 1 {
		select {
		case <-a.second:
		case <-ctx.Done():
			return notify.Delivery{}, ctx.Err()
		}
	}
	for {
		a.mu.Lock()
		switch {
		case len(a.errs) > 0:
			err := a.errs[0]
			a.errs = a.errs[1:]
			a.mu.Unlock()
			return notify.Delivery{}, err
		case len(a.queue) > 0:
			d := notify.Delivery{Created: a.queue[0], Removed: a.gone, Sent: a.sent, Done: a.end}
			a.queue, a.gone = a.queue[1:], nil
			a.open++
			a.mu.Unlock()
			return d, nil
		case !a.isHeard():
			close(a.heard)
			a.mu.Unlock()
			continue
		case a.open == 0 && a.drain:
			a.mu.Unlock()
			return notify.Delivery{}, io.EOF
		}
		a.mu.Unlock()
		select {
		case <-ctx.Done():
			return notify.Delivery{}, ctx.Err()
		case <-a.change:
		}
	}
}

func (a *announcer) delivered() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.open + len(a.ends)
}

func (a *announcer) isHeard() bool {
	select {
	case <-a.heard:
		return true
	default:
		return false
	}
}

func (a *announcer) end(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open--
	a.ends = append(a.ends, err)
	a.change <- struct{}{}
}

// deaf makes a site whose listings show nothing of the chain but its place: what
// it does of digests it learns from announcements.
func (s *site) deaf() {
	s.cfg.Sources[0].Objects = unlisted{s.World}
}

type unlisted struct{ *testtrail.World }

func (unlisted) List(context.Context, string, string, string) iter.Seq2[trail.Object, error] {
	return func(func(trail.Object, error) bool) {}
}

func (s *site) digests(from int) (all []trail.Object) {
	for _, d := range s.c.Issued[from:] {
		all = append(all, trail.Object{Bucket: d.Bucket, Key: d.Key})
	}
	return all
}

func one(list []trail.Object) (each [][]trail.Object) {
	for _, o := range list {
		each = append(each, []trail.Object{o})
	}
	return each
}

func (s *site) announce(t *testing.T, deliveries ...[]trail.Object) *announcer {
	t.Helper()
	a := newAnnouncer(deliveries...)
	s.cfg.Announcers = []ingest.Announcer{a}
	s.run(t)
	if a.open != 0 {
		t.Errorf("%d deliveries have not ended", a.open)
	}
	return a
}

func TestAnnounced(t *testing.T) {
	rows := []struct {
		name       string
		deliveries func(*site) [][]trail.Object
	}{
		{"one by one", func(s *site) [][]trail.Object { return one(s.digests(0)) }},
		{"together", func(s *site) [][]trail.Object { return [][]trail.Object{s.digests(0)} }},
		{"newest first", func(s *site) [][]trail.Object {
			list := one(s.digests(0))
			slices.Reverse(list)
			return list
		}},
		{"only the newest", func(s *site) [][]trail.Object { return one(s.digests(6)) }},
		{"each three times, shuffled", func(s *site) [][]trail.Object {
			list := one(slices.Concat(s.digests(0), s.digests(0), s.digests(0)))
			rand.New(rand.NewPCG(1, 2)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			return list
		}},
		{"with logs and others", func(s *site) [][]trail.Object {
			list := one(s.digests(0))
			for i, d := range s.c.Issued {
				list[i] = append(list[i], d.Logs...)
				list[i] = append(list[i], trail.Object{Bucket: bucket, Key: "AWSLogs/" + account + "/Config/x"})
			}
			return append(list, []trail.Object{{Bucket: bucket, Key: "odd"}}, s.c.Issued[3].Logs)
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, 6)
			s.deaf()
			a := s.announce(t, row.deliveries(s)...)
			for _, err := range a.ends {
				if err != nil {
					t.Errorf("came back: %v", err)
				}
			}
			s.expect(t, s.want())
			s.once(t)
		})
	}
}

// The digests before a gap are not named by those after it. Whichever is
// announced first, none is passed by.
func TestAnnouncedAcrossAGap(t *testing.T) {
	for _, known := range []bool{false, true} {
		for _, order := range []string{"only the last", "last first", "in order", "the starting one alone"} {
			t.Run(fmt.Sprintf("%s, known %v", order, known), func(t *testing.T) {
				s := newSite(t, 3)
				if order != "only the last" {
					s.deaf() // or the listing that a starting digest asks for shows them
				}
				if known {
					s.announce(t, s.digests(3))
				}
				s.c.Hours(2)
				s.c.Skip(4 * time.Hour)
				s.c.Restart(s.c.Now())
				s.c.Hours(2)
				list := one(s.digests(0))
				switch order {
				case "only the last":
					list = list[len(list)-1:]
				case "last first":
					slices.Reverse(list)
				}
				a := newAnnouncer(list...)
				if order == "the starting one alone" { // the rest while it is gone to
					a = newAnnouncer(slices.Insert(list, 0, list[len(list)-3])...)
					a.second = make(chan struct{})
				}
				s.cfg.Sources[0].Objects = &afterAll{Objects: s.cfg.Sources[0].Objects, a: a}
				s.cfg.Announcers = []ingest.Announcer{a}
				s.run(t)
				s.expect(t, s.want(), "gap")
				s.once(t)
			})
		}
	}
}

// afterAll gives nothing before all is announced: a listing that shows none of
// it would not make up for what comes later.
type afterAll struct {
	fetch.Objects
	a     *announcer
	asked sync.Once
}

func (o *afterAll) Get(ctx context.Context, at trail.Object) (io.ReadCloser, map[string]string, error) {
	if o.a.second != nil {
		o.asked.Do(func() { close(o.a.second) })
	}
	select {
	case <-o.a.heard:
		return o.Objects.Get(ctx, at)
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// A chain that is first heard of by an announcement begins at Since as one that
// is first seen in a listing does, although a digest on the way back is gone.
func TestAnnouncedAfterAHole(t *testing.T) {
	s := newSite(t, 8)
	gone := s.c.Issued[3]
	s.Delete(bucket, gone.Key)
	a := newAnnouncer(s.digests(8))
	s.cfg.Sources[0].Objects = unlistedUntil{s.World, a.ended}
	s.cfg.Announcers = []ingest.Announcer{a}
	s.run(t)
	s.expect(t, s.want(gone.Logs...), "digest-missing")
	s.once(t)
}

func (a *announcer) ended() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.ends) > 0
}

// unlistedUntil looks into no bucket until a time has come.
type unlistedUntil struct {
	*testtrail.World
	come func() bool
}

func (u unlistedUntil) Children(ctx context.Context, bucket, prefix string) iter.Seq2[trail.Object, error] {
	for !u.come() && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	return u.World.Children(ctx, bucket, prefix)
}

// Nothing of a delivery that is refused is looked at, and no head moves. It
// comes before the first listing: what the head is past is dealt with.
func TestRefused(t *testing.T) {
	at := func(s *site, end time.Time) trail.Object {
		return trail.Object{Bucket: bucket, Key: s.c.Name().Digest(end).String()}
	}
	rows := []struct {
		name   string
		object func(*site) trail.Object
	}{
		{"another bucket", func(s *site) trail.Object { return trail.Object{Bucket: "other", Key: s.c.Issued[1].Key} }},
		{"outside the prefix", func(s *site) trail.Object { return trail.Object{Bucket: bucket, Key: "x/" + s.c.Issued[1].Key} }},
		{"not there", func(s *site) trail.Object { return at(s, s.c.Now().Add(55*time.Minute)) }},
		{"not there, long ago", func(s *site) trail.Object { return at(s, day.Add(30*time.Minute)) }},
		{"in the future", func(s *site) trail.Object { return at(s, s.c.Now().Add(1000*time.Hour)) }},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, 4)
			a := newAnnouncer([]trail.Object{row.object(s)})
			s.cfg.Sources[0].Prefix = "AWSLogs/"
			s.cfg.Sources[0].Objects = unlistedUntil{s.World, a.ended}
			s.cfg.Announcers = []ingest.Announcer{a}
			s.run(t)
			if len(a.ends) != 1 || a.ends[0] == nil {
				t.Errorf("ends %v", a.ends)
			}
			s.expect(t, s.want())
			s.c.Hours(2) // none of it hides what comes
			s.announce(t, one(s.digests(4))...)
			s.expect(t, s.want())
			s.once(t)
		})
	}
}

// What the head is past needs no look, whether it is there or not: announced
// again, it ends its delivery.
func TestAnnouncedAgain(t *testing.T) {
	s := newSite(t, 4)
	s.run(t)
	old := s.c.Name().Digest(day.Add(30 * time.Minute))
	s.Fail(bucket, old.String(), &testtrail.Fault{Err: errors.New("looked at")})
	a := s.announce(t, append(one(s.digests(0)), []trail.Object{{Bucket: bucket, Key: old.String()}})...)
	if len(a.ends) != len(s.c.Issued)+1 || slices.ContainsFunc(a.ends, func(err error) bool { return err != nil }) {
		t.Errorf("ends %v", a.ends)
	}
	s.expect(t, s.want())
	s.once(t)
}

func TestSelectorsAndSinceSkip(t *testing.T) {
	s := newSite(t, 6)
	other := s.trail.Chain(account, "eu-west-1", day)
	other.Hours(2)
	s.cfg.Regions = []string{region}
	s.cfg.Since = s.c.Issued[4].End
	a := newAnnouncer(append(one(s.digests(0)), []trail.Object{{Bucket: bucket, Key: other.Issued[1].Key}})...)
	s.cfg.Sources[0].Objects = unlistedUntil{s.World, a.isHeard} // the messages come before the first listing
	s.cfg.Announcers = []ingest.Announcer{a}
	s.run(t)
	if len(a.ends) != 8 || slices.ContainsFunc(a.ends, func(err error) bool { return err != nil }) {
		t.Errorf("ends %v", a.ends)
	}
	want := s.want(slices.Concat(s.c.Issued[1].Logs, s.c.Issued[2].Logs, s.c.Issued[3].Logs)...)
	s.expect(t, want)
}

// A chain that waits gives its deliveries back and holds up no other's.
func TestAnnouncedUnreadable(t *testing.T) {
	s := newSite(t, 3)
	s.deaf()
	other := s.trail.Chain("444455556666", region, day)
	other.Hours(3)
	key := s.c.Issued[2].Logs[0].Key
	s.Fail(bucket, key, &testtrail.Fault{Err: fmt.Errorf("get: %w", fs.ErrPermission)})
	last := func(c *testtrail.Chain) trail.Object { return trail.Object{Bucket: bucket, Key: c.Issued[3].Key} }
	a := s.announce(t, []trail.Object{last(s.c)}, []trail.Object{last(other)}, []trail.Object{last(s.c), last(other)})
	failed := 0
	for _, err := range a.ends {
		if err != nil {
			failed++
		}
	}
	if failed != 2 || a.ends[0] != nil {
		t.Errorf("ends %v", a.ends)
	}
	s.Fail(bucket, key, nil)
	if a := s.announce(t, []trail.Object{last(s.c)}); len(a.ends) != 1 || a.ends[0] != nil {
		t.Errorf("ends %v", a.ends)
	}
	if n := len(s.sink.lines); n != 30 || len(s.found.all) > 0 {
		t.Errorf("%d events, findings %v", n, s.found.all)
	}
}

// When the run ends, what is not durable comes back at once.
func TestAnnouncedAndInterrupted(t *testing.T) {
	s := newSite(t, 3)
	s.cfg.Once = false
	s.cfg.Poll = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.sink.fail = func(b sink.Batch) error {
		if b.Log == s.c.Issued[2].Logs[1] {
			cancel()
			return errors.New("down")
		}
		return nil
	}
	a := newAnnouncer(one(s.digests(0))...)
	s.cfg.Announcers = []ingest.Announcer{a}
	s.cfg.Metrics = prometheus.NewRegistry()
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	if _, err := ingest.Run(ctx, s.cfg); err != nil {
		t.Error(err)
	}
	// The first two digests are durable; whether they were announced before
	// the end came is chance, and then they come back, too.
	back := 0
	for _, err := range a.ends {
		if errors.Is(err, context.Canceled) {
			back++
		} else if err != nil {
			t.Errorf("came back: %v", err)
		}
	}
	if a.open != 0 || len(a.ends)-back > 2 {
		t.Errorf("%d open, ends %v", a.open, a.ends)
	}
	s.sink.fail, s.cfg.Once = nil, true
	s.announce(t, one(s.digests(0))...)
	s.expect(t, s.want())
}

func TestNextFails(t *testing.T) {
	s := newSite(t, 2)
	s.deaf()
	a := newAnnouncer(s.digests(0))
	a.errs = []error{errors.New("throttled"), errors.New("throttled")}
	s.cfg.Announcers = []ingest.Announcer{a}
	s.run(t)
	s.expect(t, s.want())
	down := errors.New("access denied")
	a = newAnnouncer()
	a.errs = []error{down, down, down, down}
	s.cfg.Announcers = []ingest.Announcer{a}
	s.cfg.Metrics = prometheus.NewRegistry()
	if _, err := ingest.Run(t.Context(), s.cfg); !errors.Is(err, down) {
		t.Errorf("error %v", err)
	}
}

// joined makes a queue of awsapi one of package queue.
type joined struct{ q *awsapi.Queue }

func (j joined) Receive(ctx context.Context, limit int, wait, visibility time.Duration) ([]queue.Message, error) {
	list, err := j.q.Receive(ctx, limit, wait, visibility)
	var out []queue.Message
	for _, m := range list {
		out = append(out, queue.Message(m))
	}
	return out, err
}

func (j joined) Delete(ctx context.Context, receipts []string) []error {
	return j.q.Delete(ctx, receipts)
}

func (j joined) Extend(ctx context.Context, receipts []string, v time.Duration) []error {
	return j.q.ChangeVisibility(ctx, receipts, v)
}

// mail is a site whose source and queue are those of a fake AWS.
type mail struct {
	*site
	server *testaws.Server
	queue  *testaws.Queue
	client *awsapi.Client
}

func newMail(t *testing.T, hours int) *mail {
	t.Helper()
	s := newSite(t, hours)
	m := &mail{site: s, server: testaws.New(t, s.World)}
	for _, v := range m.server.Env() {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	t.Setenv("AWS_PROFILE", "")
	m.queue = m.server.Queue("trail")
	client, err := awsapi.Load(t.Context(), awsapi.Options{MaxBackoff: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	m.client = client
	s.cfg.Sources = []ingest.Source{{Source: source.Source{Bucket: bucket, Name: "s3://" + bucket}, Objects: client.S3()}}
	return m
}

// drain runs the worker until the queue is empty and returns its account.
func (m *mail) drain(ctx context.Context, t *testing.T) queue.Account {
	t.Helper()
	q, err := m.client.Queue(m.queue.URL())
	if err != nil {
		t.Fatal(err)
	}
	r := prometheus.NewRegistry()
	o := queue.Options{Name: m.queue.URL(), Wait: time.Millisecond, Drain: true, Log: slog.New(slog.DiscardHandler), Metrics: queue.NewMetrics(r)}
	source := queue.New(joined{q}, o)
	m.cfg.Announcers = []ingest.Announcer{source}
	m.cfg.Metrics = r
	if _, err := ingest.Run(ctx, m.cfg); err != nil {
		t.Error(err)
	}
	if err := source.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.Gather(); err != nil { // both packages' metrics in one registry
		t.Error(err)
	}
	a := o.Metrics.Account()
	if a.Unaccounted() != 0 || a.InFlight != 0 {
		t.Errorf("%+v", a)
	}
	return a
}

// bodies are the forms that an announcement can have.
var bodies = map[string]func(objects ...trail.Object) string{
	"s3":     s3Event,
	"s3-sns": func(objects ...trail.Object) string { return inSNS(s3Event(objects...)) },
	"eventbridge": func(objects ...trail.Object) string {
		return text(map[string]any{"source": "aws.s3", "detail-type": "Object Created", "news": []int{1}, "detail": place(objects[0], objects[0].Key)})
	},
	"eventbridge-sns": func(objects ...trail.Object) string {
		return inSNS(text(map[string]any{"source": "aws.s3", "detail-type": "Object Created", "detail": place(objects[0], objects[0].Key)}))
	},
	"cloudtrail-sns": func(objects ...trail.Object) string {
		keys := []string{objects[0].Key}
		for _, o := range objects {
			keys = append(keys, o.Key) // the first comes twice
		}
		return inSNS(text(map[string]any{"s3Bucket": objects[0].Bucket, "s3ObjectKey": keys}))
	},
}

func s3Event(objects ...trail.Object) string {
	var records []any
	for _, o := range objects {
		key := strings.ReplaceAll(o.Key, "+", "%2B")
		records = append(records, map[string]any{"eventVersion": "2.9", "eventName": "ObjectCreated:Put", "s3": place(o, key)})
	}
	return text(map[string]any{"Records": records})
}

func place(o trail.Object, key string) any {
	return map[string]any{"bucket": map[string]any{"name": o.Bucket, "more": true}, "object": map[string]any{"key": key, "size": 1}}
}

func inSNS(message string) string {
	return text(map[string]any{"Type": "Notification", "TopicArn": "arn:aws:sns:us-east-1:111122223333:t", "Message": message})
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestQueueFormats(t *testing.T) {
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			m := newMail(t, 3)
			// Of what is announced the poll shows nothing: it looks at the world
			// as it was.
			m.cfg.Sources[0].Objects = unlistedS3{m.client.S3()}
			for _, o := range m.digests(0) {
				m.queue.Send(body(o))
			}
			m.queue.Send(inSNS("CloudTrail validation message."))
			m.queue.Send(`{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"x"}`)
			a := m.drain(t.Context(), t)
			if left := m.queue.Bodies(); len(left) > 0 || a.Acked != 6 {
				t.Errorf("left %q, %+v", left, a)
			}
			m.expect(t, m.want())
			m.once(t)
		})
	}
}

type unlistedS3 struct{ *awsapi.S3 }

func (unlistedS3) List(context.Context, string, string, string) iter.Seq2[trail.Object, error] {
	return func(func(trail.Object, error) bool) {}
}

// Several chains in one message, deliveries in any order and more than once,
// and what SQS answers is not always so.
func TestQueueFaults(t *testing.T) {
	rows := map[string]func(*mail){
		"control": func(*mail) {},
		"delete fails": func(m *mail) {
			m.server.Fail(testaws.Fault{Op: "DeleteMessageBatch", Status: 500, Code: "InternalError", Times: 7})
		},
		"delete fails but took effect": func(m *mail) {
			m.server.Fail(testaws.Fault{Op: "DeleteMessageBatch", Status: 500, Code: "InternalError", After: true, Times: 7})
		},
		"one entry fails": func(m *mail) {
			m.server.Fail(testaws.Fault{Op: "DeleteMessageBatch", Entry: 1, Code: "InternalError", Times: 3})
		},
		"receive is reset": func(m *mail) {
			m.server.Fail(testaws.Fault{Op: "ReceiveMessage", Reset: true, Times: 2})
		},
	}
	for name, fault := range rows {
		t.Run(name, func(t *testing.T) {
			m := newMail(t, 4)
			other := m.trail.Chain("444455556666", "eu-west-1", day)
			other.Hours(4)
			m.queue.Shuffle(7)
			for i, o := range m.digests(0) {
				body := s3Event(o, trail.Object{Bucket: bucket, Key: other.Issued[i].Key}, trail.Object{Bucket: bucket, Key: "other"})
				m.queue.Send(body)
				m.queue.Repeat(m.queue.Send(body))
			}
			fault(m)
			m.drain(t.Context(), t)
			if left := m.queue.Bodies(); len(left) > 0 {
				t.Errorf("left %q", left)
			}
			m.once(t)
			if n := len(m.sink.lines); n != 40 || len(m.found.all) > 0 {
				t.Errorf("%d events, findings %v", n, m.found.all)
			}
		})
	}
}

func TestQueueLeavesAlone(t *testing.T) {
	m := newMail(t, 1)
	bad := []string{`{"no":"form"}`, s3Event(trail.Object{Bucket: "foreign", Key: m.c.Issued[1].Key}), s3Event(m.digests(0)[0], trail.Object{Bucket: "foreign", Key: "x"})}
	for _, body := range append(bad, s3Event(m.digests(1)...)) {
		m.queue.Send(body)
	}
	m.queue.Send(strings.Replace(s3Event(m.c.Issued[1].Logs[0]), "ObjectCreated:Put", "ObjectRemoved:Delete", 1))
	a := m.drain(t.Context(), t)
	if left := m.queue.Bodies(); !slices.Equal(left, bad) || a.Acked != 2 || a.Returned != 3 {
		t.Errorf("left %q, %+v", left, a)
	}
	m.expect(t, m.want()) // the log whose removal was announced is there
}

// Killed at any moment: nothing is deleted that is not durable, and in the end
// everything is emitted and the queue is empty.
func TestQueueInterrupted(t *testing.T) {
	m := newMail(t, 12)
	m.cfg.Sources[0].Objects = unlistedS3{m.client.S3()}
	digestOf := map[string]string{} // by log
	for _, d := range m.c.Issued {
		m.queue.Send(s3Event(trail.Object{Bucket: bucket, Key: d.Key}))
		for _, l := range d.Logs {
			digestOf[l.Key] = d.Key
		}
	}
	m.server.Latency = time.Millisecond
	rng := rand.New(rand.NewPCG(3, 4))
	kills := 0
	for ; len(m.queue.Bodies()) > 0 && kills < 200; kills++ {
		ctx, cancel := context.WithCancel(t.Context())
		left := rng.IntN(4)
		m.sink.mu.Lock()
		m.sink.fail = func(sink.Batch) error {
			if left--; left < 0 {
				cancel()
				return errors.New("killed")
			}
			return nil
		}
		m.sink.mu.Unlock()
		m.drain(ctx, t)
		if ctx.Err() == nil {
			m.server.Advance(time.Hour) // a kill met an answer on its way: its messages are invisible for long
		}
		cancel()
		durable := m.got(t)
		inQueue := strings.Join(m.queue.Bodies(), " ")
		for event := range m.want() {
			log, _, _ := strings.Cut(strings.TrimPrefix(event, "s3://"+bucket+"/"), " ")
			if !durable[event] && !strings.Contains(inQueue, digestOf[log]) {
				t.Fatalf("after %d kills: %s is not durable, and its digest is deleted from the queue", kills, event)
			}
		}
	}
	if got := m.got(t); !maps.Equal(got, m.want()) || kills < 4 {
		t.Errorf("%d events, want %d, after %d kills", len(got), len(m.want()), kills)
	}
	if left := m.queue.Bodies(); len(left) > 0 || len(m.found.all) > 0 {
		t.Errorf("left %q, findings %v", left, m.found.all)
	}
}

// forger announces, all the time, digests before a gap that are not there.
type forger struct {
	s     *site
	every time.Duration
	n     int
}

func (f *forger) Next(ctx context.Context) (notify.Delivery, error) {
	select {
	case <-time.After(f.every):
	case <-ctx.Done():
		return notify.Delivery{}, ctx.Err()
	}
	f.n++
	end := f.s.c.Issued[3].End.Add(time.Duration(1+f.n%3000) * time.Second)
	forged := trail.Object{Bucket: bucket, Key: f.s.c.Name().Digest(end).String()}
	return notify.Delivery{Created: []trail.Object{forged}, Done: func(error) {}}, nil
}

// Whoever may write to the queue cannot hold a chain before a gap.
func TestForgedAnnouncementsBeforeAGap(t *testing.T) {
	for _, every := range []time.Duration{100 * time.Millisecond, 20 * time.Millisecond, 5 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, 3)
			s.c.Skip(4 * time.Hour)
			s.c.Restart(s.c.Now())
			s.c.Hours(3)
			at := s.c.Now().Add(20 * time.Hour)
			s.cfg.Now = func() time.Time { return at }
			s.Latency = 30 * time.Millisecond
			s.cfg.Announcers = []ingest.Announcer{&forger{s: s, every: every}}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			s.cfg.Sink = sinkFunc(func(ctx context.Context, b sink.Batch) error {
				err := s.sink.Emit(ctx, b)
				s.sink.mu.Lock()
				defer s.sink.mu.Unlock()
				if len(s.sink.lines) == len(s.want()) {
					cancel()
				}
				return err
			})
			s.forever(ctx)
			s.expect(t, s.want(), "gap")
		})
	}
}
