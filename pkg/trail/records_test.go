package trail_test

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/trailseal/trailseal/pkg/trail"
)

func collect(seq iter.Seq2[[]byte, error]) (records []string, err error) {
	for r, e := range seq {
		if e != nil {
			return records, e
		}
		records = append(records, string(r))
	}
	return records, nil
}

func TestRecords(t *testing.T) {
	for name, tt := range map[string]struct {
		in   string
		want []string
	}{
		"none":                         {`{"Records":[]}`, nil},
		"one":                          {`{"Records":[{"a":1}]}`, []string{`{"a":1}`}},
		"two":                          {`{"Records":[{"a":1},{"b":2}]}`, []string{`{"a":1}`, `{"b":2}`}},
		"numbers keep their digits":    {`{"Records":[{"n":1.50e+3,"m":12345678901234567890}]}`, []string{`{"n":1.50e+3,"m":12345678901234567890}`}},
		"text keeps its escapes":       {`{"Records":[{"\u0061":"\/\u00e9é\n"}]}`, []string{`{"\u0061":"\/\u00e9é\n"}`}},
		"white space":                  {" {\n\"Records\" :\t[ {\"a\" : 1} ,\r\n {} ] } \n", []string{`{"a" : 1}`, `{}`}},
		"records that are no objects":  {`{"Records":[null,1,"x",[2],true]}`, []string{"null", "1", `"x"`, "[2]", "true"}},
		"members in front and after":   {`{"x":{"Records":[9]},"Records":[1],"y":[{"Records":8}]}`, []string{"1"}},
		"name in escapes":              {`{"Rec\u006frds":[1]}`, []string{"1"}},
		"a name in another case":       {`{"records":[8],"Records":[1]}`, []string{"1"}},
		"duplicate members in records": {`{"Records":[{"a":1,"a":2}]}`, []string{`{"a":1,"a":2}`}},
		"a list of records":            {`[{"a":1},{"Records":[2]}]`, []string{`{"a":1}`, `{"Records":[2]}`}},
		"an empty list":                {" [ ] ", nil},
		"Records is null":              {`{"Records":null}`, nil},
		"Records is null, among more":  {`{"x":[1],"Records" : null , "y":2}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in)), iotest.DataErrReader(strings.NewReader(tt.in))} {
				got, err := collect(trail.Records(r))
				if err != nil || !slices.Equal(got, tt.want) {
					t.Errorf("got %q, %v, want %q", got, err, tt.want)
				}
			}
		})
	}
}

func TestRecordsRejects(t *testing.T) {
	const good = `{"Records":[{"a":1},{"b":2}]}`
	if _, err := collect(trail.Records(strings.NewReader(good))); err != nil {
		t.Fatalf("the control: %v", err)
	}
	rows := map[string]string{
		"a list, cut off":        `[{"a":1}`,
		"a list, no comma":       `[{"a":1}{"b":2}]`,
		"a list, comma at end":   `[{"a":1},]`,
		"a list, twice":          `[{"a":1}][]`,
		"a list, broken record":  `[{"a":1},{"b":}]`,
		"a number":               `7`,
		"no Records":             `{"records":[]}`,
		"Records is no list":     `{"Records":{"a":1}}`,
		"Records is a word":      `{"Records":nil}`,
		"Records is null, twice": `{"Records":null,"Records":[{"a":1}]}`,
		"null":                   `null`,
		"byte order mark":        "\xef\xbb\xbf" + good,
		"broken name":            "{\"\x01\":1,\"Records\":[]}",
		"broken member in front": `{"x":{1},"Records":[]}`,
		"broken member behind":   `{"Records":[],"x":tru}`,
		"two Records":            `{"Records":[],"Records":[{"a":1}]}`,
		"second Records escaped": `{"Records":[],"Rec\u006frds":[{"a":1}]}`,
		"closed by a brace":      `{"Records":[{"a":1}}`,
		"no comma":               `{"Records":[{"a":1}{"b":2}]}`,
		"broken record":          `{"Records":[{"a":1},{"b":}]}`,
		"control byte in text":   "{\"Records\":[{\"a\":\"\x01\"}]}",
		"a second value":         good + `{}`,
		"text after it":          good + `x`,
		"bytes after it":         good + "\x00",
	}
	for i := range len(good) {
		rows["cut off after "+good[:i]] = good[:i]
	}
	for name, in := range rows {
		if got, err := collect(trail.Records(strings.NewReader(in))); !errors.Is(err, trail.ErrRecords) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

// An error of the reader says nothing about the file, whatever it is and
// wherever it comes.
func TestRecordsReaderError(t *testing.T) {
	const good = `{"x":1,"Records":[{"a":1},{"b":2}],"y":2}`
	for _, fault := range []error{errors.New("connection reset"), io.ErrUnexpectedEOF} {
		for i := range len(good) + 1 {
			// A reader that would go on with other bytes if it were asked again.
			r := io.MultiReader(strings.NewReader(good[:i]), &once{err: fault}, strings.NewReader(good[i:]))
			_, err := collect(trail.Records(r))
			if !errors.Is(err, fault) || errors.Is(err, trail.ErrRecords) {
				t.Errorf("%v after %d bytes: got %v", fault, i, err)
			}
		}
	}
}

type once struct{ err error }

func (o *once) Read([]byte) (int, error) {
	err := o.err
	o.err = io.EOF
	return 0, err
}

func TestRecordsEndsWithItsConsumer(t *testing.T) {
	n := 0
	for range trail.Records(strings.NewReader(`{"Records":[1,2,broken`)) {
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("%d records", n)
	}
}

// Genuine log files, re-indented by those who published them.
func TestRecordsOfGenuineLogs(t *testing.T) {
	root := os.Getenv("TRAILSEAL_DATA")
	if root == "" {
		t.Skip("TRAILSEAL_DATA is not set: no genuine logs to read")
	}
	files, err := filepath.Glob(filepath.Join(root, "invictus", "CloudTrail", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	events := 0
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for r, err := range trail.Records(bytes.NewReader(b)) {
			if err != nil {
				t.Fatalf("%s: %v", filepath.Base(name), err)
			}
			e, err := trail.ParseEvent(r)
			if err != nil || e.ID() == "" || e.Time().IsZero() || e.Source() == "" || e.Name() == "" || e.Actor() == "" || e.SourceIPAddress() == "" {
				t.Errorf("%s: %s, %v", filepath.Base(name), e.Record(), err)
			}
			events++
		}
	}
	if events < 2000 {
		t.Errorf("%d events", events)
	}
}
