package operate_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/operate"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	source = "s3://trail-bucket"
	folder = "/srv/copy"
)

var (
	name = trail.Chain{
		Place: trail.Place{Account: "111122223333", Region: "us-east-1"}, Trail: "main", HomeRegion: "us-east-1",
	}
	now = hour(20)
)

// hour returns when the chain's n-th digest ends.
func hour(n int) time.Time {
	return time.Date(2026, 3, 1, 0, 8, 11, 0, time.UTC).Add(time.Duration(n) * time.Hour)
}

// at returns the head of the chain after its n-th digest.
func at(n int) follow.Head {
	k := name.Digest(hour(n))
	l := follow.Link{End: hour(n), Bucket: "trail-bucket", Key: k.String(), Sum: "5eed"}
	return follow.Head{Version: follow.HeadVersion, Cursor: hour(n), Link: l}
}

func digestOf(c trail.Chain, n int) string { return c.Digest(hour(n)).String() }

func logOf(c trail.Chain, n int) string {
	stamp := hour(n).Truncate(time.Hour)
	return trail.LogKey{
		Place:  c.Place,
		Stamp:  stamp,
		Day:    stamp.Truncate(24 * time.Hour),
		Unique: "0123456789abcdef",
	}.String()
}

// order is a good order of a verb, with one thing changed.
func order(v operate.Verb, change func(*operate.Order)) operate.Order {
	o := operate.Order{Verb: v, Chain: "111122223333/us-east-1/main", By: "alice@desk", Reason: "ticket 7"}
	switch v {
	case operate.Skip:
		o.Object = digestOf(name, 4)
	case operate.Reset:
		o.Since = hour(2)
	}
	change(&o)
	return o
}

func asIs(*operate.Order) {}

func object(key string) func(*operate.Order) {
	return func(o *operate.Order) { o.Object = key }
}

func since(t time.Time) func(*operate.Order) {
	return func(o *operate.Order) { o.Since = t }
}

const signed = "by alice@desk at 2026-03-01T20:08:11Z: ticket 7"

