package notify_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/trailseal/trailseal/internal/notify"
	"github.com/trailseal/trailseal/pkg/trail"
)

const (
	bucket = "trail-bucket"
	log    = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/01/" +
		"111122223333_CloudTrail_eu-west-1_20260301T1205Z_abcDEF0123456789.json.gz"
	topic = "arn:aws:sns:eu-west-1:111122223333:trail"
)

func object(key string, size int64) trail.Object {
	return trail.Object{Bucket: bucket, Key: key, Size: size}
}

// known is what each file of testdata announces.
var known = map[string]notify.Message{
	"s3.json":     {Format: notify.S3, Created: s3Created},
	"s3-sns.json": {Format: notify.S3SNS, Created: s3Created, Topic: topic},
	"s3-removed.json": {Format: notify.S3, Ignored: 2, Removed: []notify.Removal{
		{Object: object(log, 0), Cause: notify.Deleted},
		{Object: object("marker", 0), VersionID: "m1", Cause: notify.Marked},
		{Object: object("expired", 0), Cause: notify.Expired},
	}},
	"eventbridge.json":     {Format: notify.EventBridge, Created: ebCreated},
	"eventbridge-sns.json": {Format: notify.EventBridgeSNS, Created: ebCreated, Topic: topic},
	"eventbridge-deleted.json": {Format: notify.EventBridge, Removed: []notify.Removal{
		{Object: object(log, 0), VersionID: "v2", Cause: notify.ExpiredMarked},
	}},
	"eventbridge-restore.json": {Format: notify.EventBridge, Ignored: 1},
	"cloudtrail.json":          {Format: notify.CloudTrailSNS, Created: ctCreated},
	"cloudtrail-sns.json":      {Format: notify.CloudTrailSNS, Created: ctCreated, Topic: topic},
	"test.json":                {Format: notify.Test},
	"test-sns.json":            {Format: notify.Test, Topic: topic},
	"validation.txt":           {Format: notify.Validation},
	"validation-sns.json":      {Format: notify.Validation, Topic: topic},
	"subscription.json":        {Format: notify.SNSSubscription, Topic: topic},
}

var (
	s3Created = []trail.Object{object("a b+c/"+log, 4096), object("café", 1)}
	ebCreated = []trail.Object{object("a+b%2B c/"+log, 4096)}
	ctCreated = []trail.Object{object("a+b%2B/"+log, 0), object(log, 0)}
)

