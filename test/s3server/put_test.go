package s3server_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/sink/s3"
	"github.com/trailseal/trailseal/internal/sink/sinktest"
	"github.com/trailseal/trailseal/pkg/trail"
	"github.com/trailseal/trailseal/test/s3server"
)

// What is put comes back as it was, with the checksum that came with it.
func TestPut(t *testing.T) {
	const bucket, key = "written", "a b/ä+%2F/new.ndjson.gz"
	s := s3server.Start(t)
	s.Bucket(t, bucket, false)
	objects := open(t, s)
	for _, body := range [][]byte{[]byte("first"), bytes.Repeat([]byte("0123456789"), 800_000), []byte("third")} {
		if err := objects.Put(t.Context(), bucket, key, body, "application/x-ndjson", "gzip"); err != nil {
			t.Fatal(err)
		}
		got, _, err := objects.Get(t.Context(), trail.Object{Bucket: bucket, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(got)
		if err := errors.Join(err, got.Close()); err != nil || !bytes.Equal(b, body) {
			t.Errorf("%d bytes, %v; want %d", len(b), err, len(body))
		}
	}
	bucketName, keyName := bucket, key
	head, err := s.Client().HeadObject(t.Context(), &awss3.HeadObjectInput{Bucket: &bucketName, Key: &keyName, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		t.Fatal(err)
	}
	if aws.ToString(head.ContentType) != "application/x-ndjson" || aws.ToString(head.ContentEncoding) != "gzip" || aws.ToString(head.ChecksumCRC32) == "" {
		t.Errorf("type %q, encoding %q, checksum %q", aws.ToString(head.ContentType), aws.ToString(head.ContentEncoding), aws.ToString(head.ChecksumCRC32))
	}
	if err := objects.Put(t.Context(), "absent-bucket", key, []byte("x"), "", ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent bucket: %v", err)
	}
	denied := open(t, s, "AWS_SECRET_ACCESS_KEY=wrong")
	if err := denied.Put(t.Context(), bucket, key, []byte("x"), "", ""); !errors.Is(err, awsapi.ErrCredentials) {
		t.Errorf("wrong secret: %v", err)
	}
}

// The sink over the adapter over a server that is not ours: every batch is one
// object, whatever is repeated and at the same time.
func TestSink(t *testing.T) {
	const bucket = "sink"
	s := s3server.Start(t)
	s.Bucket(t, bucket, false)
	objects := open(t, s)
	out, err := s3.New(objects, s3.Options{Bucket: bucket, Prefix: "events"})
	if err != nil {
		t.Fatal(err)
	}
	const batches = 20
	var wg sync.WaitGroup
	for n := range 2 * batches {
		wg.Go(func() {
			if err := out.Emit(t.Context(), sinktest.Batch(n%batches, 1+n%batches)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	keys := list(t, objects, bucket)
	if len(keys) != batches {
		t.Fatalf("%d objects: %q", len(keys), keys)
	}
	for n := range batches {
		b := sinktest.Batch(n, 1+n)
		body, _, err := objects.Get(t.Context(), trail.Object{Bucket: bucket, Key: out.Key(b)})
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(body)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(z)
		if err := errors.Join(err, body.Close()); err != nil || !bytes.Equal(got, sink.Trailseal.AppendLines(nil, &b)) {
			t.Errorf("%s: %.80q, %v", out.Key(b), got, err)
		}
		if !strings.HasPrefix(out.Key(b), "events/trail-bucket/p/AWSLogs/") {
			t.Errorf("key %s", out.Key(b))
		}
	}
}
