package trail_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Whatever parses must be written as the same text: no two keys may be taken
// for one.

func FuzzParseDigestKey(f *testing.F) {
	f.Add(goodDigest)
	f.Add("a/" + strings.Replace(goodDigest, "AWSLogs/", "AWSLogs/o-0123456789/", 1))
	f.Add(strings.Replace(goodDigest, "_main_", "_foo_us-east-1_x_", 1))
	f.Add(strings.Replace(goodDigest, "Z.json", "Z_backfill.json", 1))
	f.Add("/" + goodDigest)
	f.Add("//" + goodDigest)
	f.Fuzz(func(t *testing.T, s string) {
		k, err := trail.ParseDigestKey(s)
		if err != nil {
			if !errors.Is(err, trail.ErrKey) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if k.String() != s {
			t.Errorf("%q comes back as %q", s, k)
		}
		if !strings.HasPrefix(s, k.Day(trail.DigestFolder, k.End)) || !strings.HasSuffix(s, trail.Tail(s)) {
			t.Errorf("%q is not in its own folder", s)
		}
	})
}

func FuzzParseLogKey(f *testing.F) {
	f.Add(goodLog)
	f.Add("a/" + strings.Replace(goodLog, "AWSLogs/", "AWSLogs/o-0123456789/", 1))
	f.Add(strings.Replace(goodLog, "/03/01/", "/03/02/", 1))
	f.Add("/" + goodLog)
	f.Fuzz(func(t *testing.T, s string) {
		k, err := trail.ParseLogKey(s)
		if err != nil {
			if !errors.Is(err, trail.ErrKey) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if k.String() != s {
			t.Errorf("%q comes back as %q", s, k)
		}
	})
}

func FuzzParseARN(f *testing.F) {
	f.Add("arn:aws:cloudtrail:us-east-1:111122223333:trail/main")
	f.Add("arn:aws-us-gov:cloudtrail:us-gov-west-1:111122223333:trail/a_b.c")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := trail.ParseARN(s)
		if err != nil {
			if !errors.Is(err, trail.ErrARN) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if a.String() != s {
			t.Errorf("%q comes back as %q", s, a)
		}
	})
}

// What Records yields must be what a decoder of the whole file finds, byte
// for byte: nothing hidden and nothing made up.
func FuzzRecords(f *testing.F) {
	f.Add([]byte(`{"Records":[{"eventID":"1"},{"eventID":2}]}`))
	f.Add([]byte(`{"a":[],"Records":[null],"b":1}`))
	f.Add([]byte(`{"Records":[],"Records":[1]}`))
	f.Add([]byte(`{"Records":[1],"records":[2]}`))
	f.Add([]byte(`{"Records":[1]}x`))
	f.Add([]byte(`{"Records":null}`))
	f.Add([]byte(` [{"a":1},2]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got [][]byte
		var err error
		for r, e := range trail.Records(bytes.NewReader(b)) {
			if err = e; e != nil {
				break
			}
			got = append(got, bytes.Clone(r))
			if _, err := trail.ParseEvent(r); err != nil && !errors.Is(err, trail.ErrRecords) {
				t.Errorf("%q: %v", r, err)
			}
		}
		if err != nil && !errors.Is(err, trail.ErrRecords) {
			t.Errorf("%q: %v", b, err)
		}
		want, ok := decode(b)
		switch {
		case err == nil && !ok:
			t.Errorf("accepted %q", b)
		case err == nil && !slices.EqualFunc(got, want, func(a []byte, b json.RawMessage) bool { return bytes.Equal(a, b) }):
			t.Errorf("%q: got %q, want %q", b, got, want)
		case err != nil && ok && bytes.Count(b, []byte("ecords")) < 2 && !bytes.ContainsRune(b, '\\'): // else Records may be there twice
			t.Errorf("refused %q: %v", b, err)
		}
	})
}

// decode returns the records of a log file as encoding/json finds them.
func decode(b []byte) (records []json.RawMessage, ok bool) {
	list := json.RawMessage(b)
	if b = bytes.TrimLeft(b, " \t\r\n"); len(b) > 0 && b[0] == '{' {
		var file map[string]json.RawMessage
		if json.Unmarshal(b, &file) != nil {
			return nil, false
		}
		list = file["Records"]
	} else if len(b) == 0 || b[0] != '[' {
		return nil, false
	}
	return records, json.Unmarshal(list, &records) == nil
}
