package awsapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
)

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
			if err := r.Body.Close(); err != nil {
				t.Fatal(err)
			}
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

// The fake is held against moto: the same calls have the same outcome.
func TestQueueAgainstMoto(t *testing.T) {
	url := moto(t)
	s := serve(t, testtrail.New())
	s.Account = "123456789012" // moto's
	want, got := scenario(t, url), scenario(t, s.URL)
	for i := range max(len(want), len(got)) {
		a, b := "nothing", "nothing"
		if i < len(want) {
			a = want[i]
		}
		if i < len(got) {
			b = got[i]
		}
		if a != b {
			t.Errorf("step %d:\nmoto %s\nfake %s", i+1, a, b)
		}
	}
	if len(want) < 15 {
		t.Errorf("only %d steps", len(want))
	}
}

// scenario does what the program does to a queue and says what it saw.
func scenario(t *testing.T, endpoint string) (saw []string) {
	t.Helper()
	c := sqs.New(sqs.Options{
		Region: testaws.Region, BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "test", ""),
	})
	dead, _ := makeQueue(t, c, endpoint, "dead", nil)
	deadAttributes, err := dead.Attributes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	q, url := makeQueue(t, c, endpoint, "trail", map[string]string{
		"VisibilityTimeout": "30", "RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":2}`, deadAttributes.ARN),
	})
	send := func(body string) {
		if _, err := c.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body}); err != nil {
			t.Error(err)
		}
	}
	see := func(what string, v ...any) { saw = append(saw, what+": "+fmt.Sprint(v...)) }
	take := func(what string, q *awsapi.Queue, limit int, wait, visibility time.Duration) []awsapi.Message {
		t.Helper()
		list, err := q.Receive(t.Context(), limit, wait, visibility)
		var text []string
		for _, m := range list {
			fresh := time.Since(m.Sent).Abs() < time.Minute
			text = append(text, fmt.Sprintf("%s x%d id:%v receipt:%v sent:%v", m.Body, m.Receives, m.ID != "", m.Receipt != "", fresh))
		}
		slices.Sort(text)
		see(what, text, err)
		return list
	}
	state := func(what string) {
		a, err := q.Attributes(t.Context())
		see(what, a, err)
	}

	state("empty")
	take("nothing", q, 10, 0, 0)
	for _, body := range []string{"a", "é{\"b\":1}", "c"} {
		send(body)
	}
	two := take("two", q, 2, 0, 0)
	state("one left")
	see("released", verdicts(q.ChangeVisibility(t.Context(), receipts(two[:1]), 0)))
	rest := take("the released and the last", q, 10, 0, 0)
	see("kept", verdicts(q.ChangeVisibility(t.Context(), receipts(rest), time.Minute)))
	state("all in flight")
	all := append(receipts(rest), two[1].Receipt, "nonsense")
	see("deleted", verdicts(q.Delete(t.Context(), all)))
	see("deleted again", verdicts(q.Delete(t.Context(), all[:1])))
	see("kept after deletion", verdicts(q.ChangeVisibility(t.Context(), all[:1], time.Minute)))
	state("empty again")

	timer := time.AfterFunc(300*time.Millisecond, func() { send("late") })
	defer timer.Stop()
	take("a long poll", q, 10, 10*time.Second, time.Second)
	take("in flight", q, 10, 0, 0)
	time.Sleep(1200 * time.Millisecond)
	late := take("timed out", q, 10, 0, 0)
	see("released", verdicts(q.ChangeVisibility(t.Context(), receipts(late), 0)))
	time.Sleep(10 * time.Millisecond) // moto compares with the present millisecond
	take("received too often", q, 10, 0, 0)
	take("dead letters", dead, 10, 0, 0)
	state("empty at last")

	absent, err := load(t, func(o *awsapi.Options) { o.Endpoint = endpoint }).Queue(endpoint + "/123456789012/absent")
	if err != nil {
		t.Fatal(err)
	}
	_, err = absent.Receive(t.Context(), 1, 0, 0)
	see("absent", errors.Is(err, fs.ErrNotExist))
	see("absent", verdicts(absent.Delete(t.Context(), []string{"x"})))
	return saw
}

func makeQueue(t *testing.T, c *sqs.Client, endpoint, name string, attributes map[string]string) (*awsapi.Queue, string) {
	t.Helper()
	made, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	q, err := load(t, func(o *awsapi.Options) { o.Endpoint = endpoint }).Queue(*made.QueueUrl)
	if err != nil {
		t.Fatal(err)
	}
	return q, *made.QueueUrl
}

// verdicts are the errors as far as the program tells them apart.
func verdicts(errs []error) (v []string) {
	for _, err := range errs {
		switch {
		case err == nil:
			v = append(v, "ok")
		case errors.Is(err, awsapi.ErrReceipt):
			v = append(v, "receipt")
		case errors.Is(err, fs.ErrNotExist):
			v = append(v, "no queue")
		default:
			v = append(v, err.Error())
		}
	}
	return v
}
