package testaws_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
)

// queue returns a queue and the SDK's client for it, which tries once.
func queue(t *testing.T) (*testaws.Server, *testaws.Queue, *sqs.Client) {
	t.Helper()
	s := testaws.New(t, testtrail.New())
	c := sqs.New(sqs.Options{
		Region: testaws.Region, BaseEndpoint: &s.URL, Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "test", ""),
		RetryMaxAttempts: 1,
	})
	return s, s.Queue("trail"), c
}

type received struct {
	bodies, receipts []string
	counts           []string // ApproximateReceiveCount
}

func receive(t *testing.T, c *sqs.Client, q *testaws.Queue, change ...func(*sqs.ReceiveMessageInput)) (r received) {
	t.Helper()
	in := &sqs.ReceiveMessageInput{
		QueueUrl: sdk.String(q.URL()), MaxNumberOfMessages: 10,
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"},
	}
	for _, f := range change {
		f(in)
	}
	out, err := c.ReceiveMessage(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range out.Messages {
		r.bodies, r.receipts = append(r.bodies, *m.Body), append(r.receipts, *m.ReceiptHandle)
		r.counts = append(r.counts, m.Attributes["ApproximateReceiveCount"])
	}
	return r
}

func remove(t *testing.T, c *sqs.Client, q *testaws.Queue, receipt string) error {
	t.Helper()
	_, err := c.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: sdk.String(q.URL()), ReceiptHandle: &receipt})
	return err
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}

func expectBodies(t *testing.T, when string, got received, want ...string) {
	t.Helper()
	if !slices.Equal(got.bodies, want) {
		t.Errorf("%s: received %q, want %q", when, got.bodies, want)
	}
}

func TestQueueVisibility(t *testing.T) {
	s, q, c := queue(t)
	q.Send("a")
	q.Send("b")
	first := receive(t, c, q, func(in *sqs.ReceiveMessageInput) { in.MaxNumberOfMessages = 1 })
	expectBodies(t, "one", first, "a")
	expectBodies(t, "the other", receive(t, c, q, func(in *sqs.ReceiveMessageInput) { in.VisibilityTimeout = 100 }), "b")
	expectBodies(t, "nothing visible", receive(t, c, q))
	s.Advance(29 * time.Second)
	expectBodies(t, "not yet", receive(t, c, q))
	s.Advance(time.Second)
	again := receive(t, c, q)
	expectBodies(t, "timed out", again, "a")
	if again.counts[0] != "2" || again.receipts[0] == first.receipts[0] {
		t.Errorf("second delivery: %+v after %+v", again, first)
	}
	// The first delivery's receipt removes nothing now, and does not say so.
	if err := remove(t, c, q, first.receipts[0]); err != nil || len(q.Bodies()) != 2 {
		t.Errorf("%v, left %q", err, q.Bodies())
	}
	for range 2 { // the second time there is nothing left to remove
		if err := remove(t, c, q, again.receipts[0]); err != nil || !slices.Equal(q.Bodies(), []string{"b"}) {
			t.Errorf("%v, left %q", err, q.Bodies())
		}
	}
	if err := remove(t, c, q, "nonsense"); code(err) != "ReceiptHandleIsInvalid" {
		t.Error(err)
	}
	q.SendLate("c", time.Minute)
	if visible, inFlight, delayed := q.Counts(); visible != 0 || inFlight != 1 || delayed != 1 {
		t.Errorf("visible %d, in flight %d, delayed %d", visible, inFlight, delayed)
	}
	s.Advance(time.Minute)
	expectBodies(t, "the late one", receive(t, c, q), "c")
}

func TestQueueChangeVisibility(t *testing.T) {
	s, q, c := queue(t)
	q.Send("a")
	got := receive(t, c, q)
	change := func(receipt string, seconds int32) error {
		_, err := c.ChangeMessageVisibility(t.Context(), &sqs.ChangeMessageVisibilityInput{
			QueueUrl: sdk.String(q.URL()), ReceiptHandle: &receipt, VisibilityTimeout: seconds,
		})
		return err
	}
	s.Advance(20 * time.Second)
	if err := change(got.receipts[0], 60); err != nil {
		t.Fatal(err)
	}
	s.Advance(59 * time.Second)
	expectBodies(t, "kept", receive(t, c, q))
	if err := change(got.receipts[0], 0); err != nil {
		t.Fatal(err)
	}
	if err := change(got.receipts[0], 60); code(err) != "InvalidParameterValue" {
		t.Errorf("of a visible message: %v", err)
	}
	expectBodies(t, "released", receive(t, c, q), "a")
	if err := change(got.receipts[0], 60); code(err) != "InvalidParameterValue" {
		t.Errorf("with the receipt of an earlier delivery: %v", err)
	}
	if err := change("nonsense", 60); code(err) != "ReceiptHandleIsInvalid" {
		t.Error(err)
	}
}

