package testtrail_test

import (
	"strings"
	"testing"

	"github.com/trailseal/trailseal/internal/testtrail"
)

func TestParseEvents(t *testing.T) {
	const one, two = `{ "eventName": "A",  "n": 1.50 }`, `{"eventName":"B","é":"\u00e9"}`
	rows := []struct {
		name, in, body string // body "": an error
		text           string // the error says this
	}{
		{"log file", `{"Records":[` + one + `,` + two + `]}`, `{"Records":[` + one + `,` + two + `]}`, ""},
		{"log file, indented", "{ \"x\": 1,\n  \"Records\": [\n    " + one + " , " + two + "]\n}\n", "{ \"x\": 1,\n  \"Records\": [\n    " + one + " , " + two + "]\n}\n", ""},
		{"array", " [\n" + one + " ,\n" + two + "]", `{"Records":[` + one + `,` + two + `]}`, ""},
		{"lines", one + "\n" + two + "\n", `{"Records":[` + one + `,` + two + `]}`, ""},
		{"no end of line", one + "\r\n\r\n" + two, `{"Records":[` + one + `,` + two + `]}`, ""},
		{"wrapped", `{"test":"x","event":` + one + "}\n" + `{"event": ` + two + `}`, `{"Records":[` + one + `,` + two + `]}`, ""},
		{"event with a member event", `{"eventName":"A","event":{}}` + "\n" + two, `{"Records":[{"eventName":"A","event":{}},` + two + `]}`, ""},
		{"empty", "", "", "no events"},
		{"no records", `{"Records":[]}`, "", "no events"},
		{"empty array", `[]`, "", "no events"},
		{"records of another kind", `{"Records":{}}`, "", "list of events"},
		{"a number", `[` + one + `,7]`, "", "event 2"},
		{"null", `{"Records":[null]}`, "", "event 1"},
		{"broken line", one + "\n{", "", "JSON value 2"},
		{"text", "LICENSE", "", "JSON value 1"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f, err := testtrail.ParseEvents([]byte(row.in))
			if row.body == "" {
				if err == nil || !strings.Contains(err.Error(), row.text) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(f.Body) != row.body {
				t.Errorf("body\n%s, want\n%s", f.Body, row.body)
			}
			if len(f.Records) != 2 || row.name != "event with a member event" && string(f.Records[0]) != one || string(f.Records[1]) != two {
				t.Errorf("records %s", f.Records)
			}
		})
	}
}
