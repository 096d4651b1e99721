package awsapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Limits of SQS.
const (
	MaxReceive = 10               // messages of one Receive
	MaxWait    = 20 * time.Second // of one Receive
	batchSize  = 10               // entries of one request
)

// ErrReceipt says that a receipt is good no longer: the message is gone, or
// can be received again and will be.
var ErrReceipt = errors.New("the receipt is not valid any more")

var (
	errQueueURL = errors.New("not the URL of a queue")
	errNoAnswer = errors.New("the answer says nothing about it")
	errQueue    = errors.New("the answer is no list of attributes")
)

// Message is one delivery of a message.
type Message struct {
	ID       string // the same in every delivery
	Receipt  string // this delivery's
	Body     []byte
	Sent     time.Time // zero when unknown
	Receives int       // deliveries so far, about; at least 1
}

// Queue receives from one SQS queue. It is safe for concurrent use and retries
// transient errors itself.
type Queue struct {
	client  *sqs.Client
	patient *sqs.Client // its connections outlast a long poll
	url     string
}

// Queue returns the queue with a URL such as
// https://sqs.eu-west-1.amazonaws.com/111122223333/trail. The region is the
// URL's or, where its host names none, the configured one.
func (c *Client) Queue(address string) (*Queue, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || strings.Trim(u.Path, "/") == "" {
		return nil, fmt.Errorf("queue %q: %w", address, errQueueURL)
	}
	region := cmp.Or(queueRegion(u.Hostname()), c.cfg.Region)
	if region == "" {
		return nil, fmt.Errorf("queue %s: %w", address, ErrRegion)
	}
	options := func(o *sqs.Options) {
		o.Region = region
		if c.opts.Endpoint != "" {
			o.BaseEndpoint = &c.opts.Endpoint
		}
	}
	return &Queue{
		url:     address,
		client:  sqs.NewFromConfig(c.cfg, options),
		patient: sqs.NewFromConfig(c.cfg, options, func(o *sqs.Options) { o.HTTPClient = c.patient }),
	}, nil
}

// queueRegion finds the region in a host of AWS: sqs.REGION.amazonaws.com,
// with sqs-fips, a VPC endpoint's name before it, or another partition's
// domain; or REGION.queue.amazonaws.com of old.
func queueRegion(host string) string {
	if net.ParseIP(host) != nil {
		return ""
	}
	labels := strings.Split(host, ".")
	for i, l := range labels {
		switch {
		case (l == "sqs" || l == "sqs-fips") && i+1 < len(labels) && trail.ValidRegion(labels[i+1]):
			return labels[i+1]
		case l == "queue" && i > 0 && trail.ValidRegion(labels[i-1]):
			return labels[i-1]
		}
	}
	return ""
}

// Receive waits up to wait for a first message and returns up to limit of
// those that are there, none where none came. They stay invisible to others
// for visibility. Where one of the times is 0 the queue's own holds; both are in
// whole seconds, visibility rounded up. If the answer is lost, the messages
// come back after that time.
func (q *Queue) Receive(ctx context.Context, limit int, wait, visibility time.Duration) ([]Message, error) {
	in := &sqs.ReceiveMessageInput{
		QueueUrl: &q.url, MaxNumberOfMessages: int32(min(limit, MaxReceive)),
		WaitTimeSeconds: int32(min(wait, MaxWait) / time.Second), VisibilityTimeout: wholeSeconds(visibility),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{
			types.MessageSystemAttributeNameSentTimestamp, types.MessageSystemAttributeNameApproximateReceiveCount,
		},
	}
	out, err := q.patient.ReceiveMessage(ctx, in)
	if err != nil {
		return nil, translate(ctx, "receive from "+q.url, err)
	}
	messages := make([]Message, 0, len(out.Messages))
	for _, m := range out.Messages {
		messages = append(messages, Message{
			ID: aws.ToString(m.MessageId), Receipt: aws.ToString(m.ReceiptHandle), Body: []byte(aws.ToString(m.Body)),
			Sent: milliseconds(m.Attributes["SentTimestamp"]), Receives: max(1, whole(m.Attributes["ApproximateReceiveCount"])),
		})
	}
	return messages, nil
}

// Delete removes the messages with these receipts for good. Of the errors,
// which are as many, each tells about its receipt, nil that the message is
// removed. An error may come of a removal that took effect.
func (q *Queue) Delete(ctx context.Context, receipts []string) []error {
	op := "delete from " + q.url
	return inBatches(receipts, op, func(part []string) (answer, error) {
		in := &sqs.DeleteMessageBatchInput{QueueUrl: &q.url}
		for i, r := range part {
			in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{Id: entryID(i), ReceiptHandle: &r})
		}
		out, err := q.client.DeleteMessageBatch(ctx, in)
		if err != nil {
			return answer{}, translate(ctx, op, err)
		}
		a := answer{failed: out.Failed}
		for _, done := range out.Successful {
			a.done = append(a.done, done.Id)
		}
		return a, nil
	})
}