func TestQueueRedrive(t *testing.T) {
	s, q, c := queue(t)
	dead := s.Queue("dead")
	q.Redrive(dead, 2)
	q.Send("poison")
	for i := range 2 {
		expectBodies(t, fmt.Sprint("delivery ", i+1), receive(t, c, q), "poison")
		s.Advance(30 * time.Second)
	}
	expectBodies(t, "used up", receive(t, c, q))
	if len(q.Bodies()) != 0 || !slices.Equal(dead.Bodies(), []string{"poison"}) {
		t.Errorf("queue %q, dead letters %q", q.Bodies(), dead.Bodies())
	}
	expectBodies(t, "dead letters", receive(t, c, dead), "poison")
}

// Deliveries that the documentation promises nobody will be spared.
func TestQueueRepeatsAndDisorder(t *testing.T) {
	_, q, c := queue(t)
	id := q.Send("a")
	first := receive(t, c, q)
	q.Repeat(id)
	expectBodies(t, "in flight", receive(t, c, q), "a")
	q.Repeat(id)
	last := receive(t, c, q)
	if err := remove(t, c, q, last.receipts[0]); err != nil || len(q.Bodies()) != 0 {
		t.Fatalf("%v, left %q", err, q.Bodies())
	}
	q.Repeat(id)
	expectBodies(t, "after it was deleted", receive(t, c, q), "a")
	if len(first.bodies) != 1 {
		t.Errorf("first delivery: %+v", first)
	}

	var sent []string
	for i := range 10 {
		sent = append(sent, fmt.Sprint("m", i))
		q.Send(sent[i])
	}
	q.Shuffle(1)
	got := receive(t, c, q).bodies
	if slices.Equal(got, sent) {
		t.Error("in order in spite of Shuffle")
	}
	slices.Sort(got)
	if !slices.Equal(got, sent) {
		t.Errorf("received %q", got)
	}
}

func TestQueueLongPoll(t *testing.T) {
	s, q, c := queue(t)
	poll := func(in *sqs.ReceiveMessageInput) { in.WaitTimeSeconds = 20 }
	for _, tt := range []struct {
		name string
		wake func()
		want []string
	}{
		{"sent", func() { q.Send("x") }, []string{"x"}},
		{"timed out", func() { s.Advance(30 * time.Second) }, []string{"x"}},
		{"ended", func() { s.Advance(20 * time.Second) }, nil},
	} {
		began := time.Now()
		timer := time.AfterFunc(50*time.Millisecond, tt.wake)
		expectBodies(t, tt.name, receive(t, c, q, poll), tt.want...)
		timer.Stop()
		if d := time.Since(began); d < 40*time.Millisecond || d > 10*time.Second {
			t.Errorf("%s: waited %v", tt.name, d)
		}
	}
	s.Advance(time.Hour)
	expectBodies(t, "at once", receive(t, c, q, poll), "x")

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: sdk.String(q.URL()), WaitTimeSeconds: 20}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	// The server learns a little later that the poll is gone. Then it takes
	// nothing any more.
	for deadline := time.Now().Add(10 * time.Second); ; {
		q.Send("y")
		if len(receive(t, c, q).bodies) > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a poll that was given up takes all messages")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestQueueFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		fault testaws.Fault
		fails bool
		left  int // messages in the queue afterwards
	}{
		"control":                      {testaws.Fault{Op: "None"}, false, 0},
		"of another queue":             {testaws.Fault{Op: "DeleteMessage", Bucket: "other", Status: 500}, false, 0},
		"fails":                        {testaws.Fault{Op: "DeleteMessage", Bucket: "trail", Status: 500, Code: "InternalError"}, true, 1},
		"fails but took effect":        {testaws.Fault{Op: "DeleteMessage", Status: 500, Code: "InternalError", After: true}, true, 0},
		"reset":                        {testaws.Fault{Op: "DeleteMessage", Reset: true}, true, 1},
		"reset after it took effect":   {testaws.Fault{Op: "DeleteMessage", Reset: true, After: true}, true, 0},
		"denied, for JSON":             {testaws.Denied().On("DeleteMessage", "trail", ""), true, 1},
		"slow, and then as it should":  {testaws.Fault{Op: "DeleteMessage", Delay: 50 * time.Millisecond}, false, 0},
		"an empty receive is no fault": {testaws.Fault{Op: "ReceiveMessage", Empty: true, Skip: 1}, false, 0},
	} {
		s, q, c := queue(t)
		s.Fail(tt.fault)
		q.Send("a")
		got := receive(t, c, q)
		err := remove(t, c, q, got.receipts[0])
		if (err != nil) != tt.fails || len(q.Bodies()) != tt.left {
			t.Errorf("%s: %v, left %q", name, err, q.Bodies())
		}
	}
}

