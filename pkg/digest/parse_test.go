package digest_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

func repeat(b byte) (s digest.Sum) {
	for i := range s {
		s[i] = b
	}
	return s
}

func TestParse(t *testing.T) {
	got := parse(t, good)
	newest, oldest := time.Date(2026, 3, 1, 11, 29, 0, 0, time.UTC), time.Date(2026, 3, 1, 11, 21, 0, 0, time.UTC)
	want := &digest.Digest{
		Account: "111122223333", Start: time.Date(2026, 3, 1, 11, 8, 11, 0, time.UTC), End: time.Date(2026, 3, 1, 12, 8, 11, 0, time.UTC),
		EndText: "2026-03-01T12:08:11Z", Bucket: "bucket", Object: object, Fingerprint: "31e8b5433410dfb61a9dc45cc65b22ff",
		SignatureAlgorithm: "SHA256withRSA", Newest: newest, Oldest: oldest,
		Previous: &digest.Previous{Bucket: "bucket", Object: before, Hash: repeat(0xaa), HashAlgorithm: "SHA-256", Signature: "0a0b"},
		Logs:     []digest.Log{{Bucket: "bucket", Object: logKey, Hash: repeat(0xbb), Newest: newest, Oldest: oldest}},
		Sum:      sha256.Sum256([]byte(good)),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for what, o := range map[string]trail.Object{object: got.Location(), before: got.Previous.Location(), logKey: got.Logs[0].Location()} {
		if (o != trail.Object{Bucket: "bucket", Key: what}) {
			t.Errorf("%s: location %+v", what, o)
		}
	}
}

// What AWS may write, or may come to write, is accepted.
func TestParseAccepts(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want func(*digest.Digest) bool
	}{
		"starting digest": {swap(previous, noPrevious), func(d *digest.Digest) bool { return d.Previous == nil }},
		"no log files":    {swap(oneLog, ""), func(d *digest.Digest) bool { return len(d.Logs) == 0 }},
		"logFiles null":   {swap("["+oneLog+"]", "null"), func(d *digest.Digest) bool { return len(d.Logs) == 0 }},
		"null event times": {
			swap(`"newestEventTime":"2026-03-01T11:29:00Z","oldestEventTime":"2026-03-01T11:21:00Z",`+previous, `"newestEventTime":null,"oldestEventTime":null,`+previous),
			func(d *digest.Digest) bool { return d.Newest.IsZero() && d.Oldest.IsZero() },
		},
		"event times in another form": {
			swap(`"newestEventTime":"2026-03-01T11:29:00Z","oldestEventTime":"2026-03-01T11:21:00Z",`+previous, `"newestEventTime":"soon",`+previous),
			func(d *digest.Digest) bool { return d.Newest.IsZero() },
		},
		"escaped slashes":      {strings.ReplaceAll(good, "/", `\/`), func(d *digest.Digest) bool { return d.Object == object }},
		"escaped name":         {swap(`"digestS3Bucket"`, `"\u0064igestS3Bucket"`), func(d *digest.Digest) bool { return d.Bucket == "bucket" }},
		"white space":          {" \n" + strings.ReplaceAll(good, `,"`, " ,\r\n\t\"") + "\n ", func(d *digest.Digest) bool { return len(d.Logs) == 1 }},
		"unknown member":       {swap(`{"aws`, `{"digestVersion":{"a":[1,null]},"aws`), func(d *digest.Digest) bool { return d.Account == "111122223333" }},
		"unknown log member":   {swap(`{"s3Bucket"`, `{"size":12,"s3Bucket"`), func(d *digest.Digest) bool { return len(d.Logs) == 1 }},
		"a homoglyph's member": {swap(`{"aws`, `{"аwsAccountId":"999988887777","aws`), func(d *digest.Digest) bool { return d.Account == "111122223333" }},
		"100,000 log files": {
			swap(oneLog, strings.Repeat(oneLog+",", 99_999)+oneLog),
			func(d *digest.Digest) bool { return len(d.Logs) == 100_000 && d.Logs[99_999].Hash == repeat(0xbb) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := parse(t, tt.text)
			if !tt.want(d) {
				t.Errorf("got %+v", d)
			}
			if d.Sum != sha256.Sum256([]byte(tt.text)) {
				t.Error("the sum is not that of the bytes")
			}
		})
	}
}

