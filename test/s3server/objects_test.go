package s3server_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/fetch/objectstest"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
	"github.com/trailseal/trailseal/test/s3server"
)

// open returns our adapter as it finds the server through the environment;
// more are further settings, NAME=VALUE.
func open(t *testing.T, s *s3server.Server, more ...string) *awsapi.S3 {
	t.Helper()
	for _, kv := range append(s.Env(), more...) {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
	c, err := awsapi.Load(t.Context(), awsapi.Options{MaxBackoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return c.S3()
}

func TestObjects(t *testing.T) {
	objectstest.Run(t, func(t *testing.T, contents objectstest.Contents) fetch.Objects {
		s := s3server.Start(t)
		for bucket, objects := range contents {
			s.Bucket(t, bucket, false)
			s.Put(t, bucket, objects)
		}
		return open(t, s)
	}, objectstest.Options{NoNesting: true, NoOddKeys: true})
}

// A whole signed trail goes through a server that is not ours and comes back
// verified.
func TestTrail(t *testing.T) {
	w := testtrail.New()
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	tr := w.Trail(testtrail.Options{Prefix: "a/b", Organization: "o-0123456789"})
	chain := tr.Chain("111122223333", "eu-west-1", start)
	chain.Hours(6)
	s := s3server.Start(t)
	s.PutAll(t, w.Store)
	f := fetch.New(open(t, s), 8)
	keys, err := w.PublicKeys(t.Context(), "eu-west-1", start, start.Add(12*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	var listed []trail.Object
	for o, err := range f.Objects.List(t.Context(), tr.Bucket, chain.Place().Folder(trail.DigestFolder), "") {
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, o)
	}
	if len(listed) != len(chain.Issued) {
		t.Fatalf("%d digests are listed, %d were delivered", len(listed), len(chain.Issued))
	}
	logs := 0
	for _, o := range listed {
		logs += verify(t, f, o, keys)
	}
	if logs != 12 {
		t.Errorf("%d logs are proven, want 12", logs)
	}

	// The control is done; now one log is overwritten.
	victim := chain.Issued[3].Logs[0]
	s.Put(t, victim.Bucket, map[string]testtrail.Stored{victim.Key: {Body: testtrail.Gzip(w.Log(1)), Encoding: "gzip"}})
	file, err := f.Digest(t.Context(), trail.Object{Bucket: tr.Bucket, Key: chain.Issued[3].Key})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range file.Digest.Logs {
		_, err := f.Log(t.Context(), l)
		if modified := errors.Is(err, digest.ErrModified); modified != (l.Location().Key == victim.Key) {
			t.Errorf("%s: %v", l.Location(), err)
		}
	}
}

// verify proves one digest and its logs and returns how many logs there are.
func verify(t *testing.T, f *fetch.Fetcher, o trail.Object, keys digest.KeySet) int {
	t.Helper()
	file, err := f.Digest(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	d := file.Digest
	sig, err := digest.Signature(file.Meta)
	if err != nil {
		t.Fatalf("%s: %v", o, err)
	}
	key, err := keys.Find("eu-west-1", d.Fingerprint, d.End)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Verify(key, sig); err != nil {
		t.Errorf("%s: %v", o, err)
	}
	for _, l := range d.Logs {
		if _, err := f.Log(t.Context(), l); err != nil {
			t.Errorf("%s: %v", l.Location(), err)
		}
	}
	return len(d.Logs)
}

// A get reads the newest version; a delete marker is absence, in lists too.
func TestVersions(t *testing.T) {
	const bucket, key = "versions", "AWSLogs/x.json.gz"
	s := s3server.Start(t)
	s.Bucket(t, bucket, true)
	objects := open(t, s)
	o := trail.Object{Bucket: bucket, Key: key}
	for _, want := range []string{"one", "two", "three"} {
		s.Put(t, bucket, map[string]testtrail.Stored{key: {Body: []byte(want), Meta: map[string]string{"signature": want}}})
		body, meta, err := objects.Get(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		if err := errors.Join(err, body.Close()); err != nil || !bytes.Equal(got, []byte(want)) || meta["signature"] != want {
			t.Errorf("got %q, %v, %v, want %q", got, meta, err, want)
		}
		if keys := list(t, objects, bucket); len(keys) != 1 {
			t.Errorf("listed %q", keys)
		}
	}
	if _, err := s.Client().DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &o.Bucket, Key: &o.Key}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := objects.Get(t.Context(), o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("behind a delete marker: %v", err)
	}
	if keys := list(t, objects, bucket); len(keys) != 0 {
		t.Errorf("behind a delete marker %q is listed", keys)
	}
	v, err := s.Client().ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &o.Bucket})
	if err != nil || len(v.Versions) != 3 || len(v.DeleteMarkers) != 1 {
		t.Errorf("the server keeps %d versions and %d delete markers, %v", len(v.Versions), len(v.DeleteMarkers), err)
	}
}

// The server checks signatures, so these show that ours are right, and what a
// refusal looks like.
func TestSignatures(t *testing.T) {
	const bucket, key = "signatures", "a b/ä+%2F.json.gz"
	s := s3server.Start(t)
	s.Bucket(t, bucket, false)
	s.Put(t, bucket, map[string]testtrail.Stored{key: {Body: []byte("x")}})
	for _, tt := range []struct {
		name   string
		change string
		is     []error
	}{
		{"control", "NONE=", nil},
		{"wrong secret", "AWS_SECRET_ACCESS_KEY=wrong", []error{fs.ErrPermission, awsapi.ErrCredentials}},
		// S3 itself says InvalidAccessKeyId; this server says 404 with a code of
		// its own, which must not make the object absent.
		{"unknown key", "AWS_ACCESS_KEY_ID=AKIAUNKNOWN", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			objects := open(t, s, tt.change)
			body, _, err := objects.Get(t.Context(), trail.Object{Bucket: bucket, Key: key})
			var lists error
			for _, lists = range objects.List(t.Context(), bucket, "a b/", "") {
			}
			if tt.name == "control" {
				if err := errors.Join(err, lists); err != nil {
					t.Fatal(err)
				}
				_ = body.Close()
				return
			}
			for op, err := range map[string]error{"get": err, "list": lists} {
				if err == nil || finding.IsFact(err) {
					t.Errorf("%s: %v, want an error that is no fact", op, err)
				}
				for _, want := range tt.is {
					if !errors.Is(err, want) {
						t.Errorf("%s: %v, want %v", op, err, want)
					}
				}
			}
		})
	}
}

func list(t *testing.T, objects fetch.Objects, bucket string) (keys []string) {
	t.Helper()
	for o, err := range objects.List(t.Context(), bucket, "", "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}
