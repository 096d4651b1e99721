package sink_test

import (
	"errors"
	"fmt"
	"testing"
	"unsafe"

	"go.uber.org/goleak"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/pkg/trail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func identified(log trail.Object, indexes ...int) (ids []string) {
	events := make([]sink.Event, len(indexes))
	for i, n := range indexes {
		events[i].Index = n
	}
	sink.Identify(log, events)
	for i := range events {
		ids = append(ids, events[i].ID)
	}
	return ids
}

// Ids never change: sinks overwrite by them.
func TestIdentify(t *testing.T) {
	log := trail.Object{Bucket: "b", Key: `AWSLogs/k"<&`}
	const hash = "df3eb8b45edb838f3e5c2b72" // printf '%s' 'b/AWSLogs/k"<&' | sha256sum
	want := fmt.Sprint([]string{hash + "-0", hash + "-9", hash + "-10", hash + "-123456"})
	if got := fmt.Sprint(identified(log, 0, 9, 10, 123456)); got != want {
		t.Errorf("ids %s, want %s", got, want)
	}
	log.Size = 1 // what is not the name does not matter
	if got := identified(log, 0)[0]; got != hash+"-0" {
		t.Errorf("id %s", got)
	}
	if got := identified(trail.Object{Bucket: "b", Key: "other"}, 0)[0]; got == hash+"-0" {
		t.Error("two logs, one id")
	}
	if got := identified(log); len(got) != 0 {
		t.Errorf("ids %q of no event", got)
	}
}

func TestIdentifyAllocatesOnce(t *testing.T) {
	events := make([]sink.Event, 1000)
	for i := range events {
		events[i].Index = i
	}
	log := trail.Object{Bucket: "bucket", Key: "AWSLogs/111122223333/CloudTrail/us-east-1/2026/03/01/x.json.gz"}
	if n := testing.AllocsPerRun(10, func() { sink.Identify(log, events) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

func TestParsed(t *testing.T) {
	e := sink.Event{Record: []byte(`{"eventName":"StopLogging"}`), ID: "a"}
	first, err := e.Parsed()
	if err != nil || first.Name() != "StopLogging" {
		t.Fatalf("%q, %v", first.Name(), err)
	}
	if n := testing.AllocsPerRun(10, func() { _, _ = e.Parsed() }); n > 0 {
		t.Errorf("parsed again: %v allocations", n)
	}
	bad := sink.Event{Record: []byte(`{"eventName"}`), ID: "bad"}
	if _, err := bad.Parsed(); !errors.Is(err, trail.ErrRecords) {
		t.Errorf("malformed: %v", err)
	}
}

// What a batch says of its events' size holds.
func TestOverhead(t *testing.T) {
	for _, name := range []string{"k", `a "name" with <escapes> and ü`, "AWSLogs/111122223333/CloudTrail/us-east-1/x.json.gz"} {
		b := sink.Batch{Log: trail.Object{Bucket: "b", Key: name}, Proof: sink.Proof{Digest: trail.Object{Key: name}, Fingerprint: "f"}}
		b.Events = []sink.Event{{Record: []byte(`{"a":1}`), Index: 1 << 40}}
		sink.Identify(b.Log, b.Events)
		e := &b.Events[0]
		need := int(unsafe.Sizeof(*e)) + len(e.ID) + len(sink.Trailseal.AppendLines(nil, &b)) - len(e.Record)
		if got := b.Overhead(); got < need || got > need+100 {
			t.Errorf("%s: overhead %d, need %d", name, got, need)
		}
	}
}
