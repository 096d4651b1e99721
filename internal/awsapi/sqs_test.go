package awsapi_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
)

// queue returns a fake queue and the adapter for it.
func queue(t *testing.T) (*testaws.Server, *testaws.Queue, *awsapi.Queue) {
	t.Helper()
	s := serve(t, testtrail.New())
	fake := s.Queue("trail")
	q, err := load(t, func(o *awsapi.Options) { o.IdleTimeout = 300 * time.Millisecond }).Queue(fake.URL())
	if err != nil {
		t.Fatal(err)
	}
	return s, fake, q
}

func receive(t *testing.T, q *awsapi.Queue) []awsapi.Message {
	t.Helper()
	m, err := q.Receive(t.Context(), awsapi.MaxReceive, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func receipts(messages []awsapi.Message) (all []string) {
	for _, m := range messages {
		all = append(all, m.Receipt)
	}
	return all
}

func TestReceive(t *testing.T) {
	s, fake, q := queue(t)
	began := time.Now().Truncate(time.Millisecond)
	id := fake.Send("é\"{}")
	got := receive(t, q)
	if len(got) != 1 || got[0].ID != id || string(got[0].Body) != "é\"{}" || got[0].Receives != 1 || got[0].Receipt == "" ||
		got[0].Sent.Before(began) || got[0].Sent.After(time.Now()) {
		t.Fatalf("%+v", got)
	}
	s.Advance(30 * time.Second)
	if again := receive(t, q); len(again) != 1 || again[0].Receives != 2 || again[0].Sent != got[0].Sent {
		t.Errorf("again: %+v", again)
	}
	if none := receive(t, q); none == nil || len(none) != 0 {
		t.Errorf("of an empty queue: %+v", none)
	}
	for i := range 12 {
		fake.Send(fmt.Sprint(i))
	}
	if two, err := q.Receive(t.Context(), 2, 0, 90500*time.Millisecond); err != nil || len(two) != 2 {
		t.Fatalf("%+v, %v", two, err)
	}
	if rest, err := q.Receive(t.Context(), 99, 0, 0); err != nil || len(rest) != 10 {
		t.Fatalf("%d, %v", len(rest), err)
	}
	s.Advance(90*time.Second + 900*time.Millisecond) // 90.5 s are 91
	if back := receive(t, q); len(back) != 10 {
		t.Errorf("%d came back", len(back))
	}
	s.Advance(time.Second)
	if back := receive(t, q); len(back) < 2 {
		t.Errorf("%d came back", len(back))
	}
}

// Behind a proxy with certificates of its own every request needs them.
func TestReceiveThroughAPrivateCA(t *testing.T) {
	fake := serve(t, testtrail.New())
	queue := fake.Queue("trail")
	proxy := httptest.NewTLSServer(fake)
	defer proxy.Close()
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: proxy.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", bundle)
	q, err := load(t, func(o *awsapi.Options) { o.Endpoint = proxy.URL }).Queue(strings.Replace(queue.URL(), fake.URL, proxy.URL, 1))
	if err != nil {
		t.Fatal(err)
	}
	queue.Send("x")
	if got := receive(t, q); len(got) != 1 {
		t.Errorf("%d messages", len(got))
	}
	if _, err := q.Attributes(t.Context()); err != nil {
		t.Error(err)
	}
}

// A poll outlasts the time in which every other answer must begin.
func TestLongPoll(t *testing.T) {
	s, fake, q := queue(t)
	timer := time.AfterFunc(time.Second, func() { fake.Send("late") })
	defer timer.Stop()
	got, err := q.Receive(t.Context(), 10, time.Minute, 0)
	if err != nil || len(got) != 1 || s.Requests()["ReceiveMessage"] != 1 {
		t.Errorf("%+v, %v, requests %v", got, err, s.Requests())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = q.Receive(ctx, 10, awsapi.MaxWait, 0)
	expect(t, err, "receive from "+fake.URL(), context.DeadlineExceeded)
}

// 23 messages in batches of ten, ten and three.
func TestDelete(t *testing.T) {
	deleteOp := testaws.Fault{Op: "DeleteMessageBatch", Code: "InternalError", Message: "x"}
	with := func(change func(*testaws.Fault)) testaws.Fault {
		f := deleteOp
		change(&f)
		return f
	}
	for name, tt := range map[string]struct {
		fault  testaws.Fault
		failed []int // indexes of receipts
		left   int
		is     []error
	}{
		"control":                         {testaws.Fault{Op: "None"}, nil, 0, nil},
		"an entry of the second batch":    {with(func(f *testaws.Fault) { f.Times, f.Skip, f.Entry = 1, 1, 3 }), []int{12}, 1, nil},
		"an entry, but it took effect":    {with(func(f *testaws.Fault) { f.Times, f.Entry, f.After = 1, 10, true }), []int{9}, 0, nil},
		"an entry is throttled":           {with(func(f *testaws.Fault) { f.Times, f.Entry, f.Code = 1, 1, "RequestThrottled" }), []int{0}, 1, []error{finding.ErrThrottled}},
		"an entry is denied":              {with(func(f *testaws.Fault) { f.Times, f.Entry, f.Code = 1, 1, "AccessDenied" }), []int{0}, 1, []error{fs.ErrPermission}},
		"an entry's receipt is stale":     {with(func(f *testaws.Fault) { f.Times, f.Entry, f.Code = 1, 1, "ReceiptHandleIsInvalid" }), []int{0}, 1, []error{awsapi.ErrReceipt}},
		"the same, of the old protocol":   {with(func(f *testaws.Fault) { f.Times, f.Entry, f.Code = 1, 1, "AWS.SimpleQueueService.MessageNotInflight" }), []int{0}, 1, []error{awsapi.ErrReceipt}},
		"the last batch is denied":        {with(func(f *testaws.Fault) { f.Skip, f.Status, f.Code = 2, 403, "AccessDeniedException" }), []int{20, 21, 22}, 3, []error{fs.ErrPermission}},
		"the last batch gets no answer":   {with(func(f *testaws.Fault) { f.Skip, f.Status, f.Empty = 2, 200, true }), []int{20, 21, 22}, 3, nil},
		"an answer that names nothing":    {testaws.Fault{Op: "DeleteMessageBatch", Skip: 2, Status: 200, Code: "x"}, []int{20, 21, 22}, 3, nil},
		"tried again":                     {with(func(f *testaws.Fault) { f.Times, f.Status = 2, 500 }), nil, 0, nil},
		"tried again, had taken effect":   {with(func(f *testaws.Fault) { f.Times, f.Status, f.After = 2, 500, true }), nil, 0, nil},
		"reset after it had taken effect": {with(func(f *testaws.Fault) { f.Times, f.Reset, f.After = 1, true, true }), nil, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, fake, q := queue(t)
			var all []awsapi.Message
			for i := range 23 {
				fake.Send(fmt.Sprint(i))
				if i%10 == 9 || i == 22 {
					all = append(all, receive(t, q)...)
				}
			}
			s.Fail(tt.fault)
			errs := q.Delete(t.Context(), receipts(all))
			if len(errs) != 23 {
				t.Fatalf("%d errors", len(errs))
			}
			for i, err := range errs {
				if slices.Contains(tt.failed, i) {
					expect(t, err, "delete from "+fake.URL(), tt.is...)
					if slices.Contains(tt.is, awsapi.ErrReceipt) != errors.Is(err, awsapi.ErrReceipt) {
						t.Errorf("%d: %v", i, err)
					}
				} else if err != nil {
					t.Errorf("%d: %v", i, err)
				}
			}
			if n := len(fake.Bodies()); n != tt.left {
				t.Errorf("%d left, want %d", n, tt.left)
			}
		})
	}
}

func TestDeleteCancelled(t *testing.T) {
	s, fake, q := queue(t)
	fake.Send("a")
	m := receive(t, q)
	s.Fail(testaws.Fault{Op: "DeleteMessageBatch", Delay: time.Minute})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	errs := q.Delete(ctx, receipts(m))
	expect(t, errs[0], "", context.DeadlineExceeded)
	if errs := q.Delete(t.Context(), nil); len(errs) != 0 {
		t.Errorf("%v for no receipts", errs)
	}
}

func TestChangeVisibility(t *testing.T) {
	s, fake, q := queue(t)
	fake.Send("a")
	fake.Send("b")
	got := receive(t, q)
	keep, release := receipts(got[:1]), receipts(got[1:])
	s.Advance(20 * time.Second)
	if errs := q.ChangeVisibility(t.Context(), keep, time.Minute); errs[0] != nil {
		t.Fatal(errs)
	}
	if errs := q.ChangeVisibility(t.Context(), release, 0); errs[0] != nil {
		t.Fatal(errs)
	}
	if now := receive(t, q); len(now) != 1 || string(now[0].Body) != "b" {
		t.Errorf("released, and received %+v", now)
	}
	errs := q.ChangeVisibility(t.Context(), []string{keep[0], release[0], "nonsense"}, time.Minute)
	if errs[0] != nil || !errors.Is(errs[1], awsapi.ErrReceipt) || !errors.Is(errs[2], awsapi.ErrReceipt) {
		t.Errorf("%v", errs)
	}
	s.Advance(59 * time.Second)
	for _, m := range receive(t, q) {
		if string(m.Body) == "a" {
			t.Error("came back in spite of the change")
		}
	}
	s.Fail(testaws.Fault{Op: "ChangeMessageVisibilityBatch", Status: 400, Code: "ThrottlingException", Message: "x"})
	errs = q.ChangeVisibility(t.Context(), keep, 0)
	expect(t, errs[0], "change visibility in "+fake.URL(), finding.ErrThrottled)
}

func TestAttributes(t *testing.T) {
	s, fake, q := queue(t)
	fake.SetVisibility(90 * time.Second)
	fake.Send("a")
	fake.Send("b")
	fake.SendLate("c", time.Minute)
	if _, err := q.Receive(t.Context(), 1, 0, 0); err != nil {
		t.Fatal(err)
	}
	want := awsapi.Attributes{ARN: fake.ARN(), VisibilityTimeout: 90 * time.Second, Visible: 1, InFlight: 1, Delayed: 1}
	if got, err := q.Attributes(t.Context()); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	fake.Redrive(s.Queue("dead"), 5)
	want.MaxReceives = 5
	if got, err := q.Attributes(t.Context()); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	s.Fail(testaws.Fault{Op: "GetQueueAttributes", Status: 200, Empty: true})
	_, err := q.Attributes(t.Context())
	expect(t, err, "the answer is no list of attributes")
}

func TestQueueErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		fault testaws.Fault
		text  string
		is    []error
	}{
		"gone":               {testaws.Fault{Status: 400, Code: "com.amazonaws.sqs#QueueDoesNotExist", Message: "x"}, "QueueDoesNotExist", []error{fs.ErrNotExist}},
		"404 of a proxy":     {testaws.EmptyNotFound(), "HTTP 404", nil},
		"denied":             {testaws.Denied(), "AccessDeniedException", []error{fs.ErrPermission}},
		"throttled":          {testaws.Fault{Status: 400, Code: "RequestThrottled", Message: "x"}, "RequestThrottled", []error{finding.ErrThrottled}},
		"too many in flight": {testaws.Fault{Status: 400, Code: "OverLimit", Message: "x"}, "OverLimit", []error{finding.ErrThrottled}},
		"wrong key":          {testaws.Fault{Status: 403, Code: "InvalidClientTokenId", Message: "x"}, "InvalidClientTokenId", []error{awsapi.ErrCredentials, fs.ErrPermission}},
		"key denied":         {testaws.Fault{Status: 400, Code: "KMS.AccessDeniedException", Message: "x"}, "KMS.", []error{finding.ErrKMSDenied}},
		"500":                {testaws.InternalError(), "InternalError", nil},
		"reset":              {testaws.Fault{Reset: true}, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, fake, q := queue(t)
			fake.Send("a")
			s.Fail(tt.fault)
			_, err := q.Receive(t.Context(), 1, 0, 0)
			expect(t, err, tt.text, tt.is...)
			_, err = q.Attributes(t.Context())
			expect(t, err, tt.text, tt.is...)
			s.Heal()
			if len(receive(t, q)) != 1 {
				t.Error("nothing afterwards")
			}
		})
	}
	t.Run("of another name", func(t *testing.T) {
		s, _, _ := queue(t)
		absent, err := load(t, nil).Queue(s.URL + "/111122223333/absent")
		if err != nil {
			t.Fatal(err)
		}
		_, err = absent.Receive(t.Context(), 1, 0, 0)
		expect(t, err, "NonExistentQueue", fs.ErrNotExist)
	})
}