func TestParseRejects(t *testing.T) {
	parse(t, good) // the control
	type row struct {
		name, text string
		want       error
	}
	format := func(name, text string) row { return row{name, text, digest.ErrFormat} }
	rows := []row{
		format("empty", ""), format("white space only", " \n"), format("null", "null"), format("text", `"x"`), format("number", "7"),
		format("list", "["+good+"]"), format("empty object", "{}"),
		format("no JSON", "<html>"), format("byte order mark", "\ufeff"+good),
		format("second object", good+good), format("bytes after it", good+"\x00"), format("comma after it", good+","),
		format("comma before the end", good[:len(good)-1]+",}"), format("single quotes", strings.ReplaceAll(good, `"`, "'")),
		format("comment", "/**/"+good),
		format("invalid UTF-8 in a known member", swap(`"bucket","digestS3Object"`, "\"buck\xffet\",\"digestS3Object\"")),
		format("invalid UTF-8 in an unknown member", swap(`{"aws`, "{\"x\":\"\xff\",\"aws")),
		format("invalid UTF-8 in a name", swap(`{"aws`, "{\"\xff\":1,\"aws")),
		format("half of a surrogate pair", swap(`{"aws`, `{"x":"\ud800","aws`)),
		format("duplicate member", swap(`{"aws`, `{"digestS3Bucket":"other","aws`)),
		format("duplicate, the same value", swap(`{"aws`, `{"digestS3Bucket":"bucket","aws`)),
		format("escaped duplicate", swap(`{"aws`, `{"digestS3Buc\u006bet":"other","aws`)),
		format("duplicate null", swap(`{"aws`, `{"previousDigestSignature":null,"aws`)),
		format("duplicate unknown", swap(`{"aws`, `{"x":1,"x":2,"aws`)),
		format("duplicate inside an unknown", swap(`{"aws`, `{"x":{"y":1,"y":2},"aws`)),
		format("duplicate logFiles", swap(`{"aws`, `{"logFiles":[],"aws`)),
		format("duplicate in a log", swap(`{"s3Bucket"`, `{"hashValue":"`+hashA+`","s3Bucket"`)),
		format("case variant beside", swap(`{"aws`, `{"DigestS3Bucket":"other","aws`)),
		format("case variant after", good[:len(good)-1]+`,"LOGFILES":[]}`),
		format("case variant instead", swap(`"logFiles"`, `"logfiles"`)),
		format("Kelvin sign", swap(`{"aws`, `{"digestS3Buc`+"\u212a"+`et":"other","aws`)),
		format("Kelvin sign in escapes", swap(`{"aws`, `{"digestS3Buc\u212aet":"other","aws`)),
		format("long s", swap(`{"aws`, `{"aw`+"\u017f"+`AccountId":"999988887777","aws`)),
		format("case variant in a log", swap(`{"s3Bucket"`, `{"HashValue":"`+hashA+`","s3Bucket"`)),
		format("Kelvin sign in a log", swap(`{"s3Bucket"`, `{"s3Buc`+"\u212a"+`et":"x","s3Bucket"`)),
		format("cyrillic a instead", swap(`"awsAccountId"`, `"аwsAccountId"`)),
		format("start after end", swap(`Time":"2026-03-01T11:08:11Z"`, `Time":"2026-03-01T12:08:12Z"`)),
		format("start at end", swap(`Time":"2026-03-01T11:08:11Z"`, `Time":"2026-03-01T12:08:11Z"`)),
		format("logFiles an object", swap("["+oneLog+"]", oneLog)),
		format("logFiles text", swap("["+oneLog+"]", `"none"`)),
		format("a log that is null", swap(oneLog, "null")),
		format("a log that is a list", swap(oneLog, "[]")),
		format("a log that is empty", swap(oneLog, "{}")),
		format("no comma between logs", swap(oneLog, oneLog+oneLog)),
		format("event time a number", swap(`:"2026-03-01T11:29:00Z","oldestEventTime":"2026-03-01T11:21:00Z",`+previous, `:7,`+previous)),
		format("nesting without end", swap(`{"aws`, `{"x":`+strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000)+`,"aws`)),
		{"unknown signature algorithm", swap("SHA256withRSA", "SHA512withRSA"), digest.ErrAlgorithm},
		{"signature algorithm in another case", swap("SHA256withRSA", "sha256withrsa"), digest.ErrAlgorithm},
		{"unknown hash algorithm of a log", swap(`"hashAlgorithm":"SHA-256"`, `"hashAlgorithm":"MD5"`), digest.ErrAlgorithm},
		{"unknown hash algorithm of the previous", swap(`"previousDigestHashAlgorithm":"SHA-256"`, `"previousDigestHashAlgorithm":"SHA-1"`), digest.ErrAlgorithm},
	}
	for _, hash := range []string{hashA[:63], hashA + "a", strings.ToUpper(hashA), strings.Repeat("g", 64), "", " " + hashA[1:], strings.Repeat("é", 32)} {
		rows = append(rows, format(fmt.Sprintf("previous hash %q", hash), swap(`"`+hashA+`"`, `"`+hash+`"`)),
			format(fmt.Sprintf("log hash %q", hash), swap(`"`+hashB+`"`, `"`+hash+`"`)))
	}
	for _, at := range []string{
		"", "now", "2026-03-01", "2026-03-01T12:08:11", "2026-03-01T12:08:11+00:00", "2026-03-01T12:08:11.0Z", "2026-03-01T12:08:11z",
		"2026-3-1T12:08:11Z", "2026-02-30T12:08:11Z", "2026-03-01T24:00:00Z", "2026-03-01T12:08:60Z", " 2026-03-01T12:08:11Z", "1772366891",
	} {
		rows = append(rows, format(fmt.Sprintf("end time %q", at), swap(`EndTime":"2026-03-01T12:08:11Z"`, `EndTime":"`+at+`"`)),
			format(fmt.Sprintf("start time %q", at), swap(`StartTime":"2026-03-01T11:08:11Z"`, `StartTime":"`+at+`"`)))
	}
	for name, value := range members {
		pair := `"` + name + `":` + value
		rows = append(rows, format(name+" absent", removed(pair)), format(name+" a number", swap(pair, `"`+name+`":7`)),
			format(name+" an object", swap(pair, `"`+name+`":{}`)), format(name+" a list", swap(pair, `"`+name+`":["x"]`)),
			format(name+" true", swap(pair, `"`+name+`":true`)), format(name+" empty", swap(pair, `"`+name+`":""`)))
		if name != "logFiles" {
			rows = append(rows, format(name+" null", swap(pair, `"`+name+`":null`)))
		}
		if strings.HasPrefix(name, "previous") {
			rows = append(rows, format(name+" alone set", strings.Replace(swap(previous, noPrevious), `"`+name+`":null`, pair, 1)))
		}
	}
	for i := range len(good) {
		rows = append(rows, format(fmt.Sprintf("cut off after %d bytes", i), good[:i]))
	}
	for _, tt := range rows {
		d, err := digest.Parse([]byte(tt.text))
		// An empty algorithm is malformed or unknown: both are right.
		if errors.Is(err, digest.ErrAlgorithm) && strings.HasSuffix(tt.name, "Algorithm empty") {
			continue
		}
		if d != nil || !errors.Is(err, tt.want) {
			t.Errorf("%s: got %+v, %v", tt.name, d, err)
		}
	}
}

