package trail

import (
	"time"
)

// Object is one object of a bucket, as listed or as named by a digest.
type Object struct {
	Bucket   string
	Key      string
	Size     int64     // stored bytes; 0 when unknown
	Modified time.Time // zero when unknown
}

// String returns s3://BUCKET/KEY, or the key alone where no bucket is known
// (a folder).
func (o Object) String() string {
	if o.Bucket == "" {
		return o.Key
	}
	return "s3://" + o.Bucket + "/" + o.Key
}