func TestQueueBatch(t *testing.T) {
	s, q, c := queue(t)
	ask := func(n int, id func(i int) string, receipt func(i int) string) (*sqs.DeleteMessageBatchOutput, error) {
		in := &sqs.DeleteMessageBatchInput{QueueUrl: sdk.String(q.URL()), Entries: []types.DeleteMessageBatchRequestEntry{}}
		for i := range n {
			in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{Id: sdk.String(id(i)), ReceiptHandle: sdk.String(receipt(i))})
		}
		return c.DeleteMessageBatch(t.Context(), in)
	}
	number := func(i int) string { return fmt.Sprint(i) }
	for _, tt := range []struct {
		n    int
		id   func(int) string
		want string
	}{
		{0, number, "EmptyBatchRequest"}, {11, number, "TooManyEntriesInBatchRequest"}, {2, func(int) string { return "x" }, "BatchEntryIdsNotDistinct"},
	} {
		if _, err := ask(tt.n, tt.id, number); code(err) != tt.want {
			t.Errorf("%d entries: %v, want %s", tt.n, err, tt.want)
		}
	}
	for name, after := range map[string]bool{"fails": false, "fails but took effect": true} {
		s.Heal()
		s.Fail(testaws.Fault{Op: "DeleteMessageBatch", Entry: 2, Code: "InternalError", Message: "x", After: after})
		for i := range 3 {
			q.Send(fmt.Sprint(name, i))
		}
		got := receive(t, c, q)
		out, err := ask(4, number, func(i int) string { return append(slices.Clone(got.receipts), "nonsense")[i] })
		if err != nil || len(out.Successful) != 2 || len(out.Failed) != 2 || *out.Failed[0].Code != "InternalError" || out.Failed[0].SenderFault ||
			*out.Failed[1].Code != "ReceiptHandleIsInvalid" || !out.Failed[1].SenderFault {
			t.Fatalf("%s: %+v, %v", name, out, err)
		}
		if left := strings.Contains(strings.Join(q.Bodies(), " "), name+"1"); left == after {
			t.Errorf("%s: left %q", name, q.Bodies())
		}
	}
}

func TestNoQueue(t *testing.T) {
	s, q, c := queue(t)
	absent := s.URL + "/111122223333/absent"
	_, err := c.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &absent})
	var gone *types.QueueDoesNotExist
	if !errors.As(err, &gone) || code(err) != "AWS.SimpleQueueService.NonExistentQueue" {
		t.Errorf("%v (%s)", err, code(err))
	}
	if out, err := c.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: sdk.String("trail")}); err != nil || *out.QueueUrl != q.URL() {
		t.Errorf("%+v, %v", out, err)
	}
	if _, err := c.PurgeQueue(t.Context(), &sqs.PurgeQueueInput{QueueUrl: sdk.String(q.URL())}); code(err) != "UnknownOperationException" {
		t.Error(err)
	}
	for name, in := range map[string]*sqs.ReceiveMessageInput{"11 messages": {MaxNumberOfMessages: 11}, "21 seconds": {WaitTimeSeconds: 21}} {
		in.QueueUrl = sdk.String(q.URL())
		if _, err := c.ReceiveMessage(t.Context(), in); code(err) != "InvalidParameterValue" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
