package s3server

import (
	"bytes"
	"errors"
	"runtime"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/trailseal/trailseal/internal/testtrail"
)

// Client returns a client with the server's own credentials, for what Put and
// its siblings do not do.
func (s *Server) Client() *s3.Client {
	return s3.New(s3.Options{
		Region: Region, BaseEndpoint: &s.URL, UsePathStyle: true,
		Credentials:                credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
	})
}

// Bucket makes a bucket if it is not there; versioned makes it keep versions.
func (s *Server) Bucket(tb testing.TB, name string, versioned bool) {
	tb.Helper()
	c := s.Client()
	_, err := c.CreateBucket(tb.Context(), &s3.CreateBucketInput{Bucket: &name})
	var mine *types.BucketAlreadyOwnedByYou
	if err != nil && !errors.As(err, &mine) {
		tb.Fatal(err)
	}
	if !versioned {
		return
	}
	_, err = c.PutBucketVersioning(tb.Context(), &s3.PutBucketVersioningInput{
		Bucket: &name, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// Put uploads objects into a bucket.
func (s *Server) Put(tb testing.TB, bucket string, objects map[string]testtrail.Stored) {
	tb.Helper()
	c := s.Client()
	var uploads errgroup.Group
	uploads.SetLimit(4 * runtime.GOMAXPROCS(0))
	for key, o := range objects {
		in := &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(o.Body), Metadata: o.Meta}
		if o.Encoding != "" {
			in.ContentEncoding = &o.Encoding
		}
		uploads.Go(func() error {
			_, err := c.PutObject(tb.Context(), in)
			return err
		})
	}
	if err := uploads.Wait(); err != nil {
		tb.Fatal(err)
	}
}

// PutAll uploads everything that a store holds.
func (s *Server) PutAll(tb testing.TB, from *testtrail.Store) {
	tb.Helper()
	for _, bucket := range from.Buckets() {
		s.Bucket(tb, bucket, false)
		keys, _ := from.Keys(bucket, "")
		objects := make(map[string]testtrail.Stored, len(keys))
		for _, k := range keys {
			objects[k], _ = from.Stored(bucket, k)
		}
		s.Put(tb, bucket, objects)
	}
}