// members are the required members of good and of its log, as written there.
var members = map[string]string{
	"awsAccountId": `"111122223333"`, "digestStartTime": `"2026-03-01T11:08:11Z"`, "digestEndTime": `"2026-03-01T12:08:11Z"`,
	"digestS3Bucket": `"bucket"`, "digestS3Object": `"` + object + `"`, "digestPublicKeyFingerprint": `"31e8b5433410dfb61a9dc45cc65b22ff"`,
	"digestSignatureAlgorithm": `"SHA256withRSA"`, "previousDigestS3Bucket": `"bucket"`, "previousDigestS3Object": `"` + before + `"`,
	"previousDigestHashValue": `"` + hashA + `"`, "previousDigestHashAlgorithm": `"SHA-256"`, "previousDigestSignature": `"0a0b"`,
	"logFiles": "[" + oneLog + "]",
	"s3Bucket": `"bucket"`, "s3Object": `"` + logKey + `"`, "hashValue": `"` + hashB + `"`, "hashAlgorithm": `"SHA-256"`,
}

// removed returns good without a member and its comma.
func removed(pair string) string {
	if s := swap(pair, "\x00"); strings.Contains(s, "\x00,") {
		return strings.Replace(s, "\x00,", "", 1)
	} else {
		return strings.Replace(s, ",\x00", "", 1)
	}
}

