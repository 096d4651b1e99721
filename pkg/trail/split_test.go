package trail

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// split cuts a document that arrives in pieces of n bytes.
func split(doc string, n int) (records []string, err error) {
	s := Splitter{Record: func(r []byte) error { records = append(records, string(r)); return nil }}
	for b := []byte(doc); len(b) > 0 && err == nil; {
		k := min(n, len(b))
		_, err = s.Write(b[:k])
		b = b[k:]
	}
	return records, errors.Join(err, s.Close())
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
		``, ` `, `[]`, `{`, `{}`, `{"Records"`, `{"Records":`, `{"Records":[`, `{"Records":[{`, `{"Records":[{}`, `{"Records":[{}]`,
		`{"Records":{}}`, `{"Records":[{},]}`, `{"Records":[,{}]}`, `{"Records":[{} {}]}`, `{"Records":[]}x`, `{"Records":[]}{}`,
		`{"Records":[],"Records":[]}`, `{"Records":[],}`, `{Records:[]}`, `{"a" "b"}`, `{"Records":["x]}`, `{"Records":null}`,
		`{"records":[]}`, `{"Records":[}]}`,
	} {
		for _, n := range []int{1, 3, len(doc) + 1} {
			if got, err := split(doc, n); !errors.Is(err, ErrRecords) {
				t.Errorf("%s in pieces of %d: %q, %v", doc, n, got, err)
			}
		}
	}
}

func TestSplitBounds(t *testing.T) {
	long := `{"Records":["` + strings.Repeat("x", MaxRecord) + `"]}`
	for _, n := range []int{64 << 10, len(long)} {
		if _, err := split(long, n); !errors.Is(err, ErrRecords) {
			t.Errorf("in pieces of %d: %v", n, err)
		}
	}
	stop := errors.New("stop")
	s := Splitter{Record: func([]byte) error { return stop }}
	if _, err := s.Write([]byte(`{"Records":[1,2]}`)); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
}

// What encoding/json accepts, Splitter must cut as it does, however the
// document arrives; and no input may make it panic.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{`{"Records":[{"a":"b\\\""},1,"x"]}`, `{"a":[{}],"Records":[]}`, `{"Records":[{]}`} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, doc []byte, n int) {
		n = max(1, n%64)
		got, err := split(string(doc), n)
		whole, wholeErr := split(string(doc), len(doc)+1)
		if (err == nil) != (wholeErr == nil) || strings.Join(got, "\n") != strings.Join(whole, "\n") {
			t.Fatalf("pieces of %d: %q, %v; whole: %q, %v", n, got, err, whole, wholeErr)
		}
		var m map[string]json.RawMessage
		var want []json.RawMessage
		if json.Unmarshal(doc, &m) != nil || json.Unmarshal(m["Records"], &want) != nil || bytes.Count(doc, []byte("ecords")) != 1 || string(m["Records"]) == "null" {
			return
		}
		if err != nil || len(got) != len(want) {
			t.Fatalf("%q, %v; encoding/json has %d records", got, err, len(want))
		}
		for i := range want {
			if string(want[i]) != got[i] {
				t.Fatalf("record %d: %q, want %q", i, got[i], want[i])
			}
		}
	})
}

func BenchmarkSplit(b *testing.B) {
	record := `{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/deploy/i-0"},"eventTime":"2026-03-01T00:00:00Z","requestParameters":{"instancesSet":{"items":[{"instanceId":"i-0123456789abcdef"}]}},"responseElements":null,"readOnly":true}`
	doc := []byte(`{"Records":[` + strings.Repeat(record+",", 1999) + record + `]}`)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		s := Splitter{Record: func([]byte) error { n++; return nil }}
		if _, err := s.Write(doc); err != nil || n != 2000 {
			b.Fatal(n, err)
		}
	}
}
