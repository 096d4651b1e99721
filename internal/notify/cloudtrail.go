package notify

import "github.com/trailseal/trailseal/pkg/trail"

// validation is the whole body that CloudTrail sends when a topic is set up.
const validation = "CloudTrail validation message."

// cloudTrail reads CloudTrail's own notification. It announces what CloudTrail
// delivered, never a removal. Its keys are verbatim.
func (b *builder) cloudTrail(in body) error {
	bucket, err := text(in.S3Bucket)
	if err != nil {
		return err
	}
	var keys []string
	if err := unmarshal(in.S3ObjectKey, &keys); err != nil {
		return err
	}
	if len(keys) == 0 {
		return unknown("no keys")
	}
	for _, key := range keys {
		if err := b.create(trail.Object{Bucket: bucket, Key: key}); err != nil {
			return err
		}
	}
	return nil
}
