package notify_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/trailseal/trailseal/internal/notify"
	"github.com/trailseal/trailseal/pkg/trail"
)

const (
	bucket = "trail-bucket"
	log    = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/01/111122223333_CloudTrail_eu-west-1_20260301T1205Z_abcDEF0123456789.json.gz"
	topic  = "arn:aws:sns:eu-west-1:111122223333:trail"
)

func object(key string, size int64) trail.Object {
	return trail.Object{Bucket: bucket, Key: key, Size: size}
}

// known is what each file of testdata announces.
var known = map[string]notify.Message{
	"s3.json":                  {Format: notify.S3, Created: []trail.Object{object("a b+c/"+log, 4096), object("café", 1)}},
	"s3-sns.json":              {Format: notify.S3SNS, Created: []trail.Object{object("a b+c/"+log, 4096), object("café", 1)}, Topic: topic},
	"s3-removed.json":          {Format: notify.S3, Removed: []trail.Object{object(log, 0), object("marker", 0), object("expired", 0)}, Ignored: 2},
	"eventbridge.json":         {Format: notify.EventBridge, Created: []trail.Object{object("a+b%2B c/"+log, 4096)}},
	"eventbridge-sns.json":     {Format: notify.EventBridgeSNS, Created: []trail.Object{object("a+b%2B c/"+log, 4096)}, Topic: topic},
	"eventbridge-deleted.json": {Format: notify.EventBridge, Removed: []trail.Object{object(log, 0)}},
	"eventbridge-restore.json": {Format: notify.EventBridge, Ignored: 1},
	"cloudtrail.json":          {Format: notify.CloudTrailSNS, Created: []trail.Object{object("a+b%2B/"+log, 0), object(log, 0)}},
	"cloudtrail-sns.json":      {Format: notify.CloudTrailSNS, Created: []trail.Object{object("a+b%2B/"+log, 0), object(log, 0)}, Topic: topic},
	"test.json":                {Format: notify.Test},
	"test-sns.json":            {Format: notify.Test, Topic: topic},
	"validation.txt":           {Format: notify.Validation},
	"validation-sns.json":      {Format: notify.Validation, Topic: topic},
	"subscription.json":        {Format: notify.SNSSubscription, Topic: topic},
}

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

const plain = `{"Records":[{"eventVersion":"2.1","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"k","size":5}}}]}`