// ChangeVisibility makes messages visible to others in visibility from now, at
// once if that is 0. Errors are as for Delete.
func (q *Queue) ChangeVisibility(ctx context.Context, receipts []string, visibility time.Duration) []error {
	op := "change visibility in " + q.url
	return inBatches(receipts, op, func(part []string) (answer, error) {
		in := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &q.url}
		for i, r := range part {
			in.Entries = append(in.Entries, types.ChangeMessageVisibilityBatchRequestEntry{
				Id: entryID(i), ReceiptHandle: &r, VisibilityTimeout: wholeSeconds(visibility),
			})
		}
		out, err := q.client.ChangeMessageVisibilityBatch(ctx, in)
		if err != nil {
			return answer{}, translate(ctx, op, err)
		}
		a := answer{failed: out.Failed}
		for _, done := range out.Successful {
			a.done = append(a.done, done.Id)
		}
		return a, nil
	})
}

// answer is what a batch request says about its entries, by their ids.
type answer struct {
	done   []*string
	failed []types.BatchResultErrorEntry
}

func entryID(i int) *string { return aws.String(strconv.Itoa(i)) }

// inBatches sends as many requests as it takes, one after the other. One that
// fails does not keep the others from being sent.
func inBatches(receipts []string, op string, send func(part []string) (answer, error)) []error {
	errs := make([]error, len(receipts))
	for first := 0; first < len(receipts); first += batchSize {
		part := receipts[first:min(first+batchSize, len(receipts))]
		a, err := send(part)
		if err == nil {
			err = fmt.Errorf("%s: %w", op, errNoAnswer)
		}
		about := errs[first : first+len(part)]
		for i := range about {
			about[i] = err
		}
		for _, id := range a.done {
			if i := whole(aws.ToString(id)); i < len(about) {
				about[i] = nil
			}
		}
		for _, f := range a.failed {
			if i := whole(aws.ToString(f.Id)); i < len(about) {
				about[i] = fmt.Errorf("%s: %w", op, entryError(f))
			}
		}
	}
	return errs
}

// entryError classifies an entry's failure as service does a request's.
func entryError(f types.BatchResultErrorEntry) *apiError {
	code := aws.ToString(f.Code)
	out := &apiError{text: short(code + ": " + aws.ToString(f.Message))}
	switch {
	case staleReceipt(code, aws.ToString(f.Message)):
		out.is = []error{ErrReceipt}
	case throttling(code, 0):
		out.is = []error{finding.ErrThrottled}
	case strings.HasPrefix(code, "AccessDenied"):
		out.is = []error{fs.ErrPermission}
	}
	return out
}

// staleReceipt knows the codes with and without the prefix of the old query
// protocol, and the two cases that SQS calls an invalid parameter.
func staleReceipt(code, message string) bool {
	switch strings.TrimPrefix(code, "AWS.SimpleQueueService.") {
	case "MessageNotInflight", "ReceiptHandleIsInvalid":
		return true
	case "InvalidParameterValue":
		return strings.Contains(message, "ReceiptHandle") || strings.Contains(message, "receipt handle has expired")
	}
	return false
}

// Attributes are a queue's own.
type Attributes struct {
	ARN               string
	VisibilityTimeout time.Duration
	MaxReceives       int // after which the redrive policy takes a message away; 0: it has none

	// About how many messages there are.
	Visible, InFlight, Delayed int
}

// Attributes asks for the queue's attributes.
func (q *Queue) Attributes(ctx context.Context) (Attributes, error) {
	op := "get attributes of " + q.url
	out, err := q.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &q.url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
	})
	if err != nil {
		return Attributes{}, translate(ctx, op, err)
	}
	a := out.Attributes
	if a["QueueArn"] == "" || a["VisibilityTimeout"] == "" {
		return Attributes{}, fmt.Errorf("%s: %w", op, errQueue)
	}
	var redrive struct {
		MaxReceives json.RawMessage `json:"maxReceiveCount"` // a number, or one as text
	}
	if p := a["RedrivePolicy"]; p != "" {
		if err := json.Unmarshal([]byte(p), &redrive); err != nil {
			return Attributes{}, fmt.Errorf("%s: redrive policy: %w", op, err)
		}
	}
	return Attributes{
		ARN: a["QueueArn"], VisibilityTimeout: time.Duration(whole(a["VisibilityTimeout"])) * time.Second,
		MaxReceives: whole(strings.Trim(string(redrive.MaxReceives), `"`)),
		Visible:     whole(a["ApproximateNumberOfMessages"]), InFlight: whole(a["ApproximateNumberOfMessagesNotVisible"]),
		Delayed: whole(a["ApproximateNumberOfMessagesDelayed"]),
	}, nil
}

func wholeSeconds(d time.Duration) int32 { return int32(math.Ceil(d.Seconds())) }

func milliseconds(s string) time.Time {
	ms, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// whole returns 0 for what is no whole number from 0 on.
func whole(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0
	}
	return n
}
