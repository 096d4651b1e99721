package awsapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// errNoReceipt is an answer with a good status that S3 did not give: whatever
// stands between us may not have passed the object on.
var errNoReceipt = errors.New("the answer has no ETag: it is not that of S3")

// Put stores an object whole, in place of one of the same key; when it returns
// nil the object is durable. encoding is its Content-Encoding, "" for none. S3
// compares the bytes with a checksum that comes with them. After an error the
// object may be stored all the same.
func (s *S3) Put(ctx context.Context, bucket, key string, body []byte, contentType, encoding string) error {
	op := "put s3://" + bucket + "/" + key
	c, err := s.in(ctx, bucket)
	if err != nil {
		return translate(ctx, op, err)
	}
	// A checksum that we compute goes into a header. The SDK's would follow the
	// body, in an encoding that other servers often do not know.
	sum := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(body)))
	in := &s3.PutObjectInput{
		Bucket: &bucket, Key: &key, Body: bytes.NewReader(body), ContentType: &contentType,
		ChecksumCRC32: &sum, ExpectedBucketOwner: s.owner(),
	}
	if encoding != "" {
		in.ContentEncoding = &encoding
	}
	out, err := c.PutObject(ctx, in)
	if err != nil {
		return translate(ctx, op, err)
	}
	if aws.ToString(out.ETag) == "" {
		return fmt.Errorf("%s: %w", op, errNoReceipt)
	}
	return nil
}
