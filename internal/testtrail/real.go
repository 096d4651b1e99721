package testtrail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/trailseal/trailseal/internal/inflate"
)

// maxEventFile is the most inflated bytes of a file of events.
const maxEventFile = 1 << 30

// EventFile is a file of real events.
type EventFile struct {
	Name    string
	Body    []byte            // a log file with exactly these records
	Records []json.RawMessage // the bytes that the file has for them
}

// ReadEventFiles reads a file of events or, of a folder, each one in it
// (*.json, *.ndjson, *.jsonl, plain or .gz), in the order of their names. Other
// files are passed over. Errors name the file.
func ReadEventFiles(path string) ([]EventFile, error) {
	var files []EventFile
	err := filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || name != path && !isEventFile(name) {
			return err
		}
		f, err := readEventFile(name)
		files = append(files, f)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("read %s: no file of events in it", path)
	}
	return files, nil
}

func isEventFile(name string) bool {
	switch filepath.Ext(strings.TrimSuffix(name, ".gz")) {
	case ".json", ".ndjson", ".jsonl":
		return true
	}
	return false
}

func readEventFile(name string) (EventFile, error) {
	r, err := os.Open(name)
	if err != nil {
		return EventFile{}, err
	}
	defer r.Close()
	b, _, err := inflate.Bytes(r, inflate.Options{Limit: maxEventFile, Plain: true})
	if err != nil {
		return EventFile{}, fmt.Errorf("read %s: %w", name, err)
	}
	f, err := ParseEvents(b)
	if err != nil {
		return EventFile{}, fmt.Errorf("read %s: %w", name, err)
	}
	f.Name = name
	return f, nil
}

// ParseEvents reads the shapes in which people keep CloudTrail events: a log
// file, an array of events, or one event after the other (one a line). An
// event may be wrapped in an object that has it as its member event. A record
// keeps its bytes; a log file keeps all of them.
func ParseEvents(b []byte) (EventFile, error) {
	values, err := jsonValues(b)
	if err != nil {
		return EventFile{}, err
	}
	var f EventFile
	switch {
	case len(values) == 1 && values[0][0] == '[':
		err = json.Unmarshal(values[0], &f.Records)
	case len(values) == 1 && member(values[0], "Records") != nil:
		err = json.Unmarshal(member(values[0], "Records"), &f.Records)
		f.Body = b
	default:
		f.Records = values
	}
	if err != nil {
		return EventFile{}, fmt.Errorf("list of events: %w", err)
	}
	if len(f.Records) == 0 {
		return EventFile{}, errors.New("no events")
	}
	for i, r := range f.Records {
		if f.Body == nil && member(r, "eventName") == nil && member(r, "event") != nil {
			r = member(r, "event")
			f.Records[i] = r
		}
		if r[0] != '{' {
			return EventFile{}, fmt.Errorf("event %d is no JSON object", i+1)
		}
	}
	if f.Body == nil {
		f.Body = LogOf(f.Records...)
	}
	return f, nil
}

// jsonValues splits b into the JSON values that it holds one after the other.
func jsonValues(b []byte) (values []json.RawMessage, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	for {
		var v json.RawMessage
		switch err := d.Decode(&v); {
		case errors.Is(err, io.EOF):
			return values, nil
		case err != nil:
			return nil, fmt.Errorf("JSON value %d, before byte %d: %w", len(values)+1, d.InputOffset(), err)
		}
		values = append(values, v)
	}
}

// member returns a member of a JSON object, nil where there is none.
func member(object []byte, name string) json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(object, &m) != nil {
		return nil
	}
	return m[name]
}

// LogBodies returns the log files to deliver: those of the files as they are
// or, where perLog is not 0, the records of all of them, so many a log file.
func LogBodies(files []EventFile, perLog int) (bodies [][]byte) {
	var records []json.RawMessage
	for _, f := range files {
		if perLog == 0 {
			bodies = append(bodies, f.Body)
		}
		records = append(records, f.Records...)
	}
	if perLog == 0 {
		return bodies
	}
	for len(records) > 0 {
		n := min(perLog, len(records))
		bodies = append(bodies, LogOf(records[:n]...))
		records = records[n:]
	}
	return bodies
}

// Spread parts log files into so many hours, about equally many in each.
func Spread(bodies [][]byte, hours int) [][][]byte {
	parts := make([][][]byte, hours)
	for h := range parts {
		parts[h] = bodies[h*len(bodies)/hours : (h+1)*len(bodies)/hours]
	}
	return parts
}