// The region for which requests are signed is the URL's.
func TestQueueURL(t *testing.T) {
	s := serve(t, testtrail.New())
	s.Queue("trail").Send("a")
	for host, region := range map[string]string{
		"sqs.eu-west-1.amazonaws.com":              "eu-west-1",
		"sqs.cn-north-1.amazonaws.com.cn":          "cn-north-1",
		"sqs-fips.us-gov-west-1.amazonaws.com":     "us-gov-west-1",
		"sqs.ap-south-1.api.aws":                   "ap-south-1",
		"vpce-0a.sqs.us-west-2.vpce.amazonaws.com": "us-west-2",
		"eu-central-1.queue.amazonaws.com":         "eu-central-1",
		"queue.amazonaws.com":                      testaws.Region,
		"localhost:4566":                           testaws.Region,
		"10.0.0.1":                                 testaws.Region,
	} {
		s.Heal()
		s.Fail(testaws.Fault{Op: "ReceiveMessage", Region: region, Status: 400, Code: "SignedFor" + region, Message: "x"})
		q, err := load(t, func(o *awsapi.Options) { o.Endpoint = s.URL }).Queue("https://" + host + "/111122223333/trail")
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		_, err = q.Receive(t.Context(), 1, 0, 0)
		expect(t, err, "SignedFor"+region)
	}
	for _, bad := range []string{"", "trail", "arn:aws:sqs:eu-west-1:111122223333:trail", "https://sqs.eu-west-1.amazonaws.com/", "ftp://h/q", "https:///q", ":"} {
		if _, err := load(t, nil).Queue(bad); err == nil {
			t.Errorf("%q is taken for a queue", bad)
		}
	}
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	_, err := load(t, nil).Queue("http://localhost:4566/111122223333/trail")
	expect(t, err, "no AWS region", awsapi.ErrRegion)
}
