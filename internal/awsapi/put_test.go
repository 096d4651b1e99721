package awsapi_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/sink/s3"
	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/pkg/finding"
)

var _ s3.Putter = (*awsapi.S3)(nil)

const (
	newKey = "a b/ä+%2F/new.ndjson.gz"
	ndjson = "application/x-ndjson"
)

func TestPut(t *testing.T) {
	server, objects, _ := faulty(t)
	for _, body := range []string{"first", "second, longer", "", "3"} {
		if err := objects.Put(t.Context(), bucket, newKey, []byte(body), ndjson, "gzip"); err != nil {
			t.Fatal(err)
		}
		if got, ok := server.World.Stored(bucket, newKey); !ok || string(got.Body) != body || got.Encoding != "gzip" {
			t.Errorf("stored %q, %q; want %q", got.Body, got.Encoding, body)
		}
	}
	if err := objects.Put(t.Context(), bucket, "plain", []byte("x"), ndjson, ""); err != nil {
		t.Fatal(err)
	}
	if got, _ := server.World.Stored(bucket, "plain"); got.Encoding != "" {
		t.Errorf("encoding %q", got.Encoding)
	}
	n := server.Requests()
	if n["PutObject"] != 5 || n["HeadBucket"] != 1 || len(n) != 2 {
		t.Errorf("requests %v", n)
	}
}

// Every fault of a write, beside the write without one.
func TestPutFaults(t *testing.T) {
	const where = "put s3://" + bucket + "/" + newKey + ": "
	for _, tt := range []struct {
		name   string
		fault  testaws.Fault
		ok     bool
		stored bool
		is     []error
		text   string
	}{
		{"control", testaws.Fault{Key: "another"}, true, true, nil, ""},
		{"internal error, twice", testaws.Fault{Status: 500, Code: "InternalError", Message: "x", Times: 2}, true, true, nil, ""},
		{"reset, twice", testaws.Fault{Reset: true, Times: 2}, true, true, nil, ""},
		{"stored, then reset", testaws.Fault{Reset: true, After: true, Times: 1}, true, true, nil, ""},
		{"stored, then 503", testaws.Fault{Status: 503, Code: "SlowDown", After: true, Times: 1}, true, true, nil, ""},
		{"stored, then no answer for ever", testaws.Fault{Reset: true, After: true}, false, true, nil, ""},
		{"slow", testaws.Fault{Delay: 100 * time.Millisecond, Times: 1}, true, true, nil, ""},
		{"denied", testaws.AccessDenied(), false, false, []error{fs.ErrPermission}, where + "AccessDenied: Access Denied"},
		{"key denied", testaws.KMSDenied(), false, false, []error{finding.ErrKMSDenied}, "kms:Decrypt"},
		{"bucket gone", testaws.NoSuchBucket(), false, false, []error{fs.ErrNotExist, finding.ErrNoBucket}, where + "NoSuchBucket"},
		{"slow down for ever", testaws.SlowDown(), false, false, []error{finding.ErrThrottled}, where + "SlowDown"},
		{"internal error for ever", testaws.InternalError(), false, false, nil, where + "InternalError"},
		{"reset for ever", testaws.Fault{Reset: true}, false, false, nil, ""},
		{"no answer for ever", testaws.Fault{Delay: 2 * time.Second}, false, false, nil, "timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, objects, _ := faulty(t)
			f := tt.fault
			f.Op = "PutObject"
			server.Fail(f)
			body := bytes.Repeat([]byte("line\n"), 20_000)
			err := objects.Put(t.Context(), bucket, newKey, body, ndjson, "gzip")
			if tt.ok && err != nil {
				t.Fatal(err)
			}
			if !tt.ok {
				expect(t, err, tt.text, tt.is...)
			}
			if got, there := server.World.Stored(bucket, newKey); there != tt.stored || there && !bytes.Equal(got.Body, body) {
				t.Errorf("stored %v, %d bytes", there, len(got.Body))
			}
		})
	}
}

func TestPutCancelled(t *testing.T) {
	server, objects, _ := faulty(t)
	server.Fail(testaws.Fault{Op: "PutObject", Delay: time.Minute})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	expect(t, objects.Put(ctx, bucket, newKey, []byte("x"), ndjson, ""), "put s3://", context.DeadlineExceeded)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("returned after %v", took)
	}
}

// Buckets of somebody else get nothing.
func TestPutOwner(t *testing.T) {
	w, _ := world()
	serve(t, w)
	for owner, ok := range map[string]bool{testaws.Account: true, "999999999999": false} {
		s := load(t, func(o *awsapi.Options) { o.ExpectedBucketOwner = owner }).S3()
		err := s.Put(t.Context(), bucket, "o/"+owner, []byte("x"), ndjson, "")
		if ok != (err == nil) || !ok && !errors.Is(err, fs.ErrPermission) {
			t.Errorf("owner %s: %v", owner, err)
		}
		if _, there := w.Stored(bucket, "o/"+owner); there != ok {
			t.Errorf("owner %s: stored %v", owner, there)
		}
	}
}

// Something that answers everything with 200 has stored nothing.
func TestPutForeignAnswer(t *testing.T) {
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	defer foreign.Close()
	w, _ := world()
	serve(t, w)
	s := load(t, func(o *awsapi.Options) { o.Endpoint = foreign.URL }).S3()
	expect(t, s.Put(t.Context(), bucket, newKey, []byte("x"), ndjson, ""), "no ETag")
}