func TestApply(t *testing.T) {
	other, backfill, inOrganization, moved := name, name, name, name
	other.Trail, backfill.Backfill, inOrganization.Organization, moved.Prefix = "other", true, "o-0123456789", "former"
	foreign := name
	foreign.Account = "444455556666"
	insight := "AWSLogs/111122223333/CloudTrail-Insight/us-east-1/2026/03/01/x.json.gz"
	skip, reset, end := operate.Skip, operate.Reset, operate.End
	late := at(3)
	late.LateTold = true
	given, err := at(3).GiveUp(follow.SkipOrder{Key: digestOf(name, 4)})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		source string
		chain  trail.Chain
		head   follow.Head
		order  operate.Order
		key    string // that the head skips then
		detail string // of the finding
		fails  string // what the error says
		usage  bool
	}{
		// Skip.
		{
			"digest", source, name, at(3), order(skip, asIs), digestOf(name, 4),
			"digest skipped " + signed + "; its log files are not emitted", "", false,
		},
		{
			"digest with its bucket", source, name, at(3), order(skip, object(source+"/"+digestOf(name, 4))),
			digestOf(name, 4),
			"digest skipped " + signed + "; its log files are not emitted", "", false,
		},
		{
			"digest in a copy", folder, name, at(3),
			order(skip, object("bucket/former/"+strings.TrimSuffix(digestOf(name, 4), ".gz"))),
			digestOf(name, 4), "digest skipped " + signed + "; its log files are not emitted", "", false,
		},
		{
			"digest below another prefix", source, name, at(3), order(skip, object(digestOf(moved, 4))),
			digestOf(moved, 4),
			"digest skipped " + signed + "; its log files are not emitted", "", false,
		},
		{
			"backfill digest", source, backfill, follow.Head{Version: 2, Backfills: []time.Time{hour(1)}},
			order(skip, object(digestOf(backfill, 4))), digestOf(backfill, 4),
			"digest skipped " + signed + "; its log files are not emitted", "", false,
		},
		{
			"digest after a reset", source, name, at(5).Reset(hour(4)), order(skip, asIs), digestOf(name, 4),
			"digest skipped " + signed + "; its log files are not emitted", "", false,
		},
		{
			"log file", source, name, at(3), order(skip, object(logOf(name, 4))), logOf(name, 4),
			"log file skipped " + signed + "; its events are not emitted", "", false,
		},
		{
			"log file of the first digest", source, name, follow.Begin(hour(3)), order(skip, object(logOf(name, 4))),
			logOf(name, 4),
			"log file skipped " + signed + "; its events are not emitted", "", false,
		},
		{
			"log file of another kind", source, name, at(3), order(skip, object(insight)), insight,
			"log file skipped " + signed + "; its events are not emitted", "", false,
		},
		{"digest that is done", source, name, at(4), order(skip, asIs), "", "", "has passed it", false},
		{
			"digest that is bad", source, name, at(3).Quarantine(name.Digest(hour(4))), order(skip, asIs), "", "",
			"has passed it", false,
		},
		{
			"log file of days ago", source, name, at(200), order(skip, object(logOf(name, 4))), "", "",
			"has passed it", false,
		},
		{"digest again", source, name, given, order(skip, asIs), "", "", "skipped already", false},
		{
			"digest of a chain without a proof", source, name, follow.Begin(hour(3)), order(skip, asIs), "", "",
			"reset it", false,
		},
		{
			"digest of another trail", source, name, at(3), order(skip, object(digestOf(other, 4))), "", "",
			"is a digest of the chain", true,
		},
		{
			"digest of the organization", source, name, at(3), order(skip, object(digestOf(inOrganization, 4))), "",
			"", "of the chain", true,
		},
		{
			"backfill digest of the chain", source, name, at(3), order(skip, object(digestOf(backfill, 4))), "", "",
			"of the chain", true,
		},
		{
			"log file of another account", source, name, at(3), order(skip, object(logOf(foreign, 4))), "", "",
			"is a log file of 444455556666", true,
		},
		{"no key", source, name, at(3), order(skip, object("x")), "", "", "must be the key of", true},
		{"bucket alone", source, name, at(3), order(skip, object(source)), "", "", "must be the key of", true},
		{
			"like a digest", source, name, at(3), order(skip, object(digestOf(name, 4)+"x")), "", "",
			"must be the key of", true,
		},
		{
			"like a log file", source, name, at(3), order(skip, object(logOf(name, 4)+"x")), "", "",
			"must be the key of", true,
		},
		{"no name of a chain", "", trail.Chain{}, at(3), order(skip, asIs), "", "", "is not the name of a head", false},

		// Reset.
		{
			"back", source, name, at(5), order(reset, asIs), "",
			"chain reset " + signed + "; it is followed from 2026-03-01T02:08:11Z on, and its events up to 2026-03-01T05:08:11Z are emitted again",
			"", false,
		},
		{
			"on", source, name, at(5), order(reset, since(hour(9))), "",
			"chain reset " + signed + "; it is followed from 2026-03-01T09:08:11Z on, and what is not done between 2026-03-01T05:08:11Z and then is left out",
			"", false,
		},
		{
			"before the first", source, name, follow.Begin(hour(1)), order(reset, asIs), "",
			"chain reset " + signed + "; it is followed from 2026-03-01T02:08:11Z on", "", false,
		},
		{"reset to come", source, name, at(5), order(reset, since(now.Add(1))), "", "", "must not be after now", true},

		// End.
		{"end", source, name, late, order(end, asIs), "", "", "", false},
		{
			"end of a chain without a proof", source, name, follow.Begin(hour(1)), order(end, asIs), "", "",
			"cannot have ended", false,
		},
		{"end again", source, name, at(3).End("why"), order(end, asIs), "", "", "has ended already", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := "chain/nonsense"
			if tt.source != "" {
				id = ledger.Name(tt.source, tt.chain)
			}
			got, err := tt.order.Apply(id, tt.head, now)
			switch {
			case (tt.fails != "") != (err != nil), err != nil && !strings.Contains(err.Error(), tt.fails):
				t.Fatalf("error %v, want %q", err, tt.fails)
			case errors.Is(err, operate.ErrUsage) != tt.usage:
				t.Errorf("error %v, usage %t", err, !tt.usage)
			case err != nil:
				return
			case got.Text == "":
				t.Error("says nothing")
			}
			detail := ""
			if f := got.Finding; f != nil {
				if detail = f.Detail; f.Class != finding.Coverage || f.Account != name.Account ||
					f.Trail != name.Trail {
					t.Errorf("finding %+v", f)
				}
				if wantBucket := strings.TrimPrefix(tt.source, "s3://"); tt.source != folder && f.Bucket != wantBucket {
					t.Errorf("bucket %q, want %q", f.Bucket, wantBucket)
				}
			}
			if detail != tt.detail {
				t.Errorf("got  %s\nwant %s", detail, tt.detail)
			}
			key := ""
			if n := len(got.Head.Skips); n > 0 {
				key = got.Head.Skips[n-1].Key
			}
			if key != tt.key {
				t.Errorf("skips %s, want %s", key, tt.key)
			}
		})
	}
}

