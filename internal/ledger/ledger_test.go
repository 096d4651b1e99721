package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/pkg/trail"
)

var (
	day   = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	chain = trail.Chain{
		Place: trail.Place{Account: "111122223333", Region: "eu-west-1"}, Trail: "main", HomeRegion: "us-east-1",
	}
)

// with returns the chain with a change.
func with(change func(*trail.Chain)) trail.Chain {
	c := chain
	change(&c)
	return c
}

// Names are part of the state of users: they never change.
func TestName(t *testing.T) {
	const rest = "/-/111122223333/eu-west-1/us-east-1/main"
	for _, tt := range []struct {
		source string
		chain  trail.Chain
		want   string
	}{
		{"s3://bucket", chain, "chain/s3:%2F%2Fbucket" + rest},
		{"/srv/copy", chain, "chain/%2Fsrv%2Fcopy" + rest},
		{"/srv/100%/a%2Fb", chain, "chain/%2Fsrv%2F100%25%2Fa%252Fb" + rest},
		{"/case 7/ü\n\xff", chain, "chain/%2Fcase 7%2Fü\n\xff" + rest},
		{"", chain, "chain/" + rest},
		{"/", chain, "chain/%2F" + rest},
		{"arn:aws:s3:eu-west-1:111122223333:accesspoint/a", chain, "chain/arn:aws:s3:eu-west-1:111122223333:accesspoint%2Fa" + rest},
		{"s", with(func(c *trail.Chain) { c.Backfill = true }), "chain/s" + rest + "/backfill"},
		{"s", with(func(c *trail.Chain) { c.Trail = "backfill" }), "chain/s/-/111122223333/eu-west-1/us-east-1/backfill"},
		{"s", with(func(c *trail.Chain) { c.Organization = "o-abcdefghij" }), "chain/s/o-abcdefghij/111122223333/eu-west-1/us-east-1/main"},
		{"s", with(func(c *trail.Chain) { c.Prefix = "p" }), "chain/s" + rest},
	} {
		got := ledger.Name(tt.source, tt.chain)
		if got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
		tt.chain.Prefix = ""
		if source, c, err := ledger.Parse(got); err != nil || source != tt.source || c != tt.chain {
			t.Errorf("parsed as %q, %+v, %v", source, c, err)
		}
	}
	if n := len(ledger.Name("/"+strings.Repeat("日本", 100), chain)); n > state.MaxName {
		t.Errorf("the name of a long path has %d bytes", n)
	}
}

func TestParseRefuses(t *testing.T) {
	const good = "chain/s/-/111122223333/eu-west-1/us-east-1/main"
	if _, _, err := ledger.Parse(good); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"", "chain/", "listed/s", strings.TrimPrefix(good, "chain/"), "x" + good, good + "/", good + "/other", good + "/backfill/backfill",
		strings.Replace(good, "-", "", 1), strings.Replace(good, "/-/", "/o-short/", 1), strings.Replace(good, "1111", "111a", 1),
		strings.Replace(good, "eu-west-1", "euwest", 1), strings.Replace(good, "us-east-1", "", 1), strings.Replace(good, "main", "m", 1),
		strings.Replace(good, "/s/", "/a%2fb/", 1), strings.Replace(good, "/s/", "/a%41/", 1), strings.Replace(good, "/s/", "/100%/", 1),
	} {
		if source, c, err := ledger.Parse(name); err == nil || source != "" || c != (trail.Chain{}) {
			t.Errorf("%q is %q, %+v, %v", name, source, c, err)
		}
	}
}

