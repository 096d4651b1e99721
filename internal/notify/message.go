package notify

import "github.com/trailseal/trailseal/pkg/trail"

// Format is the form of a body: one of the constants, so that it can be the
// label of a metric.
type Format string

// The formats.
const (
	S3              Format = "s3" // also by raw delivery of SNS
	S3SNS           Format = "s3-sns"
	EventBridge     Format = "eventbridge"
	EventBridgeSNS  Format = "eventbridge-sns"
	CloudTrailSNS   Format = "cloudtrail-sns"   // raw delivery or not
	Test            Format = "test"             // s3:TestEvent
	Validation      Format = "validation"       // CloudTrail validation message.
	SNSSubscription Format = "sns-subscription" // a person has to confirm it; this program never does
	Unknown         Format = "unknown"
)

// Message is what a body announces.
type Message struct {
	Format  Format
	Created []trail.Object // each once, in the order of the body
	Removed []Removal      // each once, in the order of the body
	Ignored int            // records of other kinds, such as a restore
	Topic   string         // ARN of the SNS topic, empty where the body names none
}

// builder collects what a body announces and drops repetitions.
type builder struct {
	message Message
	created map[name]bool
	removed map[Removal]bool
}

type name struct{ bucket, key string }

func newBuilder(topic string) *builder {
	return &builder{message: Message{Topic: topic}, created: map[name]bool{}, removed: map[Removal]bool{}}
}

// create adds an object that was created. The error wraps ErrUnknown.
func (b *builder) create(o trail.Object) error {
	if err := checkObject(o); err != nil {
		return err
	}
	if n := (name{o.Bucket, o.Key}); !b.created[n] {
		b.created[n] = true
		b.message.Created = append(b.message.Created, o)
	}
	return nil
}

// remove adds the removal of an object. The error wraps ErrUnknown.
func (b *builder) remove(r Removal) error {
	if err := checkObject(r.Object); err != nil {
		return err
	}
	if len(r.VersionID) > maxVersionID {
		return unknown("version id %.100q", r.VersionID)
	}
	r.Object.Size = 0 // says nothing about an object that is gone
	if !b.removed[r] {
		b.removed[r] = true
		b.message.Removed = append(b.message.Removed, r)
	}
	return nil
}
