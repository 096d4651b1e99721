package sink_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/sink/sinktest"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// batch returns a batch of a log file with an odd name.
func batch(records ...string) *sink.Batch {
	b := &sink.Batch{
		Log: trail.Object{Bucket: "b", Key: "AWSLogs/k\"<&"}, Sum: digest.Sum{0xab},
		Proof: sink.Proof{Digest: trail.Object{Bucket: "b", Key: "digest"}, Fingerprint: "fp"},
	}
	for i, r := range records {
		b.Events = append(b.Events, sink.Event{Record: []byte(r), Index: 7 + i})
	}
	sink.Identify(b.Log, b.Events)
	return b
}

func TestEncode(t *testing.T) {
	const front = `{"trailseal":{"status":"verified","log":"s3://b/AWSLogs/k\"\u003c\u0026",` +
		`"sha256":"ab00000000000000000000000000000000000000000000000000000000000000","record":7,` +
		`"digest":"s3://b/digest","fingerprint":"fp","id":"df3eb8b45edb838f3e5c2b72-7"}`
	for record, rest := range map[string]string{
		`{}`:                            `}`,
		`{ }`:                           ` }`,
		`{"a":1}`:                       `,"a":1}`,
		"{\n  \"a\": [1,\r\n 2]\n}":     `,  "a": [1, 2]}`,
		`{"n":12345678901234567890.10}`: `,"n":12345678901234567890.10}`,
		`{"s":"\u0041\/\n","t":"<&>ü"}`: `,"s":"\u0041\/\n","t":"<&>ü"}`,
		"{\"a\":1e999,\"b\":\"\xff\"}":  ",\"a\":1e999,\"b\":\"\xff\"}",
	} {
		b := batch(record)
		line := string(sink.Trailseal.AppendLines([]byte("x"), b))
		if line != "x"+front+rest+"\n" {
			t.Errorf("%q:\n%s, want\n%s", record, line, front+rest)
		}
		var e struct {
			Trailseal struct{ Status, Log, Digest, Fingerprint, ID, SHA256 string }
		}
		if err := json.Unmarshal([]byte(line[1:]), &e); err != nil || e.Trailseal.Log != b.Log.String() {
			t.Errorf("%q: %v %+v", record, err, e)
		}
		raw := string(sink.Raw.AppendLines([]byte("x"), b))
		if want := "x" + strings.NewReplacer("\n", "", "\r", "").Replace(record) + "\n"; raw != want {
			t.Errorf("raw %q: %s", record, raw)
		}
	}
}

// The member names objects as trail.Object does.
func TestEncodeNames(t *testing.T) {
	for _, o := range []trail.Object{
		{}, {Key: "AWSLogs/k"}, {Bucket: "b"}, {Bucket: "b", Key: "AWSLogs/k"}, {Bucket: "b", Key: "é \"\\\x00"}, {Key: "folder/\n"},
	} {
		b := batch(`{}`)
		b.Log, b.Proof.Digest = o, o
		var e struct {
			Trailseal struct{ Log, Digest string }
		}
		line := sink.Trailseal.AppendLines(nil, b)
		if err := json.Unmarshal(line, &e); err != nil || e.Trailseal.Log != o.String() || e.Trailseal.Digest != o.String() {
			t.Errorf("%+v: %s, %v", o, line, err)
		}
	}
}

// The size of an event without line feeds is exact, so that buffers grow once.
func TestSize(t *testing.T) {
	for _, f := range []sink.Format{sink.Trailseal, sink.Raw} {
		b := batch(`{}`, `{"a":1}`, `{"b":[]}`, `{"c":"d"}`)
		size := 0
		for i := range b.Events {
			e := f.Encoder(b)
			size += e.Size(&b.Events[i])
		}
		got := len(f.AppendLines(nil, b))
		if got > size || got < size-1 { // {} needs no comma
			t.Errorf("format %d: %d bytes, said %d", f, got, size)
		}
	}
	if got := sink.Raw.AppendLines(nil, batch()); len(got) != 0 {
		t.Errorf("%q of no event", got)
	}
}

// Whatever a record holds, the line is the member and the record's own bytes.
func FuzzEncode(f *testing.F) {
	f.Add([]byte(`{"a":1}`), "key")
	f.Add([]byte("{ \n }"), "é\"\\\x00")
	f.Add([]byte("{\r\n\"a\" :\t[1]}"), "")
	f.Fuzz(func(t *testing.T, record []byte, key string) {
		if len(record) < 2 || record[0] != '{' || !json.Valid(record) {
			return
		}
		b := batch(string(record))
		b.Log.Key, b.Proof.Digest.Key, b.Events[0].ID = key, key, key
		line := sink.Trailseal.AppendLines(nil, b)
		raw := sink.Raw.AppendLines(nil, b)
		var members map[string]json.RawMessage
		if err := json.Unmarshal(line, &members); err != nil || bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Fatalf("%v: %q", err, line)
		}
		if !bytes.HasSuffix(bytes.TrimLeft(line, " "), bytes.TrimLeft(raw[1:], " \t")) {
			t.Errorf("%q does not end in %q", line, raw[1:])
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	events := sinktest.Batch(1, 1000)
	for i := range events.Events {
		events.Events[i].Record = []byte(`{"eventID":"` + strings.Repeat("x", 1000) + `"}`)
	}
	for name, f := range map[string]sink.Format{"trailseal": sink.Trailseal, "raw": sink.Raw} {
		b.Run(name, func(b *testing.B) {
			var dst []byte
			b.ReportAllocs()
			for b.Loop() {
				dst = f.AppendLines(dst[:0], &events)
			}
			b.SetBytes(int64(len(dst)))
		})
	}
}