// A name that is parsed is made again from what it says, and the other way round.
func FuzzName(f *testing.F) {
	f.Add("s3://b", "o-abcdefghij", "111122223333", "eu-west-1", "us-east-1", "main", true)
	f.Add("/a%2Fb%25/\xff", "", "111122223333", "eu-west-1", "us-east-1", "backfill", false)
	f.Fuzz(func(t *testing.T, source, organization, account, region, home, name string, backfill bool) {
		c := trail.Chain{
			Place: trail.Place{
				Organization: organization,
				Account:      account,
				Region:       region,
			}, HomeRegion: home, Trail: name, Backfill: backfill,
		}
		made := ledger.Name(source, c)
		isChain := trail.ValidAccount(account) && trail.ValidRegion(region) && trail.ValidRegion(home) &&
			trail.ValidName(name) &&
			(organization == "" || trail.ValidOrganization(organization))
		gotSource, got, err := ledger.Parse(made)
		if isChain && (err != nil || gotSource != source || got != c) {
			t.Errorf("%q is parsed as %q, %+v, %v", made, gotSource, got, err)
		}
		if err == nil && ledger.Name(gotSource, got) != made {
			t.Errorf("%q is parsed as %q, %+v", made, gotSource, got)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("chain/s3:%2F%2Fb/-/111122223333/eu-west-1/us-east-1/main/backfill")
	f.Fuzz(func(t *testing.T, name string) {
		if source, c, err := ledger.Parse(name); err == nil && ledger.Name(source, c) != name {
			t.Errorf("%q is parsed as %q, %+v", name, source, c)
		}
	})
}

func head(hour int) follow.Head { return follow.Begin(day.Add(time.Duration(hour) * time.Hour)) }

func TestHeads(t *testing.T) {
	ctx, l := t.Context(), ledger.New(state.NewMemory())
	name := ledger.Name("s", chain)
	e, err := l.Open(ctx, name)
	if err != nil || e.IsStored() || !reflect.DeepEqual(e.Head, follow.Head{}) || e.Name != name {
		t.Fatalf("%+v, %v", e, err)
	}
	first, err := l.Commit(ctx, e, head(1))
	if err != nil || !first.IsStored() || !reflect.DeepEqual(first.Head, head(1)) {
		t.Fatalf("%+v, %v", first, err)
	}
	if _, err := l.Commit(ctx, e, head(2)); !errors.Is(err, state.ErrConflict) {
		t.Errorf("a head is created twice: %v", err)
	}
	second, err := l.Commit(ctx, first, head(2))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Commit(ctx, first, head(3)); !errors.Is(err, state.ErrConflict) {
		t.Errorf("a head is changed by one who knows an older one: %v", err)
	}
	if got, err := l.Open(ctx, name); err != nil || !reflect.DeepEqual(got, second) {
		t.Errorf("%+v, %v", got, err)
	}
	other := ledger.Name("t", chain)
	if _, err := l.Commit(ctx, ledger.Entry{Name: other}, head(1)); err != nil {
		t.Error(err)
	}
	if _, err := l.SetListings(ctx, "s", ledger.Listings{Whole: day}); err != nil {
		t.Error(err)
	}
	if names, err := l.Names(ctx); err != nil || !slices.Equal(names, []string{name, other}) {
		t.Errorf("%q, %v", names, err)
	}
	if err := l.Delete(ctx, first); !errors.Is(err, state.ErrConflict) {
		t.Errorf("a head is deleted by one who knows an older one: %v", err)
	}
	if err := l.Delete(ctx, second); err != nil {
		t.Error(err)
	}
	if e, err := l.Open(ctx, name); err != nil || e.IsStored() {
		t.Errorf("deleted: %+v, %v", e, err)
	}
}

// What is stored and is not a head is an error, and never an empty head. The same is true
// of listings.
func TestDamagedValues(t *testing.T) {
	for text, isListings := range map[string]bool{`{`: false, `[]`: false, "\x00": false, `{"version":99}`: true, `{}`: true} {
		store := state.NewMemory()
		l, name := ledger.New(store), ledger.Name("s", chain)
		for _, n := range []string{name, "listed/s"} {
			if _, err := store.Put(t.Context(), n, []byte(text), ""); err != nil {
				t.Fatal(err)
			}
		}
		if e, err := l.Open(t.Context(), name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %+v, %v", text, e, err)
		}
		if all, err := l.Listings(t.Context(), "s"); (err == nil) != isListings ||
			err != nil && !strings.Contains(err.Error(), "listings of s") {
			t.Errorf("%q: %+v, %v", text, all, err)
		}
	}
}

func TestListings(t *testing.T) {
	ctx, l := t.Context(), ledger.New(state.NewMemory())
	inOrganization := trail.Place{Organization: "o-abcdefghij", Account: "111122223333"}
	alone := trail.Place{Account: "111122223333", Region: "eu-west-1", Prefix: "p"}
	all, err := l.Listings(ctx, "s")
	if err != nil || !all.Whole.IsZero() || !all.Last(alone).IsZero() {
		t.Fatalf("%+v, %v", all, err)
	}
	first := ledger.Listings{Accounts: map[string]time.Time{ledger.Account(alone): day.Add(time.Hour)}}
	stored, err := l.SetListings(ctx, "s", first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.SetListings(ctx, "s", first); !errors.Is(err, state.ErrConflict) {
		t.Errorf("created twice: %v", err)
	}
	stored.Whole = day
	if stored, err = l.SetListings(ctx, "s", stored); err != nil {
		t.Fatal(err)
	}
	got, err := l.Listings(ctx, "s")
	if err != nil || !reflect.DeepEqual(got, stored) {
		t.Errorf("%+v, want %+v, %v", got, stored, err)
	}
	for _, tt := range []struct {
		place trail.Place
		whole time.Time
		want  time.Time
	}{
		{alone, day, day.Add(time.Hour)},
		{alone, day.Add(2 * time.Hour), day.Add(2 * time.Hour)},
		{alone, time.Time{}, day.Add(time.Hour)},
		{inOrganization, day, day}, // of the same account, and another folder
		{inOrganization, time.Time{}, time.Time{}},
	} {
		got.Whole = tt.whole
		if last := got.Last(tt.place); !last.Equal(tt.want) {
			t.Errorf("%+v after %s: %s, want %s", tt.place, tt.whole, last, tt.want)
		}
	}
	if other, err := l.Listings(ctx, "t"); err != nil || !other.Whole.IsZero() {
		t.Errorf("of another source: %+v, %v", other, err)
	}
}

// However many account folders somebody plants, the listings fit into the store: the newest
// are kept.
func TestListingsAreBounded(t *testing.T) {
	ctx, l := t.Context(), ledger.New(state.NewMemory())
	many := ledger.Listings{Accounts: map[string]time.Time{}}
	for i := range 20_000 {
		many.Accounts[fmt.Sprintf("o-%032d/%012d", i, i)] = day.Add(time.Duration(i))
	}
	stored, err := l.SetListings(ctx, "s", many)
	if err != nil {
		t.Fatal(err)
	}
	got, err := l.Listings(ctx, "s")
	if err != nil || !reflect.DeepEqual(got, stored) || len(got.Accounts) != 10_000 {
		t.Errorf("%d accounts, %v", len(got.Accounts), err)
	}
	oldest := trail.Place{Organization: fmt.Sprintf("o-%032d", 10_000), Account: fmt.Sprintf("%012d", 10_000)}
	if last := got.Last(oldest); !last.Equal(day.Add(10_000)) || len(many.Accounts) != 20_000 {
		t.Errorf("listed %s", last)
	}
}

// failing is a store whose calls fail, with or without effect.
type failing struct {
	*state.Memory
	err       error
	hasEffect bool
}

func (s failing) Get(context.Context, string) (state.Value, error) { return state.Value{}, s.err }

func (s failing) Put(ctx context.Context, name string, value []byte, prev state.Version) (state.Version, error) {
	if s.hasEffect {
		if _, err := s.Memory.Put(ctx, name, value, prev); err != nil {
			return "", err
		}
	}
	return "", s.err
}

func (s failing) Delete(ctx context.Context, name string, prev state.Version) error {
	if s.hasEffect {
		if err := s.Memory.Delete(ctx, name, prev); err != nil {
			return err
		}
	}
	return s.err
}

func (s failing) List(ctx context.Context, prefix string) iter.Seq2[state.Entry, error] {
	return func(yield func(state.Entry, error) bool) {
		for e := range s.Memory.List(ctx, prefix) {
			if !yield(e, nil) {
				return
			}
			break
		}
		yield(state.Entry{}, s.err)
	}
}

// Every call of a store fails without effect, or fails and took effect. Then the caller
// opens the entry again and finds out, and what it knew before is a conflict.
func TestFailures(t *testing.T) {
	errDisk := errors.New("no space left on device")
	name := ledger.Name("s", chain)
	for _, err := range []error{errDisk, context.Canceled} {
		for _, hasEffect := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, took effect: %v", err, hasEffect), func(t *testing.T) {
				ctx, memory := t.Context(), state.NewMemory()
				good, bad := ledger.New(memory), ledger.New(failing{memory, err, hasEffect})
				known, setErr := good.Commit(ctx, ledger.Entry{Name: name}, head(1))
				if setErr != nil {
					t.Fatal(setErr)
				}
				fails := func(call string, got error) {
					t.Helper()
					if !errors.Is(got, err) || errors.Is(got, state.ErrConflict) {
						t.Errorf("%s: %v", call, got)
					}
				}
				_, got := bad.Open(ctx, name)
				fails("Open", got)
				names, got := bad.Names(ctx)
				fails("Names", got)
				if names != nil {
					t.Errorf("an incomplete list: %q", names)
				}
				_, got = bad.Listings(ctx, "s")
				fails("Listings", got)

				e, got := bad.Commit(ctx, known, head(2))
				fails("Commit", got)
				if e.IsStored() {
					t.Errorf("an entry after an error: %+v", e)
				}
				now, _ := good.Open(ctx, name)
				if (now.Version != known.Version) != hasEffect ||
					!reflect.DeepEqual(now.Head, map[bool]follow.Head{false: head(1), true: head(2)}[hasEffect]) {
					t.Errorf("after Commit: %+v", now)
				}
				if _, got := good.Commit(ctx, known, head(2)); errors.Is(got, state.ErrConflict) != hasEffect {
					t.Errorf("Commit again: %v", got)
				}

				_, got = bad.SetListings(ctx, "s", ledger.Listings{Whole: day})
				fails("SetListings", got)
				if all, _ := good.Listings(ctx, "s"); all.Whole.IsZero() == hasEffect {
					t.Errorf("after SetListings: %+v", all)
				}

				now, _ = good.Open(ctx, name)
				fails("Delete", bad.Delete(ctx, now))
				if now, _ = good.Open(ctx, name); now.IsStored() == hasEffect {
					t.Errorf("after Delete: %+v", now)
				}
			})
		}
	}
}