// read returns the files of testdata by name.
func read(t testing.TB) map[string]string {
	t.Helper()
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, e := range entries {
		if e.IsDir() {
			continue // what fuzzing has found
		}
		b, err := os.ReadFile(filepath.Join("testdata", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(b)
	}
	return files
}

func TestParse(t *testing.T) {
	files := read(t)
	for name := range files {
		if _, ok := known[name]; !ok {
			t.Errorf("testdata/%s is not tested", name)
		}
	}
	for name, want := range known {
		got, err := notify.Parse([]byte(files[name]))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", name, err, got, want)
		}
	}
}

const plain = `{"Records":[{"eventVersion":"2.1","eventName":"ObjectCreated:Put",` +
	`"s3":{"bucket":{"name":"b"},"object":{"key":"k","size":5}}}]}`

// Changes of a body that must make no difference.
func TestTolerance(t *testing.T) {
	for name, change := range map[string][2]string{
		"control":                   {"", ""},
		"a version to come":         {`"2.1"`, `"2.17"`},
		"a prefix of the name":      {`"ObjectCreated:Put"`, `"s3:ObjectCreated:Put"`},
		"a way of creating to come": {`:Put"`, `:Teleport"`},
		"a member to come":          {`"s3":{`, `"Message":7,"news":{"a":[1]},"s3":{"more":null,`},
		"a member at the top":       {`{"Records"`, `{"Type":3,"source":[],"Records"`},
		"white space":               {`{"Records"`, " \r\n\t{ \"Records\" "},
		"members in another case":   {`"key"`, `"KEY":"x","Key":7,"key"`},
		"another member is null":    {`"size"`, `"versionId":null,"size"`},
		"an unknown record before":  {`"Records":[`, `"Records":[{"eventVersion":"2.9","eventName":"ObjectPainted:Red","s3":7},`},
		"a removal beside it":       {`"Records":[`, `"Records":[` + removedRecord("ObjectRemoved:Delete", "") + `,`},
	} {
		body := strings.Replace(plain, change[0], change[1], 1)
		m, err := notify.Parse([]byte(body))
		if err != nil || !reflect.DeepEqual(m.Created, []trail.Object{{Bucket: "b", Key: "k", Size: 5}}) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	for in, want := range map[string]int64{
		"7": 7, "0": 0, "-1": 0, `"7"`: 0, "null": 0, "1.5": 0, "1e3": 0, "99999999999999999999": 0, "{}": 0,
	} {
		m, err := notify.Parse([]byte(strings.Replace(plain, `"size":5`, `"size":`+in, 1)))
		if err != nil || m.Created[0].Size != want {
			t.Errorf("size %s: %+v, %v", in, m, err)
		}
	}
}

// What is left for the redrive policy, beside the control: nothing of it is
// announced.
func TestUnknown(t *testing.T) {
	envelope := func(kind, message string) string {
		return `{"Type":` + kind + `,"TopicArn":"` + topic + `","Message":` + message + `}`
	}
	quoted := `"` + strings.ReplaceAll(plain, `"`, `\"`) + `"`
	for _, body := range []string{plain, envelope(`"Notification"`, quoted), `{"s3Bucket":"b","s3ObjectKey":["k"]}`} {
		if m, err := notify.Parse([]byte(body)); err != nil || len(m.Created) != 1 {
			t.Fatalf("control: %+v, %v", m, err)
		}
	}
	first := func(old, new string) string { return strings.Replace(plain, old, new, 1) }
	for name, body := range map[string]string{
		"empty": "", "a word": "hello", "null": "null", "a list": "[" + plain + "]", "a text": quoted, "an object": "{}",
		"nearly validation":         "CloudTrail validation message",
		"validation in quotes":      `"CloudTrail validation message."`,
		"cut off":                   plain[:len(plain)-1],
		"something behind":          plain + "{}",
		"no records":                `{"Records":[]}`,
		"records are null":          `{"Records":null}`,
		"records are an object":     `{"Records":{}}`,
		"a record is a text":        `{"Records":["x"]}`,
		"version 3":                 first(`"2.1"`, `"3.0"`),
		"version 20":                first(`"2.1"`, `"20.1"`),
		"no version":                first(`"eventVersion":"2.1",`, ""),
		"eventVersion is a number":  first(`"2.1"`, `2.1`),
		"no name":                   first(`"eventName":"ObjectCreated:Put",`, ""),
		"no bucket":                 first(`"name":"b"`, ""),
		"bucket is a number":        first(`"b"`, `7`),
		"empty key":                 first(`"k"`, `""`),
		"no key":                    first(`"key":"k",`, ""),
		"no place":                  first(`"s3"`, `"S3"`),
		"bad encoding":              first(`"k"`, `"a%zz"`),
		"encoding of no text":       first(`"k"`, `"a%ff"`),
		"too long a key":            first(`"k"`, `"`+strings.Repeat("k", 1025)+`"`),
		"one bad record of two":     first(`"Records":[`, `"Records":[{"eventVersion":"2.1","eventName":"ObjectCreated:Put","s3":{}},`),
		"a key twice":               first(`"key":"k"`, `"key":"j","key":"k"`),
		"the same name twice":       first(`{"Records"`, `{"a":1,"a":2,"Records"`),
		"bad UTF-8":                 first(`"k"`, "\"\xff\""),
		"half a surrogate":          first(`"k"`, `"\ud800"`),
		"too deep":                  first(`{"Records"`, `{"a":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`,"Records"`),
		"too large":                 first(`{"Records"`, strings.Repeat(" ", 1<<20)+`{"Records"`),
		"CloudTrail without bucket": `{"s3ObjectKey":["k"]}`,
		"CloudTrail without keys":   `{"s3Bucket":"b","s3ObjectKey":[]}`,
		"CloudTrail, one text":      `{"s3Bucket":"b","s3ObjectKey":"k"}`,
		"CloudTrail, an empty key":  `{"s3Bucket":"b","s3ObjectKey":["k",""]}`,
		"another event":             `{"Service":"Amazon S3","Event":"s3:Other"}`,
		"another source":            event("aws.ec2", "Object Created"),
		"another event of S3":       event("aws.s3", "AWS API Call via CloudTrail"),
		"EventBridge without key":   strings.Replace(event("aws.s3", "Object Created"), `"key":"k"`, "", 1),
		"EventBridge, no detail":    `{"source":"aws.s3","detail-type":"Object Created"}`,
		"SNS of another type":       envelope(`"Other"`, quoted),
		"SNS of no type":            envelope(`7`, quoted),
		"SNS without topic":         strings.Replace(envelope(`"Notification"`, quoted), topic, "", 1),
		"SNS with an object":        envelope(`"Notification"`, plain),
		"SNS without message":       `{"Type":"Notification","TopicArn":"` + topic + `"}`,
		"SNS with a word":           envelope(`"Notification"`, `"hello"`),
		"version is a number":       removed("ObjectRemoved:Delete", `,"versionId":7`),
		"version is an object":      deleted(`,"version-id":{}`, ``),
		"version is too long":       removed("ObjectRemoved:Delete", `,"versionId":"`+strings.Repeat("v", 1025)+`"`),
		"reason is a list":          deleted(``, `,"reason":["DeleteObject"]`),
		"deletion type is a list":   deleted(``, `,"deletion-type":[]`),
		"removal without key":       deleted(`,"key":""`, ``),
		"SNS in SNS":                envelope(`"Notification"`, `"{\"Type\":\"SubscriptionConfirmation\",\"TopicArn\":\"t\"}"`),
	} {
		m, err := notify.Parse([]byte(body))
		if !errors.Is(err, notify.ErrUnknown) || !reflect.DeepEqual(m, notify.Message{Format: notify.Unknown}) {
			t.Errorf("%s: %+v, %v", name, m, err)
		} else if text := err.Error(); len(text) > 500 || !utf8.ValidString(text) {
			t.Errorf("%s: the error has %d bytes: %.600q", name, len(text), text)
		}
	}
}

// removed is an S3 event with one removal, deleted an event of EventBridge. The
// members of object and detail follow what every event has.
func removed(event, object string) string {
	return `{"Records":[` + removedRecord(event, object) + `]}`
}

func removedRecord(event, object string) string {
	return `{"eventVersion":"2.1","eventName":"` + event + `","s3":{"bucket":{"name":"b"},"object":{"key":"k"` + object + `}}}`
}

func deleted(object, detail string) string {
	return strings.Replace(event("aws.s3", "Object Deleted"), `"k"}`, `"k"`+object+`}`+detail, 1)
}

// event is an event of EventBridge.
func event(source, kind string) string {
	return `{"source":"` + source + `","detail-type":"` + kind + `","detail":{"bucket":{"name":"b"},"object":{"key":"k"}}}`
}

// What removed an object, and whether one version is meant. The forms are those
// of the S3 user guide.
func TestRemovals(t *testing.T) {
	const byRequest, byRule = `,"reason":"DeleteObject"`, `,"reason":"Lifecycle Expiration"`
	const forGood, marker = `,"deletion-type":"Permanently Deleted"`, `,"deletion-type":"Delete Marker Created"`
	for name, row := range map[string]struct {
		body       string
		version    string
		cause      notify.Cause
		oneVersion bool
	}{
		"s3: deleted":               {removed("ObjectRemoved:Delete", ``), "", notify.Deleted, false},
		"s3: a version deleted":     {removed("ObjectRemoved:Delete", `,"versionId":"v1"`), "v1", notify.Deleted, true},
		"s3: version is null":       {removed("ObjectRemoved:Delete", `,"versionId":null`), "", notify.Deleted, false},
		"s3: the null version":      {removed("ObjectRemoved:Delete", `,"versionId":"null"`), "null", notify.Deleted, true},
		"s3: prefix of the name":    {removed("s3:ObjectRemoved:Delete", ``), "", notify.Deleted, false},
		"s3: way to come":           {removed("ObjectRemoved:Teleport", ``), "", notify.Deleted, false},
		"s3: marker":                {removed("ObjectRemoved:DeleteMarkerCreated", `,"versionId":"m"`), "m", notify.Marked, false},
		"s3: expired":               {removed("LifecycleExpiration:Delete", ``), "", notify.Expired, false},
		"s3: noncurrent expired":    {removed("LifecycleExpiration:Delete", `,"versionId":"v"`), "v", notify.Expired, true},
		"s3: expired, marker":       {removed("LifecycleExpiration:DeleteMarkerCreated", ``), "", notify.ExpiredMarked, false},
		"s3: size is not kept":      {removed("ObjectRemoved:Delete", `,"size":7`), "", notify.Deleted, false},
		"s3: EventBridge's name":    {removed("ObjectRemoved:Delete", `,"version-id":"v"`), "", notify.Deleted, false},
		"eventbridge: deleted":      {deleted(``, byRequest+forGood), "", notify.Deleted, false},
		"eventbridge: a version":    {deleted(`,"version-id":"v1"`, byRequest+forGood), "v1", notify.Deleted, true},
		"eventbridge: marker":       {deleted(`,"version-id":"m"`, byRequest+marker), "m", notify.Marked, false},
		"eventbridge: expired":      {deleted(`,"version-id":"v"`, byRule+forGood), "v", notify.Expired, true},
		"eventbridge: exp. marker":  {deleted(``, byRule+marker), "", notify.ExpiredMarked, false},
		"eventbridge: neither":      {deleted(``, ``), "", notify.Deleted, false},
		"eventbridge: both unknown": {deleted(``, `,"reason":"Whim","deletion-type":"Shredded"`), "", notify.Deleted, false},
		"eventbridge: S3's name":    {deleted(`,"versionId":"v"`, byRequest+forGood), "", notify.Deleted, false},
		"the same twice": {`{"Records":[` + removedRecord("ObjectRemoved:Delete", ``) + `,` +
			removedRecord("ObjectRemoved:Delete", ``) + `]}`, "", notify.Deleted, false},
	} {
		want := []notify.Removal{{Object: trail.Object{Bucket: "b", Key: "k"}, VersionID: row.version, Cause: row.cause}}
		m, err := notify.Parse([]byte(row.body))
		if err != nil || !reflect.DeepEqual(m.Removed, want) || m.Created != nil {
			t.Errorf("%s: %v\n got %+v\nwant %+v", name, err, m, want)
		} else if m.Removed[0].OneVersion() != row.oneVersion {
			t.Errorf("%s: one version %t", name, !row.oneVersion)
		}
	}
	two := `{"Records":[` + removedRecord("ObjectRemoved:Delete", `,"versionId":"1"`) + `,` +
		removedRecord("ObjectRemoved:Delete", `,"versionId":"2"`) + `]}`
	if m, err := notify.Parse([]byte(two)); err != nil || len(m.Removed) != 2 {
		t.Errorf("two versions of one object: %+v, %v", m, err)
	}
}

func TestCause(t *testing.T) {
	for c, want := range map[notify.Cause][2]bool{
		notify.Deleted: {false, false}, notify.Marked: {false, true},
		notify.Expired: {true, false}, notify.ExpiredMarked: {true, true},
	} {
		if got := [2]bool{c.Lifecycle(), c.Marker()}; got != want {
			t.Errorf("%s: lifecycle, marker %v", c, got)
		}
	}
}

// A body full of names announces all of them.
func TestManyNames(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"s3Bucket":"b","s3ObjectKey":["k0"`)
	n := 1
	for ; b.Len() < notify.MaxBody-20; n++ {
		b.WriteString(`,"k` + strconv.Itoa(n) + `"`)
	}
	b.WriteString("]}")
	m, err := notify.Parse([]byte(b.String()))
	if err != nil || len(m.Created) != n || n < 90_000 {
		t.Errorf("%d objects, %v", len(m.Created), err)
	}
}

func FuzzParse(f *testing.F) {
	for _, body := range read(f) {
		f.Add([]byte(body))
	}
	f.Add([]byte(plain))
	f.Add([]byte(removed("LifecycleExpiration:Delete", `,"versionId":"v"`)))
	f.Add([]byte(deleted(`,"version-id":null`, `,"reason":"DeleteObject","deletion-type":"Delete Marker Created"`)))
	f.Add([]byte(`{"Records":[{"eventVersion":"2.","eventName":":","s3":null}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := notify.Parse(body)
		if err != nil {
			if !errors.Is(err, notify.ErrUnknown) || m.Format != notify.Unknown || m.Created != nil || m.Removed != nil {
				t.Errorf("%q: %+v, %v", body, m, err)
			}
			return
		}
		if _, bounded := formats[m.Format]; !bounded {
			t.Errorf("%q: format %q", body, m.Format)
		}
		announced := len(m.Created) + len(m.Removed)
		created, removals := map[trail.Object]bool{}, map[notify.Removal]bool{}
		for _, o := range m.Created {
			place := trail.Object{Bucket: o.Bucket, Key: o.Key}
			if !valid(o) || created[place] {
				t.Errorf("%q announces %+v", body, o)
			}
			created[place] = true
		}
		for _, r := range m.Removed {
			if !valid(r.Object) || r.Object.Size != 0 || removals[r] || !utf8.ValidString(r.VersionID) || !causes[r.Cause] {
				t.Errorf("%q announces the removal %+v", body, r)
			}
			removals[r] = true
		}
		none := m.Format == notify.Test || m.Format == notify.Validation || m.Format == notify.SNSSubscription
		if none != (announced+m.Ignored == 0) {
			t.Errorf("%q: %s announces %d, ignores %d", body, m.Format, announced, m.Ignored)
		}
	})
}

func valid(o trail.Object) bool {
	return o.Bucket != "" && o.Key != "" && o.Size >= 0 && utf8.ValidString(o.Key)
}

var causes = map[notify.Cause]bool{
	notify.Deleted: true, notify.Marked: true, notify.Expired: true, notify.ExpiredMarked: true,
}

// formats are all that Parse may return without an error.
var formats = map[notify.Format]bool{
	notify.S3: true, notify.S3SNS: true, notify.EventBridge: true, notify.EventBridgeSNS: true, notify.CloudTrailSNS: true,
	notify.Test: true, notify.Validation: true, notify.SNSSubscription: true,
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		if _, err := notify.Parse([]byte(plain)); err != nil {
			b.Fatal(err)
		}
	}
}