// Changes of a body that must make no difference.
func TestTolerance(t *testing.T) {
	for name, change := range map[string][2]string{
		"control":                     {"", ""},
		"a version to come":           {`"2.1"`, `"2.17"`},
		"a prefix of the name":        {`"ObjectCreated:Put"`, `"s3:ObjectCreated:Put"`},
		"a way of creating to come":   {`:Put"`, `:Teleport"`},
		"a member to come":            {`"s3":{`, `"Message":7,"news":{"a":[1]},"s3":{"more":null,`},
		"a member at the top":         {`{"Records"`, `{"Type":3,"source":[],"Records"`},
		"white space":                 {`{"Records"`, " \r\n\t{ \"Records\" "},
		"members in another case":     {`"key"`, `"KEY":"x","Key":7,"key"`},
		"another member is null":      {`"size"`, `"versionId":null,"size"`},
		"an unknown record before":    {`"Records":[`, `"Records":[{"eventVersion":"2.9","eventName":"ObjectPainted:Red","s3":7},`},
		"a removal of another bucket": {`"Records":[`, `"Records":[{"eventVersion":"2.1","eventName":"ObjectRemoved:Delete","s3":{"bucket":{"name":"c"},"object":{"key":"k"}}},`},
	} {
		body := strings.Replace(plain, change[0], change[1], 1)
		m, err := notify.Parse([]byte(body))
		if err != nil || !reflect.DeepEqual(m.Created, []trail.Object{{Bucket: "b", Key: "k", Size: 5}}) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	for in, want := range map[string]int64{"7": 7, "0": 0, "-1": 0, `"7"`: 0, "null": 0, "1.5": 0, "1e3": 0, "99999999999999999999": 0, "{}": 0} {
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
		"version is a number":       first(`"2.1"`, `2.1`),
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
		"another source":            `{"source":"aws.ec2","detail-type":"Object Created","detail":{"bucket":{"name":"b"},"object":{"key":"k"}}}`,
		"another event of S3":       `{"source":"aws.s3","detail-type":"AWS API Call via CloudTrail","detail":{"bucket":{"name":"b"},"object":{"key":"k"}}}`,
		"EventBridge without key":   `{"source":"aws.s3","detail-type":"Object Created","detail":{"bucket":{"name":"b"},"object":{}}}`,
		"EventBridge, no detail":    `{"source":"aws.s3","detail-type":"Object Created"}`,
		"SNS of another type":       envelope(`"Other"`, quoted),
		"SNS of no type":            envelope(`7`, quoted),
		"SNS without topic":         strings.Replace(envelope(`"Notification"`, quoted), topic, "", 1),
		"SNS with an object":        envelope(`"Notification"`, plain),
		"SNS without message":       `{"Type":"Notification","TopicArn":"` + topic + `"}`,
		"SNS with a word":           envelope(`"Notification"`, `"hello"`),
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

func TestKeep(t *testing.T) {
	a, b, c := trail.Object{Bucket: "a", Key: "1"}, trail.Object{Bucket: "b", Key: "2"}, trail.Object{Bucket: "a", Key: "3"}
	m := notify.Message{Format: notify.S3, Created: []trail.Object{a, b, c}, Removed: []trail.Object{b, a}, Ignored: 3}
	kept, foreign := m.Keep(func(bucket string) bool { return bucket == "a" })
	want := notify.Message{Format: notify.S3, Created: []trail.Object{a, c}, Removed: []trail.Object{a}, Ignored: 3}
	if !reflect.DeepEqual(kept, want) || !reflect.DeepEqual(foreign, []trail.Object{b, b}) {
		t.Errorf("kept %+v, foreign %v", kept, foreign)
	}
	if len(m.Created) != 3 || m.Created[1] != b {
		t.Error("the message has changed")
	}
}

// A body full of names costs time in proportion to its size.
func TestManyNames(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"s3Bucket":"b","s3ObjectKey":["k0"`)
	n := 1
	for ; b.Len() < notify.MaxBody-20; n++ {
		b.WriteString(`,"k` + strconv.Itoa(n) + `"`)
	}
	b.WriteString("]}")
	began := time.Now()
	m, err := notify.Parse([]byte(b.String()))
	if err != nil || len(m.Created) != n || n < 90_000 {
		t.Errorf("%d objects, %v", len(m.Created), err)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
}

func FuzzParse(f *testing.F) {
	for _, body := range read(f) {
		f.Add([]byte(body))
	}
	f.Add([]byte(plain))
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
		for _, list := range [][]trail.Object{m.Created, m.Removed} {
			once := map[trail.Object]bool{}
			for _, o := range list {
				place := trail.Object{Bucket: o.Bucket, Key: o.Key}
				if o.Bucket == "" || o.Key == "" || o.Size < 0 || !utf8.ValidString(o.Key) || once[place] {
					t.Errorf("%q announces %+v", body, o)
				}
				once[place] = true
			}
		}
		none := m.Format == notify.Test || m.Format == notify.Validation || m.Format == notify.SNSSubscription
		if none != (announced+m.Ignored == 0) {
			t.Errorf("%q: %s announces %d, ignores %d", body, m.Format, announced, m.Ignored)
		}
		kept, foreign := m.Keep(func(bucket string) bool { return bucket == "trail-bucket" })
		if len(kept.Created)+len(kept.Removed)+len(foreign) != announced {
			t.Errorf("%q: %d kept and foreign of %d", body, len(kept.Created)+len(kept.Removed)+len(foreign), announced)
		}
	})
}

// formats are all that Parse may answer without an error.
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
