package notify

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Limits of a body. SQS takes 1 MiB. The deepest known body, an S3 event, has
// five levels.
const (
	MaxBody  = 1 << 20 // bytes
	maxDepth = 32
)

// ErrUnknown says that a body has no known form. The message must stay in the
// queue, so that its redrive policy keeps it for a person to look at.
var ErrUnknown = errors.New("unknown notification")

// Parse reads a body. If the body has no known form, or a part of it has not,
// the error wraps ErrUnknown, and the message is empty with the format Unknown.
func Parse(body []byte) (Message, error) {
	m, err := parse(body, "")
	if err != nil {
		return Message{Format: Unknown}, fmt.Errorf("notification: %w", err)
	}
	return m, nil
}

// body has the members that tell the forms apart. Their values are parsed when
// the form is known: a member of the same name in another form may have any type.
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

// parse reads a body. If topic is not empty, b is what that SNS topic wrapped.
func parse(b []byte, topic string) (Message, error) {
	if len(b) > MaxBody {
		return Message{}, unknown("%d bytes", len(b))
	}
	b = bytes.TrimSpace(b)
	if string(b) == validation {
		return Message{Format: Validation, Topic: topic}, nil
	}
	if err := checkJSON(b); err != nil {
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

// announced reads a body that is not an envelope.
func (in body) announced(topic string) (Message, error) {
	b := newBuilder(topic)
	plain, wrapped, err := Unknown, Unknown, unknown("no known form")
	switch {
	case in.Records != nil:
		plain, wrapped, err = S3, S3SNS, b.records(in.Records)
	case in.Source != nil && in.DetailType != nil:
		plain, wrapped, err = EventBridge, EventBridgeSNS, b.eventBridge(in)
	case in.S3ObjectKey != nil:
		plain, wrapped, err = CloudTrailSNS, CloudTrailSNS, b.cloudTrail(in)
	case in.Event != nil:
		plain, wrapped, err = Test, Test, in.test()
	}
	if b.message.Format = plain; topic != "" {
		b.message.Format = wrapped
	}
	return b.message, err
}

// envelope opens what SNS wrapped. It opens one envelope only, because a topic
// cannot subscribe to a topic.
func (in body) envelope() (Message, error) {
	kind, err := text(in.Type)
	if err != nil {
		return Message{}, err
	}
	topic, err := text(in.TopicARN)
	if err != nil {
		return Message{}, err
	}
	switch {
	case topic == "":
	case kind == "SubscriptionConfirmation", kind == "UnsubscribeConfirmation":
		return Message{Format: SNSSubscription, Topic: topic}, nil
	case kind == "Notification" && in.Message != nil:
		message, err := text(in.Message)
		if err != nil {
			return Message{}, err
		}
		return parse([]byte(message), topic)
	}
	return Message{}, unknown("SNS envelope of type %.40q", kind)
}

func (in body) test() error {
	event, err := text(in.Event)
	if err != nil {
		return err
	}
	if event != "s3:TestEvent" {
		return unknown("event %.40q", event)
	}
	return nil
}

// checkJSON accepts one JSON value of bounded depth, in valid UTF-8. It refuses
// an object with two members of one name: readers would choose different ones.
// Unmarshal refuses what follows the value.
func checkJSON(b []byte) error {
	for d := jsontext.NewDecoder(bytes.NewReader(b)); ; {
		if _, err := d.ReadToken(); err != nil {
			return syntax(err)
		}
		if d.StackDepth() > maxDepth {
			return unknown("more than %d levels", maxDepth)
		}
		if d.StackDepth() == 0 {
			return nil
		}
	}
}

// text returns the string that v holds. It is empty if v is absent or null.
func text(v jsontext.Value) (s string, err error) {
	if v == nil {
		return "", nil
	}
	err = unmarshal(v, &s)
	return s, err
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
