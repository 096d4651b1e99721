package when

import (
	"strings"
	"testing"
	"time"
)

func TestParseDate(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z"},
		{"2026-03-01T00:00:00.25Z", "2026-03-01T00:00:00.25Z"},
		{"2026-03-01T02:30:00+02:30", "2026-03-01T00:00:00Z"},
		{"2026-02-28T19:00:00-0500", "2026-03-01T00:00:00Z"},
		{"2026-02-28 19:00:00 -05:00", "2026-03-01T00:00:00Z"},
		{"2026-02-28T19:00-05", "2026-03-01T00:00:00Z"},
		{"20260228T190000-0500", "2026-03-01T00:00:00Z"},
		{"2026-03-01", "2026-03-01T00:00:00Z"},
		{"2026/03/01", "2026-03-01T00:00:00Z"},
		{"20260301", "2026-03-01T00:00:00Z"},
		{"20260301T000000Z", "2026-03-01T00:00:00Z"},
		{"20260301T0000Z", "2026-03-01T00:00:00Z"},
		{"2026-03-01T00:00", "2026-03-01T00:00:00Z"},
		{"2026-03-01 00:00:00", "2026-03-01T00:00:00Z"},
		{"2026-03-01 00:00:00 UTC", "2026-03-01T00:00:00Z"},
		{"2026-03-01 00:00:00Z", "2026-03-01T00:00:00Z"},
		{"August 25, 2015 00:00:00 UTC", "2015-08-25T00:00:00Z"},
		{"August 25, 2015", "2015-08-25T00:00:00Z"},
		{"Aug 25 2015 1:02 PM", "2015-08-25T13:02:00Z"},
		{"25 August 2015", "2015-08-25T00:00:00Z"},
		{"25-Aug-2015 10:11:12", "2015-08-25T10:11:12Z"},
		{"Sun, 01 Mar 2026 00:00:00 GMT", "2026-03-01T00:00:00Z"},
		{"Sun, 01 Mar 2026 02:00:00 +0200", "2026-03-01T00:00:00Z"},
		{"Sun Mar  1 00:00:00 UTC 2026", "2026-03-01T00:00:00Z"},
		{"03/01/2026", "2026-03-01T00:00:00Z"},
		{"3/1/2026 15:04", "2026-03-01T15:04:00Z"},
		{"25/12/2026", "2026-12-25T00:00:00Z"},
		{"  2026-03-01   00:00:00 ", "2026-03-01T00:00:00Z"},
		{"2024-02-29", "2024-02-29T00:00:00Z"},
	} {
		got, err := Date(c.in)
		if err != nil || got.Format(time.RFC3339Nano) != c.want {
			t.Errorf("%q: %v %v, want %s", c.in, got, err, c.want)
		}
	}
	for _, in := range []string{
		"", " ", "soon", "24h", "2026", "2026-13-01", "2026-02-30", "2026-03-01T25:00:00Z", "2026-03-01T00:00:00+15:00",
		"2026-03-01T00:00:00 EST", "2026-03-01T00:00:00 CET", "2026-03-01Tnoon", "1772323200", "2026-03-01T00:00:00+02:00 UTC",
	} {
		if got, err := Date(in); err == nil {
			t.Errorf("%q: %v", in, got)
		}
	}
}

func TestStrictDate(t *testing.T) {
	for _, c := range []struct {
		in   string
		want string // "" where it is ambiguous
	}{
		{"2026-01-02", "2026-01-02T00:00:00Z"},
		{"2026/01/02", "2026-01-02T00:00:00Z"},
		{"20260102T0304Z", "2026-01-02T03:04:00Z"},
		{"2026-01-02 03:04:05 -05:00", "2026-01-02T08:04:05Z"},
		{"Jan 2, 2026", "2026-01-02T00:00:00Z"},
		{"2 Jan 2026 3 PM", "2026-01-02T15:00:00Z"},
		{"12/25/2026", "2026-12-25T00:00:00Z"},
		{"25/12/2026", "2026-12-25T00:00:00Z"},
		{"01/13/2026", "2026-01-13T00:00:00Z"},
		{"13/01/2026 23:00", "2026-01-13T23:00:00Z"},
		{"03/03/2026", "2026-03-03T00:00:00Z"},
		{"3/3/2026 3PM", "2026-03-03T15:00:00Z"},
		{"01/02/2026", ""},
		{"1/2/2026", ""},
		{"2/1/2026 15:04", ""},
		{"01/02/2026T03:04:05Z", ""},
		{"01/02/2026 3 PM UTC", ""},
		{"12/11/2026 00:00:00+02:00", ""},
	} {
		got, err := StrictDate(c.in)
		switch {
		case c.want == "":
			if lenient, err := Date(c.in); err != nil || lenient.IsZero() {
				t.Errorf("the control: %q: %v %v", c.in, lenient, err)
			}
			if err == nil || !strings.Contains(err.Error(), "ambiguous") {
				t.Errorf("%q: %v %v, want it refused", c.in, got, err)
			}
		case err != nil || got.Format(time.RFC3339Nano) != c.want:
			t.Errorf("%q: %v %v, want %s", c.in, got, err, c.want)
		}
	}
	const want = `time "01/02/2026 15:00+02:00": ambiguous, write 2026-01-02T13:00:00Z or 2026-02-01T13:00:00Z`
	if _, err := StrictDate("01/02/2026 15:00+02:00"); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := StrictDate("soon"); err == nil {
		t.Error("no error")
	}
}

func TestRelative(t *testing.T) {
	for s, want := range map[string]bool{"24h": true, "0s": true, "30d": true, "2026-03-01": false, "-24h": false, "24": false, "": false} {
		if Relative(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct{ in, want string }{
		{"24h", "2026-03-30T12:00:00Z"},
		{"90m", "2026-03-31T10:30:00Z"},
		{"30d", "2026-03-01T12:00:00Z"},
		{"2w", "2026-03-17T12:00:00Z"},
		{"0s", "2026-03-31T12:00:00Z"},
		{"2026-03-01", "2026-03-01T00:00:00Z"},
	} {
		got, err := Time(c.in, now)
		if err != nil || got.Format(time.RFC3339) != c.want {
			t.Errorf("%q: %v %v, want %s", c.in, got, err, c.want)
		}
	}
	for _, in := range []string{"-24h", "24", "1y", "h", "9999999d", "999999w", "01/02/2026"} {
		if got, err := Time(in, now); err == nil {
			t.Errorf("%q: %v", in, got)
		}
	}
}

func FuzzParseDate(f *testing.F) {
	for _, s := range []string{"2026-03-01T00:00:00+02:00", "Sun Mar  1 00:00:00 UTC 2026", "3/1/2026 3PM", "Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, err := Date(s)
		if err != nil {
			return
		}
		if at.Location() != time.UTC {
			t.Errorf("%q: in %v", s, at.Location())
		}
		if strict, err := StrictDate(s); err == nil && !strict.Equal(at) {
			t.Errorf("%q: %v, strictly %v", s, at, strict)
		}
		if again, err := StrictDate(at.Format(time.RFC3339Nano)); at.Year() > 0 && at.Year() < 10000 && (err != nil || !again.Equal(at)) {
			t.Errorf("%q: %v, then %v %v", s, at, again, err)
		}
	})
}
