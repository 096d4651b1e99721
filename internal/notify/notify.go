package notify

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Limits of a body. SQS takes 1 MiB; the deepest body that is known, an S3
// event, has five levels.
const (
	MaxBody  = 1 << 20
	maxDepth = 32
)

// ErrUnknown says that a body has none of the known forms. It must stay in the
// queue: the redrive policy keeps it for a person to look at.
var ErrUnknown = errors.New("unknown notification")

// Format is the form of a body: one of the constants, so that it can be the
// label of a metric.
type Format string

// The forms of AWS's user guides: S3 (event message structure, EventBridge
// events), SNS (message formats), CloudTrail (notifications for log delivery).
const (
	S3              Format = "s3" // of SNS's raw delivery too
	S3SNS           Format = "s3-sns"
	EventBridge     Format = "eventbridge"
	EventBridgeSNS  Format = "eventbridge-sns"
	CloudTrailSNS   Format = "cloudtrail-sns"   // raw delivery or not
	Test            Format = "test"             // s3:TestEvent
	Validation      Format = "validation"       // CloudTrail validation message.
	SNSSubscription Format = "sns-subscription" // someone has to confirm; never by this program
	Unknown         Format = "unknown"
)

// Message is what a body announces.
type Message struct {
	Format  Format
	Created []trail.Object // each once, in the order of the body
	Removed []trail.Object // deleted or expired: below AWSLogs a sign of tampering
	Ignored int            // records of other kinds, such as a restore
	Topic   string         // ARN of the SNS topic, where the body names one
}

// Parse reads a body. Where it has no known form, the error wraps ErrUnknown
// and the format is Unknown: a body announces all that it holds or nothing.
func Parse(body []byte) (Message, error) {
	m, err := parse(body, "")
	if err != nil {
		return Message{Format: Unknown}, fmt.Errorf("notification: %w", err)
	}
	return m, nil
}

// Keep divides the announced objects: the message that it returns has those in
// allowed buckets, foreign are the others, created and removed.
func (m Message) Keep(allowed func(bucket string) bool) (kept Message, foreign []trail.Object) {
	own := func(all []trail.Object) (own []trail.Object) {
		for _, o := range all {
			if allowed(o.Bucket) {
				own = append(own, o)
			} else {
				foreign = append(foreign, o)
			}
		}
		return own
	}
	m.Created, m.Removed = own(m.Created), own(m.Removed)
	return m, foreign
}

// body has the members by which forms are told apart, not yet looked into:
// another form's member of the same name may be of any type.
type body struct {
	Records     jsontext.Value `json:"Records"` // S3
	Event       jsontext.Value `json:"Event"`   // S3's test
	Type        jsontext.Value `json:"Type"`    // SNS
	TopicARN    jsontext.Value `json:"TopicArn"`
	Message     jsontext.Value `json:"Message"`
	Source      jsontext.Value `json:"source"` // EventBridge
	DetailType  jsontext.Value `json:"detail-type"`
	Detail      jsontext.Value `json:"detail"`
	S3Bucket    jsontext.Value `json:"s3Bucket"` // CloudTrail
	S3ObjectKey jsontext.Value `json:"s3ObjectKey"`
}

// parse reads a body or, where topic is set, what that SNS topic has wrapped.
func parse(b []byte, topic string) (Message, error) {
	if len(b) > MaxBody {
		return Message{}, unknown("%d bytes", len(b))
	}
	b = bytes.TrimSpace(b)
	if string(b) == "CloudTrail validation message." {
		return Message{Format: Validation, Topic: topic}, nil
	}
	if err := checkDepth(b); err != nil {
		return Message{}, err
	}
	var in body
	if err := unmarshal(b, &in); err != nil {
		return Message{}, err
	}
	if in.Type != nil && in.TopicARN != nil && topic == "" {
		return in.envelope()
	}
	return in.announced(topic)
}

// announced reads what is not, or no longer, in an envelope.
func (in body) announced(topic string) (Message, error) {
	a := announcement{Message: Message{Topic: topic}, seen: map[seen]bool{}}
	plain, wrapped, err := Unknown, Unknown, unknown("no known form")
	switch {
	case in.Records != nil:
		plain, wrapped, err = S3, S3SNS, a.records(in.Records)
	case in.Source != nil && in.DetailType != nil:
		plain, wrapped, err = EventBridge, EventBridgeSNS, a.eventBridge(in)
	case in.S3ObjectKey != nil:
		plain, wrapped, err = CloudTrailSNS, CloudTrailSNS, a.cloudTrail(in)
	case in.Event != nil:
		plain, wrapped, err = Test, Test, in.test()
	}
	if a.Format = plain; topic != "" {
		a.Format = wrapped
	}
	return a.Message, err
}

// envelope opens what SNS has wrapped, once: a topic cannot subscribe to a
// topic.
func (in body) envelope() (Message, error) {
	var kind, topic, message string
	if err := errors.Join(unmarshal(in.Type, &kind), unmarshal(in.TopicARN, &topic)); err != nil {
		return Message{}, err
	}
	switch {
	case topic == "":
	case kind == "SubscriptionConfirmation", kind == "UnsubscribeConfirmation":
		return Message{Format: SNSSubscription, Topic: topic}, nil
	case kind == "Notification" && in.Message != nil:
		if err := unmarshal(in.Message, &message); err != nil {
			return Message{}, err
		}
		return parse([]byte(message), topic)
	}
	return Message{}, unknown("SNS envelope of type %.40q", kind)
}

func (in body) test() error {
	var event string
	if err := unmarshal(in.Event, &event); err != nil {
		return err
	}
	if event != "s3:TestEvent" {
		return unknown("event %.40q", event)
	}
	return nil
}

// checkDepth holds a body to one JSON value of bounded depth, in valid UTF-8
// and without a name twice, of which readers would choose different ones.
func checkDepth(b []byte) error {
	for d := jsontext.NewDecoder(bytes.NewReader(b)); ; {
		if _, err := d.ReadToken(); err != nil {
			return syntax(err)
		}
		if d.StackDepth() > maxDepth {
			return unknown("more than %d levels", maxDepth)
		}
		if d.StackDepth() == 0 {
			return nil // what may follow, Unmarshal finds
		}
	}
}

func unmarshal(b []byte, v any) error { return syntax(json.Unmarshal(b, v)) }

func syntax(err error) error {
	if err == nil {
		return nil
	}
	return unknown("%.200s", err)
}

func unknown(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrUnknown)
}