func TestStringToSign(t *testing.T) {
	sum := digest.Sum(sha256.Sum256([]byte(good))).String()
	if got, want := parse(t, good).StringToSign(), "2026-03-01T12:08:11Z\nbucket/"+object+"\n"+sum+"\n0a0b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	first := swap(previous, noPrevious)
	sum = digest.Sum(sha256.Sum256([]byte(first))).String()
	if got, want := parse(t, first).StringToSign(), "2026-03-01T12:08:11Z\nbucket/"+object+"\n"+sum+"\nnull"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	// The decoded values are signed, and the bytes as they are.
	escaped := strings.ReplaceAll(good, "/", `\/`)
	if got := parse(t, escaped).StringToSign(); strings.Contains(got, `\`) || got == parse(t, good).StringToSign() {
		t.Errorf("got %q", got)
	}
}

// The sample digests of AWS's documentation, anonymised.
func TestParseOfDocumentedSamples(t *testing.T) {
	root := os.Getenv("TRAILSEAL_DATA")
	if root == "" {
		t.Skip("TRAILSEAL_DATA is not set: no samples to parse")
	}
	files, err := filepath.Glob(filepath.Join(root, "kat", "*.ok.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		d, err := digest.Parse(b)
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(name), err)
			continue
		}
		key := digestKey(t, d.Object)
		if err := d.CheckLocation(d.Bucket, key); err != nil {
			t.Errorf("%s: %v", filepath.Base(name), err)
		}
		for _, l := range d.Logs {
			if err := d.CheckLog(l, key.Place); err != nil {
				t.Errorf("%s: %v", filepath.Base(name), err)
			}
		}
	}
}

// A planted digest must not make a report long.
func TestParseErrorsAreShort(t *testing.T) {
	long := strings.Repeat("a", 100_000)
	for _, text := range []string{
		swap(`"SHA256withRSA"`, `"`+long+`"`), swap(`"31e8b5433410dfb61a9dc45cc65b22ff"`, `"`+long+`"`), swap(`"0a0b"`, `"`+long+`"`),
		swap(`"digestStartTime":"`, `"digestStartTime":"`+long), swap(hashA, long),
		swap(`{"aws`, `{"`+long+`":1,"`+long+`":1,"aws`), swap(`{"aws`, `{"`+long+`":{"b":[}`),
	} {
		_, err := digest.Parse([]byte(text))
		if !errors.Is(err, digest.ErrFormat) && !errors.Is(err, digest.ErrAlgorithm) {
			t.Errorf("error %.300v", err)
		} else if len(err.Error()) > 1000 {
			t.Errorf("an error of %d bytes: %.300v", len(err.Error()), err)
		}
	}
}
