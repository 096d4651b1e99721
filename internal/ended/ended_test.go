package ended_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/ended"
	"github.com/trailseal/trailseal/pkg/trail"
)

func at(hour, minute int) time.Time { return time.Date(2026, 3, 1, hour, minute, 0, 0, time.UTC) }

func chain(account, region, name, home, organization string) trail.Chain {
	return trail.Chain{Place: trail.Place{Account: account, Region: region, Organization: organization}, Trail: name, HomeRegion: home}
}

func parse(t *testing.T, text string) ended.List {
	t.Helper()
	l, err := ended.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestParse(t *testing.T) {
	const good = "111122223333 us-east-1 main us-east-1 - 2026-03-01T12:00:00Z"
	entry := ended.Entry{Account: "111122223333", Region: "us-east-1", Trail: "main", HomeRegion: "us-east-1", Last: at(12, 0)}
	stars := ended.Entry{Account: "*", Region: "*", Trail: "*", HomeRegion: "*", Organization: "*", Last: at(12, 0)}
	member := entry
	member.Organization = "o-0123456789"
	for _, row := range []struct {
		name, text string
		want       ended.List
		err        string
	}{
		{"empty", "", nil, ""},
		{"comments", "# a\n\n  # b\n", nil, ""},
		{"a line", good, ended.List{entry}, ""},
		{"blanks and a comment", "\t" + strings.ReplaceAll(good, " ", " \t ") + "# why\r\n", ended.List{entry}, ""},
		{"byte order mark", "\ufeff" + good, ended.List{entry}, ""},
		{"offset", strings.Replace(good, "12:00:00Z", "13:00:00+01:00", 1), ended.List{entry}, ""},
		{"stars", "* * * * * 2026-03-01T12:00:00Z", ended.List{stars}, ""},
		{"organization", strings.Replace(good, " - ", " o-0123456789 ", 1), ended.List{member}, ""},
		{"sorted, each once", good + "\n* * * * * 2026-03-01T12:00:00Z\n" + good, ended.List{entry, stars}, ""},

		{"five fields", "# a\n111122223333 us-east-1 main - 2026-03-01T12:00:00Z", nil, "line 2: has 5 fields: must be ACCOUNT "},
		{"seven fields", good + " x", nil, "line 1: has 7 fields"},
		{"account", "1111 us-east-1 main us-east-1 - 2026-03-01T12:00:00Z", nil, `line 1: account "1111": must be 12 digits or *`},
		{"region", "* useast1 main us-east-1 - 2026-03-01T12:00:00Z", nil, `line 1: region "useast1": must be a region`},
		{"trail", "* * a/b us-east-1 - 2026-03-01T12:00:00Z", nil, `line 1: trail "a/b": must be the name of a trail`},
		{"part of a trail", "* * main* us-east-1 - 2026-03-01T12:00:00Z", nil, `line 1: trail "main*": must be the name of a trail`},
		{"home region", "* * * - - 2026-03-01T12:00:00Z", nil, `line 1: home region "-": must be a region`},
		{"organization's form", "* * * * o-1 2026-03-01T12:00:00Z", nil, `line 1: organization "o-1": must be an organization`},
		{"day", "* * * * * 2026-03-01", nil, `line 1: last end "2026-03-01": must be a time such as `},
		{"fraction", "* * * * * 2026-03-01T12:00:00.5Z", nil, "line 1: last end 2026-03-01T12:00:00.5Z: must not have fractions"},
		{"year", "* * * * * 0000-03-01T12:00:00Z", nil, "line 1: last end: must be a time from the year 2000"},
		{"escapes", "\x1b[2J * * * * 2026-03-01T12:00:00Z", nil, `line 1: account "\x1b[2J": must be`},
		{"long line", good + "\n" + strings.Repeat("#", 1<<17), nil, "line 2: "},
	} {
		l, err := ended.Parse(strings.NewReader(row.text))
		if row.err != "" {
			if err == nil || !strings.HasPrefix(err.Error(), row.err) {
				t.Errorf("%s: %v, want %s", row.name, err, row.err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(l, row.want) {
			t.Errorf("%s: %v, %v\nwant %v", row.name, l, err, row.want)
		}
	}
}

// The written form is part of the documentation.
func TestWrite(t *testing.T) {
	c := chain("111122223333", "eu-west-1", "main", "us-east-1", "")
	l := ended.List{
		ended.EntryOf(chain("111122223333", "us-east-1", "org", "us-east-1", "o-0123456789"), at(13, 0)),
		ended.EntryOf(c, at(12, 0).Add(time.Millisecond)), ended.EntryOf(c, at(12, 0)),
	}
	var text strings.Builder
	if err := l.Write(&text); err != nil {
		t.Fatal(err)
	}
	lines := `
111122223333 eu-west-1 main us-east-1 -            2026-03-01T12:00:00Z
111122223333 us-east-1 org  us-east-1 o-0123456789 2026-03-01T13:00:00Z
`
	if header, ok := strings.CutSuffix(text.String(), lines); !ok || slices.ContainsFunc(strings.Split(strings.TrimSpace(header), "\n"),
		func(s string) bool { return !strings.HasPrefix(s, "#") }) {
		t.Errorf("%s", text.String())
	}
	slices.Reverse(l)
	var again strings.Builder
	if err := l.Write(&again); err != nil || again.String() != text.String() {
		t.Errorf("%v\n%s", err, again.String())
	}
}

type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriteFails(t *testing.T) {
	if err := (ended.List{}).Write(full{}); !errors.Is(err, errFull) {
		t.Error(err)
	}
	if err := (ended.List{{Account: "1\n2"}}).Write(&strings.Builder{}); err == nil {
		t.Error("an entry that Parse refuses was written")
	}
}

func TestFindAndJudge(t *testing.T) {
	const (
		exact    = "111122223333 us-east-1 main us-east-1 - 2026-03-01T12:00:00Z\n"
		star     = "* us-east-1 main us-east-1 - 2026-03-01T15:00:00Z\n"
		stars    = "* * * * * 2026-03-01T18:00:00Z\n"
		otherOne = "111122223333 us-east-1 other us-east-1 - 2026-03-01T12:00:00Z\n"
		member   = "111122223333 us-east-1 main us-east-1 o-0123456789 2026-03-01T12:00:00Z\n"
	)
	c := chain("111122223333", "us-east-1", "main", "us-east-1", "")
	organization, backfill, moved := c, c, c
	organization.Organization, backfill.Backfill, moved.Prefix = "o-0123456789", true, "a/b"
	for _, row := range []struct {
		name, list string
		chain      trail.Chain
		end        time.Time
		want       ended.Standing
		last       time.Time
	}{
		{"no line", "", c, at(12, 0), ended.Unknown, time.Time{}},
		{"another trail", otherOne, c, at(12, 0), ended.Unknown, time.Time{}},
		{"at the end", exact, c, at(12, 0), ended.Acknowledged, at(12, 0)},
		{"within the hour", exact, c, at(12, 59), ended.Acknowledged, at(12, 0)},
		{"an hour later", exact, c, at(13, 0), ended.Later, at(12, 0)},
		{"earlier", exact, c, at(11, 59), ended.Earlier, at(12, 0)},
		{"with a prefix", exact, moved, at(12, 0), ended.Acknowledged, at(12, 0)},
		{"exact outweighs a star", stars + star + exact, c, at(12, 0), ended.Acknowledged, at(12, 0)},
		{"one star outweighs five", stars + star, c, at(15, 0), ended.Acknowledged, at(15, 0)},
		{"five stars", stars, c, at(15, 0), ended.Earlier, at(18, 0)},
		{"the latest of equals", exact + strings.Replace(exact, "T12", "T14", 1), c, at(12, 0), ended.Earlier, at(14, 0)},
		{"organization", member, organization, at(12, 0), ended.Acknowledged, at(12, 0)},
		{"no organization", exact, organization, at(12, 0), ended.Unknown, time.Time{}},
		{"organization of another", member, c, at(12, 0), ended.Unknown, time.Time{}},
		{"any organization", stars, organization, at(18, 0), ended.Acknowledged, at(18, 0)},
		{"backfill", exact + stars, backfill, at(12, 0), ended.Unknown, time.Time{}},
	} {
		l := parse(t, row.list)
		if got, last := l.Judge(row.chain, row.end); got != row.want || !last.Equal(row.last) {
			t.Errorf("%s: %s, %s; want %s, %s", row.name, got, last, row.want, row.last)
		}
		slices.Reverse(l) // the order of the lines has no effect
		if got, last := l.Judge(row.chain, row.end); got != row.want || !last.Equal(row.last) {
			t.Errorf("%s, reversed: %s, %s; want %s, %s", row.name, got, last, row.want, row.last)
		}
	}
}

// What Write makes of a chain acknowledges that chain.
func TestWrittenEndIsAcknowledged(t *testing.T) {
	for _, c := range []trail.Chain{
		chain("111122223333", "us-east-1", "main", "us-east-1", ""), chain("111122223333", "us-east-1", "a-b_c.d", "eu-west-1", "o-0123456789"),
	} {
		var text strings.Builder
		if err := (ended.List{ended.EntryOf(c, at(12, 8))}).Write(&text); err != nil {
			t.Fatal(err)
		}
		if got, last := parse(t, text.String()).Judge(c, at(12, 8)); got != ended.Acknowledged || !last.Equal(at(12, 8)) {
			t.Errorf("%s: %s, %s", c, got, last)
		}
	}
}

// What parses is written back to the same list.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "# a\n", "* * * * * 2026-03-01T12:00:00Z", "111122223333 us-east-1 main us-east-1 - 2026-03-01T12:00:00+23:59 # x",
		"* * * * o-0123456789 9999-12-31T23:59:59-23:59\n* * * * - 2000-01-01T00:00:00Z", "\ufeff\r\n* * * * * 2026-03-01T1:00:00Z",
		"* * * * * 2026-03-01T12:00:00,0Z",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ended.Parse(strings.NewReader(s))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "line ") {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		var text strings.Builder
		if err := l.Write(&text); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		again, err := ended.Parse(strings.NewReader(text.String()))
		if err != nil || !reflect.DeepEqual(l, again) {
			t.Errorf("%q: %v, %v\n%v", s, again, err, l)
		}
	})
}
