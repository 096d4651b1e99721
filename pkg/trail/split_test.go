package trail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// split cuts a document that arrives in pieces of n bytes. A record that is too
// large is its size. It is an error when the Splitter miscounts, or does not
// agree with CheckRecord.
func split(doc string, n int) (records []string, err error) {
	var s Splitter
	next := func(record string, wrong bool) error {
		if records = append(records, record); wrong || s.Count() != len(records) {
			return fmt.Errorf("record %d of %d (%.100q) went the wrong way: %v", len(records), s.Count(), record, wrong)
		}
		return nil
	}
	s.Record = func(r []byte) error { return next(string(r), CheckRecord(r) != nil) }
	s.Odd = func(r []byte, why error) error { return next(string(r), why.Error() != CheckRecord(r).Error()) }
	s.TooLarge = func(size int64) error { return next(fmt.Sprint(size), size <= MaxRecord) }
	for b := []byte(doc); len(b) > 0 && err == nil; {
		k := min(n, len(b))
		_, err = s.Write(b[:k])
		b = b[k:]
	}
	if s.Count() != len(records) {
		err = fmt.Errorf("%d records, counted as %d", len(records), s.Count())
	}
	return records, errors.Join(err, s.Close())
}

// Each record goes its own way, in the order of the file, and is counted before
// its call.
func TestSplitOdd(t *testing.T) {
	large := `{"a":"` + strings.Repeat("x", MaxRecord) + `"}`
	doc := `{"Records":[{"a":1},7,{"trailseal":1}, {"a":[}}` + "\n,{\"a\":\"\n\"}," + large + `,{"b":{"trailseal":1}}]}`
	const (
		odd  = "2 odd 7|3 odd {\"trailseal\":1}|4 odd {\"a\":[}}|5 odd {\"a\":\"\n\"}|"
		want = "1 {\"a\":1}|" + odd + "6 large|7 {\"b\":{\"trailseal\":1}}|"
	)
	for _, tt := range []struct {
		odd  bool
		want string
	}{{true, want}, {false, strings.ReplaceAll(want, "odd ", "")}} {
		for _, n := range []int{1, 5, 64 << 10, len(doc)} {
			var got strings.Builder
			var s Splitter
			s.Record = func(r []byte) error { fmt.Fprintf(&got, "%d %s|", s.Count(), r); return nil }
			s.TooLarge = func(int64) error { fmt.Fprintf(&got, "%d large|", s.Count()); return nil }
			if tt.odd {
				s.Odd = func(r []byte, _ error) error { fmt.Fprintf(&got, "%d odd %s|", s.Count(), r); return nil }
			}
			for part := range slices.Chunk([]byte(doc), n) {
				if _, err := s.Write(part); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil || got.String() != tt.want || s.Count() != 7 {
				t.Errorf("pieces of %d: %q, %d, %v", n, got.String(), s.Count(), err)
			}
		}
	}
}

func TestSplit(t *testing.T) {
	for doc, want := range map[string]string{
		`{"Records":[]}`:                               ``,
		" {\n\"Records\" : [ ]\t}\r\n":                 ``,
		`{"Records":[{}]}`:                             `{}`,
		`{"Records":[{"a":"}]\""},{"b":[{},"\\"]}]}`:   `{"a":"}]\""}|{"b":[{},"\\"]}`,
		`{"Records":[1,"x",null,[2],-1.5e+3 , {}]}`:    `1|"x"|null|[2]|-1.5e+3|{}`,
		`{"x":{"Records":[1]},"Records":[2],"y":"z"}`:  `2`,
		`{"\u0052ecords":[3]}`:                         `3`,
		`{"Records":[ {"a": 1} ,` + "\n" + `{"b":2}]}`: `{"a": 1}|{"b":2}`,
		`[]`:                                  ``,
		" [ {\"a\":1},\n{\"Records\":[2]} ] ": `{"a":1}|{"Records":[2]}`,
		`{"Records":null}`:                    ``,
		`{"x":1,"Records": null ,"y":2}`:      ``,
	} {
		for n := 1; n <= len(doc); n++ {
			got, err := split(doc, n)
			if err != nil || strings.Join(got, "|") != want {
				t.Errorf("%s in pieces of %d: %q, %v", doc, n, got, err)
			}
		}
	}
}

func TestSplitErrors(t *testing.T) {
	for _, doc := range []string{
		``, ` `, `[`, `[{}`, `[{},]`, `[{}}`, `[] []`, `[]x`, `[{}],`, `{`, `{}`, `{"Records"`, `{"Records":`, `{"Records":[`, `{"Records":[{`, `{"Records":[{}`, `{"Records":[{}]`,
		`{"Records":{}}`, `{"Records":[{},]}`, `{"Records":[,{}]}`, `{"Records":[{} {}]}`, `{"Records":[]}x`, `{"Records":[]}{}`,
		`{"Records":[],"Records":[]}`, `{"Records":[],}`, `{Records:[]}`, `{"a" "b"}`, `{"Records":["x]}`, `{"Records":nul}`, `{"Records":nulls}`,
		`{"Records":null,"Records":[]}`, `{"Records":[],"Records":null}`, `{"Records":null`, `null`, `{"Records":false}`, `{"Records":"null"}`,
		`{"records":[]}`, `{"Records":[}]}`, "\xef", "\xef\xbb", "\xef\xbb{", "\xef{", `{"Records":[` + "\xef\xbb\xbf" + `]}`,
	} {
		for _, n := range []int{1, 3, len(doc) + 1} {
			if got, err := split(doc, n); !errors.Is(err, ErrRecords) {
				t.Errorf("%s in pieces of %d: %q, %v", doc, n, got, err)
			}
		}
	}
}

func TestByteOrderMarkIsNamed(t *testing.T) {
	for _, doc := range []string{"\xef\xbb\xbf" + `{"Records":[]}`, "\xef\xbb\xbf[]", "\xef\xbb\xbf"} {
		for _, n := range []int{1, 2, len(doc)} {
			if _, err := split(doc, n); !errors.Is(err, ErrRecords) || !strings.Contains(err.Error(), "byte order mark") {
				t.Errorf("%q in pieces of %d: %v", doc, n, err)
			}
		}
		if _, err := collect(doc); !errors.Is(err, ErrRecords) || !strings.Contains(err.Error(), "byte order mark") {
			t.Errorf("%q: %v", doc, err)
		}
	}
}

// collect reads a document with Records. A record that is too large is empty.
func collect(doc string) (records []string, err error) {
	for r, err := range Records(strings.NewReader(doc)) {
		if err != nil && !errors.Is(err, ErrRecordTooLarge) {
			return records, err
		}
		records = append(records, string(r))
	}
	return records, nil
}

// A record that is too large loses itself alone: it is counted in its place, and
// what is behind it is read.
func TestLargeRecords(t *testing.T) {
	text := func(size int) string { return `"` + strings.Repeat("x", size-2) + `"` }
	object := func(size int) string { return `{"a":[{"b":` + text(size-14) + `}]}` }
	escaped := func(size int) string { return `["` + strings.Repeat(`\"`, (size-4)/2) + `"]` } // an even size
	slashes := func(size int) string { return `"` + strings.Repeat(`\\`, (size-2)/2) + `"` }
	number := func(size int) string { return strings.Repeat("1", size) }
	for name, value := range map[string]func(int) string{
		"text": text, "object": object, "escapes": escaped, "backslashes": slashes, "number": number,
	} {
		for size, fits := range map[int]bool{MaxRecord: true, MaxRecord + 2: false, 3*MaxRecord + 70_000: false} {
			v, want := value(size), fmt.Sprint(size)
			if len(v) != size {
				t.Fatalf("%s: %d bytes, want %d", name, len(v), size)
			}
			if fits {
				want = v
			}
			for _, doc := range []string{`{"Records":[1,` + v + `, {"b":2}]}`, `[1,` + v + `, {"b":2}]`} {
				for _, n := range []int{4093, 64 << 10, MaxRecord + 1, len(doc)} {
					got, err := split(doc, n)
					if err != nil || !slices.Equal(got, []string{"1", want, `{"b":2}`}) {
						t.Errorf("%s of %d in pieces of %d: %d records, %v", name, size, n, len(got), err)
					}
				}
				got, err := collect(doc)
				if fits != (len(got) == 3 && got[1] == v) || len(got) != 3 || got[0] != "1" || got[2] != `{"b":2}` || err != nil {
					t.Errorf("%s of %d: %d records, %v", name, size, len(got), err)
				}
			}
		}
	}
}

func TestLargeRecordErrors(t *testing.T) {
	large := `"` + strings.Repeat("x", 2*MaxRecord) + `"`
	for name, tt := range map[string]struct {
		doc  string
		want string // the records
		err  error
	}{
		"control":               {`{"Records":[1,` + large + `,2]}`, fmt.Sprint("1|", len(large), "|2"), nil},
		"beside the records":    {`{"x":` + large + `,"Records":[1],"y":[` + large + `]}`, "1", nil},
		"cut off within":        {`{"Records":[1,` + large[:len(large)-1], "1", ErrRecords},
		"cut off behind":        {`{"Records":[1,` + large, fmt.Sprint("1|", len(large)), ErrRecords},
		"malformed behind":      {`{"Records":[1,` + large + `}]`, fmt.Sprint("1|", len(large)), ErrRecords},
		"a name":                {`{` + large + `:1,"Records":[1]}`, "", ErrRecords},
		"in place of the list":  {`{"Records":` + large + `}`, "", ErrRecords},
		"a word for the null":   {`{"Records":` + strings.Repeat("n", 2*MaxRecord) + `}`, "", ErrRecords},
		"in place of a file":    {large, "", ErrRecords},
		"a name beside records": {`{"Records":[1],` + large + `:1}`, "1", ErrRecords},
	} {
		for _, n := range []int{64 << 10, len(tt.doc)} {
			got, err := split(tt.doc, n)
			if !errors.Is(err, tt.err) || strings.Join(got, "|") != tt.want {
				t.Errorf("%s in pieces of %d: %d records, %v", name, n, len(got), err)
			}
		}
		if got, err := collect(tt.doc); !errors.Is(err, tt.err) || len(got) != len(strings.FieldsFunc(tt.want, func(r rune) bool { return r == '|' })) {
			t.Errorf("%s: %d records, %v", name, len(got), err)
		}
	}
}

// However long a record is, no more than MaxRecord bytes of it are held.
func TestLargeRecordIsNotHeld(t *testing.T) {
	for _, in := range []string{`{"Records":["`, `{"x":"`} {
		s := Splitter{Record: func([]byte) error { return nil }, TooLarge: func(int64) error { return nil }}
		if _, err := s.Write([]byte(in)); err != nil {
			t.Fatal(err)
		}
		piece := bytes.Repeat([]byte("x"), MaxRecord/8)
		for range 100 {
			if _, err := s.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		if cap(s.held) > 2*MaxRecord {
			t.Errorf("%s: %d bytes are held", in, cap(s.held))
		}
	}
}

func TestSplitEnds(t *testing.T) {
	long := `{"Records":["` + strings.Repeat("x", MaxRecord) + `",1]}`
	for _, n := range []int{64 << 10, len(long)} {
		s := Splitter{Record: func([]byte) error { return nil }}
		_, err := io.CopyBuffer(struct{ io.Writer }{&s}, struct{ io.Reader }{strings.NewReader(long)}, make([]byte, n))
		if !errors.Is(err, ErrRecords) || !errors.Is(err, ErrRecordTooLarge) || s.Count() != 0 {
			t.Errorf("without TooLarge, in pieces of %d: %v after %d records", n, err, s.Count())
		}
	}
	stop := errors.New("stop")
	s := Splitter{Record: func([]byte) error { return stop }}
	if _, err := s.Write([]byte(`{"Records":[1,2]}`)); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
	s = Splitter{Odd: func([]byte, error) error { return stop }}
	if _, err := s.Write([]byte(`[1,2]`)); !errors.Is(err, stop) || !errors.Is(s.Close(), stop) || s.Count() != 1 {
		t.Errorf("error %v after %d records", err, s.Count())
	}
	s = Splitter{Record: func([]byte) error { return nil }, TooLarge: func(int64) error { return stop }}
	if _, err := s.Write([]byte(long)); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
}

// What Records accepts, Splitter must cut as it does, however the document
// arrives. What Splitter refuses, Records refuses, too, and no input may make
// either panic.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{
		`{"Records":[{"a":"b\\\""},1,"x"]}`, `{"a":[{}],"Records":[]}`, `{"Records":[{]}`, `[{"a":1},{"b":"]"}]`, `[`,
		`{"Records":null}`, `{"Records":null,"Records":[]}`, "\xef\xbb\xbf[]", `{"Rec\u006frds":[1]}`, `{"Records":[1,` + "\n" + `2]} `,
		`[{"trailseal":{}},{"a":{"trailseal":1}},{"a":"` + "\n" + `"},{"a":01}]`, `[{"a":[}]`, `[{},]`, `[{} x {}]`, "[{}\x00]", `[[{}],[[]]]`,
	} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, doc []byte, n int) {
		n = max(1, n%64)
		got, err := split(string(doc), n)
		whole, wholeErr := split(string(doc), len(doc)+1)
		if (err == nil) != (wholeErr == nil) || !slices.Equal(got, whole) {
			t.Fatalf("pieces of %d: %q, %v; whole: %q, %v", n, got, err, whole, wholeErr)
		}
		want, wantErr := collect(string(doc))
		switch {
		case wantErr == nil && (err != nil || !slices.Equal(got, want)):
			t.Fatalf("%q, %v; Records yields %q", got, err, want)
		case wantErr != nil && (len(want) > len(got) || !slices.Equal(got[:len(want)], want)):
			t.Fatalf("%q, %v; Records yields %q and %v", got, err, want, wantErr)
		}
	})
}

// Bytes of a value that is forgotten while it is scanned must not change where
// the value ends.
func FuzzForget(f *testing.F) {
	for _, s := range []string{`{"a":"b\\\""},`, `"\\" `, `[[],"]"]]`, `12,`} {
		f.Add([]byte(s), 1)
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		if len(b) == 0 {
			return
		}
		var whole value
		want, err := whole.scan(b)
		if err != nil {
			return
		}
		n = max(1, n%16)
		s := Splitter{state: inValue, passed: 1} // 1: something was passed before
		got := 0
		for got < len(b) && s.state == inValue {
			k, err := s.pass(b[got:min(len(b), got+n)])
			if err != nil {
				t.Fatal(err)
			}
			got += k
		}
		if ended := s.state != inValue; ended != (want >= 0) || ended && got != want {
			t.Errorf("%q in pieces of %d: ended %v at %d, want %d", b, n, ended, got, want)
		}
	})
}
