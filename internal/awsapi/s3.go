package awsapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/trailseal/trailseal/pkg/trail"
)

// S3 reads and writes buckets, in whatever region each lies. It implements
// fetch.Objects.
type S3 struct {
	client *Client

	mu      sync.Mutex
	regions map[string]*s3.Client // by region
	buckets map[string]*bucket    // by name
}

// S3 returns a reader of buckets.
func (c *Client) S3() *S3 {
	return &S3{client: c, regions: map[string]*s3.Client{}, buckets: map[string]*bucket{}}
}

// Get opens an object: its stored bytes and its user metadata with lower-case
// names. o.Bucket is a bucket's name, the alias of an access point, or its ARN.
// An object is absent only where S3 says NoSuchKey; an answer that is not S3's
// own is neither an object nor an absent one. A body that ends before its length
// ends with io.ErrUnexpectedEOF, one that stalls with a timeout.
func (s *S3) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	b, err := s.in(ctx, o.Bucket)
	if err != nil {
		return nil, nil, translate(ctx, opGet(o), err)
	}
	d := b.direct
	if d == nil || o.Key == "" {
		return s.getObject(ctx, b, o)
	}
	request, at, err := d.request(ctx, o.Key)
	if err != nil {
		return nil, nil, translate(ctx, opGet(o), err)
	}
	answer, err := d.http.Do(request)
	if d.isObject(answer, err) {
		return &body{answer.Body, ctx, o}, userMetadata(answer.Header), nil
	}
	if d.skewed(answer, at) {
		answer.Body.Close()
		return s.getObject(ctx, b, o) // which knows how far the clocks are apart, or finds out
	}
	first := &answered{HTTPClient: d.http, answer: answer, err: err}
	defer first.close()
	return s.getObject(ctx, b, o, func(o *s3.Options) { o.HTTPClient = first })
}

// getObject opens an object by the SDK's own GetObject.
func (s *S3) getObject(ctx context.Context, b *bucket, o trail.Object, options ...func(*s3.Options)) (io.ReadCloser, map[string]string, error) {
	in := &s3.GetObjectInput{Bucket: &b.sent, Key: &o.Key, ExpectedBucketOwner: s.owner()}
	out, err := b.client.GetObject(ctx, in, append(options, checked(checkObject))...)
	if err != nil {
		return nil, nil, translate(ctx, opGet(o), err)
	}
	meta := make(map[string]string, len(out.Metadata))
	for name, value := range out.Metadata {
		meta[strings.ToLower(name)] = value
	}
	return &body{out.Body, ctx, o}, meta, nil
}

// owner returns the account that buckets must belong to, nil for any.
func (s *S3) owner() *string {
	if s.client.opts.ExpectedBucketOwner == "" {
		return nil
	}
	return &s.client.opts.ExpectedBucketOwner
}

// body names the object in the errors of its reader.
type body struct {
	io.ReadCloser
	ctx    context.Context // of the Get: its end is why a read failed
	object trail.Object
}

func opGet(o trail.Object) string { return "get " + o.String() }

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	op := opGet(b.object)
	switch {
	case b.ctx.Err() != nil:
		return n, fmt.Errorf("%s: %w", op, b.ctx.Err())
	case errors.Is(err, io.ErrUnexpectedEOF):
		return n, fmt.Errorf("%s: %w", op, io.ErrUnexpectedEOF)
	}
	return n, fmt.Errorf("%s: %s", op, innermost(err))
}

// errNoReceipt is an answer with a good status that S3 did not give: whatever
// stands between us may not have passed the object on.
var errNoReceipt = errors.New("the answer has no ETag: it is not that of S3")

// Put stores an object whole, in place of one of the same key; when it returns
// nil the object is durable. encoding is its Content-Encoding, "" for none. S3
// compares the bytes with a checksum that comes with them. After an error the
// object may be stored all the same.
func (s *S3) Put(ctx context.Context, bucket, key string, body []byte, contentType, encoding string) error {
	op := "put s3://" + bucket + "/" + key
	b, err := s.in(ctx, bucket)
	if err != nil {
		return translate(ctx, op, err)
	}
	// A checksum that we compute goes into a header. The SDK's would follow the
	// body, in an encoding that other servers often do not know.
	sum := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(body)))
	in := &s3.PutObjectInput{
		Bucket: &b.sent, Key: &key, Body: bytes.NewReader(body), ContentType: &contentType,
		ChecksumCRC32: &sum, ExpectedBucketOwner: s.owner(),
	}
	if encoding != "" {
		in.ContentEncoding = &encoding
	}
	out, err := b.client.PutObject(ctx, in)
	if err != nil {
		return translate(ctx, op, err)
	}
	if aws.ToString(out.ETag) == "" {
		return fmt.Errorf("%s: %w", op, errNoReceipt)
	}
	return nil
}
