package queue_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.uber.org/goleak"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/notify"
	"github.com/trailseal/trailseal/internal/queue"
	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
)

// adapter makes a queue of awsapi a Client.
type adapter struct {
	q       *awsapi.Queue
	renewed chan struct{} // has a value for each heartbeat
}

func (a adapter) Receive(ctx context.Context, limit int, wait, visibility time.Duration) ([]queue.Message, error) {
	list, err := a.q.Receive(ctx, limit, wait, visibility)
	var messages []queue.Message
	for _, m := range list {
		messages = append(messages, queue.Message(m))
	}
	return messages, err
}

func (a adapter) Delete(ctx context.Context, receipts []string) []error {
	return a.q.Delete(ctx, receipts)
}

func (a adapter) Extend(ctx context.Context, receipts []string, visibility time.Duration) []error {
	if visibility == time.Second {
		a.renewed <- struct{}{}
	}
	return a.q.ChangeVisibility(ctx, receipts, visibility)
}

func TestFakeSQS(t *testing.T) {
	s := testaws.New(t, testtrail.New())
	for name, fault := range map[string]*testaws.Fault{
		"control":                        nil,
		"receive fails but took effect":  {Op: "ReceiveMessage", Reset: true, After: true, Times: 1},
		"extend fails":                   {Op: "ChangeMessageVisibilityBatch", Status: 500, Code: "InternalError", Times: 1},
		"deletions fail":                 {Op: "DeleteMessageBatch", Status: 500, Code: "InternalError", Times: 3},
		"deletions seem to fail":         {Op: "DeleteMessageBatch", Status: 500, Code: "InternalError", After: true, Times: 3},
		"one deletion fails":             {Op: "DeleteMessageBatch", Entry: 2, Code: "InternalError", Times: 2},
		"everything is slow":             {Delay: 100 * time.Millisecond},
		"the answer of a receive is cut": {Op: "ReceiveMessage", CutBody: 20, Times: 1},
	} {
		t.Run(name, func(t *testing.T) {
			if fault != nil {
				s.Fail(*fault)
			}
			defer s.Heal()
			consume(t, s.URL, strings.ReplaceAll(name, " ", "-"))
		})
	}
}

func TestMoto(t *testing.T) { consume(t, moto(t), "trail") }

// consume consumes a queue and checks what is left. Some of its messages fail, one
// takes long and one is not understood.
func consume(t *testing.T, endpoint, name string) {
	t.Helper()
	for _, v := range []string{"AWS_ENDPOINT_URL=" + endpoint, "AWS_ACCESS_KEY_ID=AKIATEST", "AWS_SECRET_ACCESS_KEY=test",
		"AWS_REGION=" + testaws.Region, "AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
		"AWS_PROFILE="} {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	c := sqs.New(sqs.Options{
		Region: testaws.Region, BaseEndpoint: &endpoint,
		Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "test", ""),
	})
	name = strings.Trim(strings.ReplaceAll(name, "'", ""), "-")
	made, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 23 {
		body := announcing(fmt.Sprint(i))
		if i == 7 {
			body = `{"what":"is this"}`
		}
		in := &sqs.SendMessageInput{QueueUrl: made.QueueUrl, MessageBody: &body}
		if _, err := c.SendMessage(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	client, err := awsapi.Load(t.Context(), awsapi.Options{MaxBackoff: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	adapted, err := client.Queue(*made.QueueUrl)
	if err != nil {
		t.Fatal(err)
	}
	ignore := goleak.IgnoreCurrent()
	seen := map[string]int{}
	counted := adapter{q: adapted, renewed: make(chan struct{}, 1000)}
	process := func(d notify.Delivery) error {
		key := d.Created[0].Key
		if seen[key]++; seen[key] > 1 {
			return nil // a failure that has passed
		}
		switch key {
		case "3": // the work takes longer than the visibility
			for range 3 {
				<-counted.renewed
			}
		case "5", "6":
			return errors.New("not now")
		}
		return nil
	}
	// Messages of an answer that was lost come when their visibility is over.
	for round := 0; len(seen) < 22 && round < 3; round++ {
		q, m, _ := start(counted, func(o *queue.Options) {
			o.Drain, o.Wait, o.Visibility, o.InFlight = true, time.Second, time.Second, 15
		})
		all(t, q, process)
		closed(t, q, m)
	}
	if len(seen) != 22 || seen["3"] != 1 {
		t.Errorf("announced %v", seen)
	}
	left, err := adapted.Attributes(t.Context())
	if n := left.Visible + left.InFlight; err != nil || n < 1 || n > 3 {
		t.Errorf("left %+v, %v", left, err)
	}
	http.DefaultClient.CloseIdleConnections()
	goleak.VerifyNone(t, ignore,
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*conn).serve"),
		goleak.IgnoreAnyFunction("net/http.(*connReader).backgroundRead"))
}

// moto starts moto's server as a child and returns its URL.
func moto(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("moto_server")
	if err != nil {
		if os.Getenv("TRAILSEAL_REQUIRE_AWS") == "1" {
			t.Fatal("TRAILSEAL_REQUIRE_AWS=1, but moto_server is not on the PATH")
		}
		t.Skip("moto_server is not on the PATH; TRAILSEAL_REQUIRE_AWS=1 makes this a failure")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err = errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, "-H", host, "-p", port)
	cmd.WaitDelay = 5 * time.Second // of a wrapper's child that holds the pipes
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	url := "http://" + net.JoinHostPort(host, port)
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if r, err := http.Get(url + "/moto-api/data.json"); err == nil {
			_, _ = io.Copy(io.Discard, r.Body)
			_ = r.Body.Close()
			return url
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("moto_server ended: %v\n%s", err, said.String())
		default:
		}
	}
	t.Fatal("moto_server does not answer")
	return ""
}
