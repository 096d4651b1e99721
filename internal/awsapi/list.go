package awsapi

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Answers that are not listings, and listings that cannot be relied on. One that
// silently lacks objects would be taken for evidence that they are gone.
var (
	errNoListing = errors.New("the answer is not a listing")
	errOrder     = errors.New("keys come in no order")
	errRepeats   = errors.New("pages repeat")
)

// List yields the objects whose key begins with prefix and sorts after after,
// in byte order of the keys.
func (s *S3) List(ctx context.Context, bucket, prefix, after string) iter.Seq2[trail.Object, error] {
	return func(yield func(trail.Object, error) bool) {
		op := "list s3://" + bucket + "/" + prefix
		in := s.listing(bucket, prefix)
		if after != "" {
			in.StartAfter = &after
		}
		last := after
		for page, err := range s.pages(ctx, in) {
			if err != nil {
				yield(trail.Object{}, translate(ctx, op, err))
				return
			}
			for _, c := range page.Contents {
				o := trail.Object{Bucket: bucket, Size: aws.ToInt64(c.Size), Modified: aws.ToTime(c.LastModified).UTC()}
				if o.Key, err = decoded(page, c.Key); err == nil {
					err = inOrder(o.Key, prefix, last)
				}
				if err != nil {
					yield(trail.Object{}, fmt.Errorf("%s: %w", op, err))
					return
				}
				last = o.Key
				if !yield(o, nil) {
					return
				}
			}
		}
	}
}

// Children yields the objects and the folders one level below prefix, in byte
// order.
func (s *S3) Children(ctx context.Context, bucket, prefix string) iter.Seq2[trail.Object, error] {
	return func(yield func(trail.Object, error) bool) {
		op := "list s3://" + bucket + "/" + prefix
		in := s.listing(bucket, prefix)
		in.Delimiter = aws.String("/")
		last := ""
		for page, err := range s.pages(ctx, in) {
			if err != nil {
				yield(trail.Object{}, translate(ctx, op, err))
				return
			}
			found, err := children(bucket, page)
			if err != nil {
				yield(trail.Object{}, fmt.Errorf("%s: %w", op, err))
				return
			}
			for _, o := range found {
				if err := inOrder(o.Key, prefix, last); err != nil {
					yield(trail.Object{}, fmt.Errorf("%s: %w", op, err))
					return
				}
				last = o.Key
				if !yield(o, nil) {
					return
				}
			}
		}
	}
}

// children returns a page's objects and folders in byte order. S3 has them in
// two lists.
func children(bucket string, page *s3.ListObjectsV2Output) ([]trail.Object, error) {
	var found []trail.Object
	for _, c := range page.Contents {
		key, err := decoded(page, c.Key)
		if err != nil {
			return nil, err
		}
		found = append(found, trail.Object{Bucket: bucket, Key: key, Size: aws.ToInt64(c.Size), Modified: aws.ToTime(c.LastModified).UTC()})
	}
	for _, p := range page.CommonPrefixes {
		folder, err := decoded(page, p.Prefix)
		if err != nil {
			return nil, err
		}
		found = append(found, trail.Object{Bucket: bucket, Key: folder})
	}
	slices.SortFunc(found, func(a, b trail.Object) int { return strings.Compare(a.Key, b.Key) })
	return found, nil
}

// listing asks for URL-encoded keys: XML cannot hold every byte that a key can.
func (s *S3) listing(bucket, prefix string) *s3.ListObjectsV2Input {
	in := &s3.ListObjectsV2Input{Bucket: &bucket, EncodingType: types.EncodingTypeUrl, ExpectedBucketOwner: s.owner()}
	if prefix != "" {
		in.Prefix = &prefix
	}
	return in
}

// pages yields the pages of a listing and, last, at most one error.
func (s *S3) pages(ctx context.Context, in *s3.ListObjectsV2Input) iter.Seq2[*s3.ListObjectsV2Output, error] {
	return func(yield func(*s3.ListObjectsV2Output, error) bool) {
		b, err := s.in(ctx, *in.Bucket)
		if err != nil {
			yield(nil, err)
			return
		}
		in.Bucket = &b.sent
		for {
			page, err := b.client.ListObjectsV2(ctx, in, checked(checkListing))
			if err != nil {
				yield(nil, err)
				return
			}
			// S3 always says whether there is more. An empty body does not.
			if page.IsTruncated == nil {
				yield(nil, errNoListing)
				return
			}
			if !yield(page, nil) || !*page.IsTruncated {
				return
			}
			next := aws.ToString(page.NextContinuationToken)
			if next == "" || next == aws.ToString(in.ContinuationToken) {
				yield(nil, errRepeats)
				return
			}
			in.ContinuationToken = &next
		}
	}
}

// decoded returns a key of a page. A server that does not know the encoding
// does not repeat it.
func decoded(page *s3.ListObjectsV2Output, key *string) (string, error) {
	if page.EncodingType != types.EncodingTypeUrl {
		return aws.ToString(key), nil
	}
	k, err := url.QueryUnescape(aws.ToString(key))
	if err != nil {
		return "", fmt.Errorf("%q: %w", aws.ToString(key), errNoListing)
	}
	return k, nil
}

// inOrder holds a server to the order that walks rely on. Not every one that
// speaks the protocol keeps it.
func inOrder(key, prefix, last string) error {
	if key <= last || !strings.HasPrefix(key, prefix) {
		return fmt.Errorf("%q after %q: %w", key, last, errOrder)
	}
	return nil
}