// What a reset leaves of the head, and of its evidence in the finding.
func TestResetKeepsTheEvidence(t *testing.T) {
	out, err := order(operate.Reset, asIs).Apply(ledger.Name(source, name), at(5), now)
	if err != nil {
		t.Fatal(err)
	}
	if h := out.Head; h.Witness != at(5).Link || !h.Cursor.Equal(hour(2).Add(-1)) || h.Link != (follow.Link{}) {
		t.Errorf("head %+v", h)
	}
	e := out.Finding.Evidence
	if e.Want != "5eed" || e.Digest != source+"/"+digestOf(name, 5) || !e.From.Equal(hour(2)) || !e.To.Equal(hour(5)) {
		t.Errorf("evidence %+v", e)
	}
}

func TestCheck(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for _, tt := range []struct {
		name  string
		order operate.Order
		want  string // in the error
	}{
		{"skip", order(operate.Skip, asIs), ""},
		{"reset", order(operate.Reset, asIs), ""},
		{"end", order(operate.End, asIs), ""},
		{"end without a reason", order(operate.End, func(o *operate.Order) { o.Reason = "" }), ""},
		{
			"reason in another script",
			order(operate.End, func(o *operate.Order) { o.Reason = "Schlüssel gelöscht, 鍵" }), "",
		},
		{"no verb", order("", asIs), "verb"},
		{"another verb", order("burn", asIs), "verb"},
		{"no chain", order(operate.End, func(o *operate.Order) { o.Chain = "" }), "chain"},
		{"long chain", order(operate.End, func(o *operate.Order) { o.Chain = long }), "chain"},
		{"skip nothing", order(operate.Skip, object("")), "object"},
		{"skip a long name", order(operate.Skip, object(long)), "object"},
		{"end an object", order(operate.End, object("x")), "object"},
		{"reset to no time", order(operate.Reset, since(time.Time{})), "since"},
		{"end at a time", order(operate.End, since(hour(1))), "since"},
		{"by no one", order(operate.End, func(o *operate.Order) { o.By = "" }), "by"},
		{"without a reason", order(operate.Skip, func(o *operate.Order) { o.Reason = "" }), "reason"},
		{"blank reason", order(operate.Skip, func(o *operate.Order) { o.Reason = "  " }), "reason"},
		{"long reason", order(operate.Skip, func(o *operate.Order) { o.Reason = long }), "reason"},
		{"reason of two lines", order(operate.Skip, func(o *operate.Order) { o.Reason = "a\nb" }), "reason"},
		{"reason with an escape", order(operate.Skip, func(o *operate.Order) { o.Reason = "\x1b[2J" }), "reason"},
		{"reason that is not text", order(operate.Skip, func(o *operate.Order) { o.Reason = "\xff" }), "reason"},
	} {
		err := tt.order.Check()
		if tt.want == "" && err != nil ||
			tt.want != "" && (!errors.Is(err, operate.ErrUsage) || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// The finding is durable before the head changes. What fails changes nothing else.
func TestCarry(t *testing.T) {
	errSink := errors.New("disk full")
	for _, tt := range []struct {
		name    string
		order   operate.Order
		report  error
		change  bool // another writer changes the head meanwhile
		want    error
		reports int
		skips   int
	}{
		{"skip", order(operate.Skip, asIs), nil, false, nil, 1, 1},
		{"end", order(operate.End, asIs), nil, false, nil, 0, 0},
		{"the finding is refused", order(operate.Skip, asIs), errSink, false, errSink, 1, 0},
		{"another writer", order(operate.Skip, asIs), nil, true, state.ErrConflict, 1, 0},
		{"a wrong order", order(operate.Skip, object("x")), nil, false, operate.ErrUsage, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, id := ledger.New(state.NewMemory()), ledger.Name(source, name)
			e, err := l.Commit(t.Context(), ledger.Entry{Name: id}, at(3))
			if err != nil {
				t.Fatal(err)
			}
			reports := 0
			report := func(ctx context.Context, _ finding.Finding) error {
				reports++
				if stored, err := l.Open(ctx, id); err != nil || stored.Version != e.Version {
					t.Errorf("the head changed before the finding was durable: %v", err)
				}
				if tt.change {
					if _, err := l.Commit(ctx, e, at(4)); err != nil {
						t.Error(err)
					}
				}
				return tt.report
			}
			after, text, err := operate.Carry(t.Context(), l, report, e, tt.order, now)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) || (text == "") != (err != nil) ||
				reports != tt.reports {
				t.Fatalf("%q, %v after %d findings", text, err, reports)
			}
			stored, err := l.Open(t.Context(), id)
			if err != nil || len(stored.Head.Skips) != tt.skips {
				t.Errorf("%+v, %v", stored.Head, err)
			}
			if isChanged := after.Version != e.Version; isChanged != (tt.want == nil) {
				t.Errorf("changed %t", isChanged)
			}
		})
	}
}
