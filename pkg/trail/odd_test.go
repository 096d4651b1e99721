package trail_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/trailseal/trailseal/pkg/trail"
)

// deep returns a record whose innermost list has a depth.
func deep(depth int) string {
	return `{"a":` + strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1) + `}`
}

func TestCheckRecord(t *testing.T) {
	for name, in := range map[string]string{
		"empty":                `{}`,
		"space in empty":       "{ \t\r\n}",
		"event":                benchRecord,
		"pretty":               "{\r\n\t\"a\" : [\n        1 ,\n  { } , [ ]\n ] ,\n\"b\":\"c\" }",
		"all kinds":            `{"a":[true,false,null,"",{},[]],"b":true,"c":false,"d":null,"e":{"f":{"g":[[{}]]}}}`,
		"escapes":              `{"\"\\\/\b\f\n\r\t\u00e9\uABCD":"\"\\\/\b\f\n\r\t\u00e9\uABCD"}`,
		"escaped controls":     `{"a":"\u0000\u000a\u001f"}`,
		"numbers":              `{"a":[0,-0,1,-1,10,0.5,1e5,1E+5,1e-5,-0.0e00,1e999,123456789012345678901234567890.10]}`,
		"half a pair":          `{"a":"\ud800","\udc00":1}`,
		"not UTF-8":            "{\"\xff\xfe\":\"\xc3 \xed\xa0\x80\"}",
		"delete":               "{\"a\x7f\":\"\x7f\u0080\u2028\"}",
		"a name twice":         `{"a":1,"a":2,"":3}`,
		"nested trailseal":     `{"a":{"trailseal":1},"b":[{"trailseal":1}]}`,
		"text trailseal":       `{"a":"trailseal"}`,
		"similar names":        `{"trailseals":1,"trailsea":2,"atrailseal":3,"trail seal":4,"trail.seal":5,"--":6}`,
		"another alphabet":     `{"trails\u0435al":1,"trailsеal":2}`,
		"escapes in a name":    `{"\u0074railseals":1,"trail\\u0073eal":2,"\\u0074railseal":3}`,
		"as deep as may be":    deep(512),
		"as deep, with names":  strings.Repeat(`{"[{":`, 511) + `{}` + strings.Repeat("}", 511),
		"deep beside the deep": `{"a":` + deep(511) + `,"b":` + deep(511) + `}`,
	} {
		if err := trail.CheckRecord([]byte(in)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckRecordRefuses(t *testing.T) {
	const good = `{"eventName":"GetObject","resources":[{"n":-1.5e3},null],"note":"\u00e9\"","readOnly":true}`
	if err := trail.CheckRecord([]byte(good)); err != nil {
		t.Fatalf("the control: %v", err)
	}
	rows := map[string][]string{ // by what the error says
		"end of JSON":       {"", " ", `{"a":1`, `{"a":"b`},
		"not a JSON object": {`5`, `"{}"`, `null`, `[]`, ` [{}]`},
		"white space around": {
			` {}`, `{} `, "{}\n", "\t{}\r",
		},
		"after top-level value": {`{}{}`, `{},`, `{}}`, "{}\x00", `{"a":1}x`},
		"invalid character": {
			"\ufeff{}", `{"a":[}`, `{"a":[1}}`, `{"a":{]}`, `{a:1}`, `{'a':1}`, `{"a":1,}`, `{,}`, `{"a":[1,]}`, `{"a"}`,
			`{"a":}`, `{"a":1 "b":2}`, `{"a":True}`, `{"a":tru}`, `{"a":nulls}`, `{"a":NaN}`, `{"a":01}`, `{"a":0x1}`,
			`{"a":1/**/}`, "{\"a\":\u00a01}", "{\"a\"\x00:1}", "{\v}", "{\"a\":1\f}",
		},
		"in string escape code":                          {`{"a":"\x41"}`, `{"\'":1}`},
		`in \u hexadecimal character escape`:             {`{"a":"\u123"}`, `{"\u":1}`},
		`in string literal, after `:                      {"{\"a\":\"b\nc\"}", "{\"trails\neal\":1}"},
		`'\x01' in string literal`:                       {`{"trailseal":1,"x":"` + "\x01" + `"}`},
		`a member "trailseal" of its own`:                {`{"trailseal":{"status":""}}`, `{ "a":{}, "trailseal" : null }`},
		`a member "trailseal" of its own: not`:           {`{"\u0074railseal":1}`, `{"a":1,"trail\u0073\u0065al":1}`},
		`a member "TrailSeal" of its own`:                {`{"TrailSeal":1}`, `{"trailsea":1,"\u0054rail\u0053eal":1}`},
		`a member "TRAILSEAL" of its own`:                {`{"TRAILSEAL":1}`},
		`a member "trail` + "\u017f" + `eal" of its own`: {`{"trail\u017Feal":1}`, "{\"trail\u017feal\":1}"},
		`a member "trail-seal" of its own`:               {`{"trail-seal":1}`, `{"trail\u002dseal":1}`},
		`a member "_trail_seal" of its own`:              {`{"a":1,"_trail_seal":1}`},
		`a member "-trailseal" of its own`:               {`{"-trailseal":1}`, `{"\u002dtrailseal":1}`},
		"deeper than 512 levels": {
			deep(513), strings.Repeat(`{"]}":`, 512) + `{}` + strings.Repeat("}", 512),
		},
		"exceeded max depth": {strings.Repeat(`{"a":`, 1e5)},
	}
	for i := range len(good) {
		rows["not one event"] = append(rows["not one event"], good[:i])
	}
	for i := range 4 {
		for _, c := range []string{"g", "G", "/", ":", "@", "`", `"`, " "} {
			in := `{"a":"\u` + "0aF9"[:i] + c + "0aF9"[i+1:] + `"}`
			rows["hexadecimal character"] = append(rows["hexadecimal character"], in)
		}
	}
	for want, all := range rows {
		for _, in := range all {
			err := trail.CheckRecord([]byte(in))
			if !errors.Is(err, trail.ErrOddRecord) || !strings.Contains(err.Error(), want) {
				t.Errorf("%.200q: %v, want %q", in, err, want)
			}
		}
	}
}

// A raw control character is found wherever it is in a string, and nothing else
// is taken for one.
func TestCheckRecordControlCharacters(t *testing.T) {
	for c := range 256 {
		for before := range 20 {
			for after := range 10 {
				text := strings.Repeat("a", before) + string([]byte{byte(c)}) + strings.Repeat("b", after)
				if c == '"' || c == '\\' {
					continue
				}
				for _, in := range []string{`{"` + text + `":1}`, `{"a":["` + text + `"]}`} {
					if err := trail.CheckRecord([]byte(in)); (err != nil) != (c < ' ') {
						t.Errorf("%q: %v", in, err)
					}
				}
			}
		}
	}
}

// reference says by encoding/json alone whether a record is odd.
func reference(record []byte) bool {
	var all map[string]json.RawMessage
	var own struct{ Trailseal json.RawMessage }
	if json.Unmarshal(record, &all) != nil || json.Unmarshal(record, &own) != nil || all == nil ||
		own.Trailseal != nil {
		return true
	}
	for name := range all {
		if strings.EqualFold(strings.NewReplacer("-", "", "_", "").Replace(name), "trailseal") {
			return true
		}
	}
	depth, most := 0, 0
	for d := json.NewDecoder(bytes.NewReader(record)); ; {
		token, err := d.Token()
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			most = max(most, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if err != nil {
			return most > 512 || len(bytes.TrimSpace(record)) < len(record)
		}
	}
}

// CheckRecord agrees with encoding/json on every short record of the alphabets.
func TestCheckRecordShort(t *testing.T) {
	for _, tt := range []struct {
		before, alphabet, after string
		most                    int
	}{
		{`{`, `{}[]":,1 `, ``, 5},
		{`{"a":[{`, `{}[]":,`, `]}`, 5},
		{`{"a":`, `01-+.eE `, `}`, 5},
		{`{"a":"`, "\"\\u0aFg\n/\xff", `"}`, 5},
		{`{"a":`, `truefalsn`, `}`, 4},
	} {
		in := []byte(tt.before)
		var try func(left int)
		try = func(left int) {
			n := len(in)
			record := append(in, tt.after...)
			if err := trail.CheckRecord(record); (err != nil) != (!json.Valid(record) || reference(record)) {
				t.Errorf("%s: %v", record, err)
			}
			for i := 0; left > 0 && i < len(tt.alphabet); i++ {
				in = append(in[:n], tt.alphabet[i])
				try(left - 1)
			}
			in = in[:n]
		}
		try(tt.most)
	}
}

// Genuine events are accepted, on the fast path: the other one allocates.
func TestCheckRecordOfRealEvents(t *testing.T) {
	realEvents(t, func(file string, record []byte) {
		if allocs := testing.AllocsPerRun(1, func() {
			if err := trail.CheckRecord(record); err != nil {
				t.Errorf("%s: %v: %s", file, err, record)
			}
		}); allocs > 0 {
			t.Errorf("%s: %v allocations for %s", file, allocs, record)
		}
	})
}

func FuzzCheckRecord(f *testing.F) {
	for _, in := range []string{
		benchRecord, `{"\u0074railseal":1}`, `{"trailſeal":1}`, `{"trail-seal":1}`, `{"a":{"trailseal":[1]}}`,
		"{\"a\":\"\n\"}",
		"{\"a\"\t:\r\n        \"\xff\\ud800\"}", `{"a":-0.5e+7,"a":1e999}`, ` {}`, `{}x`, `{"a":1,}`, `{"a\b\/":["\u12g4"]}`,
	} {
		f.Add([]byte(in), 7)
	}
	f.Fuzz(func(t *testing.T, record []byte, n int) {
		err := trail.CheckRecord(record)
		if (err != nil) != reference(record) || err != nil && !errors.Is(err, trail.ErrOddRecord) {
			t.Fatalf("%q: %v", record, err)
		}
		if err == nil {
			checkLine(t, record)
		}
		if record = bytes.Trim(record, " \t\r\n"); !json.Valid(record) {
			return
		}
		// A Splitter comes to the same, however the record arrives.
		err = trail.CheckRecord(record)
		var got []string
		s := trail.Splitter{
			Record: func(r []byte) error { got = append(got, string(r)); return nil },
			Odd:    func(r []byte, why error) error { got = append(got, fmt.Sprint(string(r), why)); return nil },
		}
		want := string(record)
		if err != nil {
			want += err.Error()
		}
		for rest := []byte(`[` + string(record) + `]`); len(rest) > 0; {
			k := min(max(1, n%64), len(rest))
			if _, err := s.Write(rest[:k]); err != nil {
				t.Fatal(err)
			}
			rest = rest[k:]
		}
		if err := s.Close(); err != nil || len(got) != 1 || got[0] != want || s.Count() != 1 {
			t.Errorf("%q: the Splitter has %q, %v, want %q; %d", record, got, err, want, s.Count())
		}
	})
}

// checkLine makes one line of a record, with a member in front, as trailseal's
// programs do. A reader of the line finds the record's members and this one.
func checkLine(t *testing.T, record []byte) {
	t.Helper()
	own := `{"trailseal":7`
	if len(bytes.TrimSpace(record[1:])) > 1 {
		own += ","
	}
	line := own + strings.NewReplacer("\n", "", "\r", "").Replace(string(record[1:]))
	var want, got map[string]any
	if err := json.Unmarshal(record, &want); err != nil && !isRange(err) {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(line), &got); err != nil && !isRange(err) {
		t.Fatalf("%q: %v", line, err)
	}
	if want["trailseal"] = 7.0; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q reads as %v, want %v", line, got, want)
	}
}

// isRange reports whether a number is too large for Go, which leaves it out.
func isRange(err error) bool {
	var e *json.UnmarshalTypeError
	return errors.As(err, &e)
}
