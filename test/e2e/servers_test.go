package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/moby/moby/api/types/container"
	"github.com/testcontainers/testcontainers-go"
	tcnetwork "github.com/testcontainers/testcontainers-go/network"
	"golang.org/x/sync/errgroup"

	"github.com/trailseal/trailseal/internal/testtrail"
)

const (
	region    = "us-east-1"
	secretKey = "only-for-tests"
	account   = "123456789012" // the emulator's
)

// accessKey is a test's own: the engine gives the address of a server that has
// stopped to the next one, which must not pass for it.
func accessKey(t *testing.T) string {
	return fmt.Sprintf("AKIA%X", sha256.Sum256([]byte(t.Name())))[:20]
}

func credentialsOf(t *testing.T) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(accessKey(t), secretKey, "")
}

// bucketServer is an S3 server: from here, and from the network.
type bucketServer struct {
	*box
	port   string
	inside string // its URL in the network
}

// newS3 starts an S3 server that is not ours and checks signatures.
func newS3(t *testing.T) *bucketServer {
	t.Helper()
	host := "s3-" + plainName(t)
	b := run(t, image(t, versitygw), host, []string{"7070/tcp"},
		testcontainers.WithEnv(map[string]string{"ROOT_ACCESS_KEY_ID": accessKey(t), "ROOT_SECRET_ACCESS_KEY": secretKey}),
		// Metadata lies in files: not every file system has extended attributes.
		testcontainers.WithCmd("--port", ":7070", "--region", region, "--health", "/health", "--quiet", "--keep-alive",
			"posix", "--sidecar", "/sidecar", "/data"),
		testcontainers.WithConfigModifier(func(c *container.Config) {
			c.Volumes = map[string]struct{}{"/data": {}, "/sidecar": {}}
		}))
	s := &bucketServer{box: b, port: "7070/tcp", inside: "http://" + host + ":7070"}
	s.ready()
	return s
}

func (s *bucketServer) ready() {
	s.t.Helper()
	s.answers(s.port, "/health", http.StatusOK)
}

// client returns a client of the server as it can be reached now.
func (s *bucketServer) client() *s3.Client {
	url := s.url(s.port)
	return s3.New(s3.Options{
		Region: region, BaseEndpoint: &url, UsePathStyle: true, Credentials: credentialsOf(s.t),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired, RetryMaxAttempts: 8,
	})
}

func (s *bucketServer) makeBucket(name string) {
	s.t.Helper()
	if _, err := s.client().CreateBucket(s.t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		s.t.Fatal(err)
	}
}

// putAll uploads objects of a store.
func (s *bucketServer) putAll(store *testtrail.Store, bucket string, keys []string) {
	s.t.Helper()
	c, g := s.client(), new(errgroup.Group)
	g.SetLimit(8)
	for _, key := range keys {
		o, _ := store.Stored(bucket, key)
		in := &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(o.Body), Metadata: o.Meta}
		if o.Encoding != "" {
			in.ContentEncoding = &o.Encoding
		}
		g.Go(func() error {
			_, err := c.PutObject(s.t.Context(), in)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		s.t.Fatal(err)
	}
}

// keys lists a bucket.
func (s *bucketServer) keys(bucket string) (keys []string) {
	s.t.Helper()
	for p := s3.NewListObjectsV2Paginator(s.client(), &s3.ListObjectsV2Input{Bucket: &bucket}); p.HasMorePages(); {
		page, err := p.NextPage(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	return keys
}

// read returns an object's stored bytes.
func (s *bucketServer) read(bucket, key string) []byte {
	s.t.Helper()
	out, err := s.client().GetObject(s.t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// emulator is moto, one for all tests: it takes long to start, and what tests
// make in it has names of their own.
func emulator(t *testing.T) *bucketServer {
	t.Helper()
	name := image(t, moto)
	c, err := shared.emulator(name)
	if err != nil {
		t.Fatal(err)
	}
	s := &bucketServer{box: &box{c, t, "moto"}, port: "5000/tcp", inside: "http://moto:5000"}
	s.answers(s.port, "/moto-api/data.json", http.StatusOK)
	return s
}

func (c *commons) emulator(image string) (*testcontainers.DockerContainer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.aws != nil || c.errs != nil {
		return c.aws, c.errs
	}
	n, err := c.networkLocked()
	if err != nil {
		return nil, err
	}
	c.aws, c.errs = testcontainers.Run(context.Background(), image, tcnetwork.WithNetwork([]string{"moto"}, n),
		testcontainers.WithExposedPorts("5000/tcp"), testcontainers.WithLabels(map[string]string{label: time.Now().UTC().Format(time.RFC3339)}))
	return c.aws, c.errs
}

// messages is an SQS queue of the emulator.
type messages struct {
	server *bucketServer
	name   string
	client *sqs.Client
	url    string // as the client wants it
}

func newQueue(t *testing.T, server *bucketServer) *messages {
	t.Helper()
	q := &messages{server: server, name: plainName(t)}
	address := server.url(server.port)
	q.client = sqs.New(sqs.Options{Region: region, BaseEndpoint: &address, Credentials: credentialsOf(t), RetryMaxAttempts: 8})
	made, err := q.client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &q.name})
	if err != nil {
		t.Fatal(err)
	}
	q.url = *made.QueueUrl
	return q
}

func (q *messages) arn() string { return "arn:aws:sqs:" + region + ":" + account + ":" + q.name }

// inside is the queue's URL in the network, where the emulator, or what stands
// before it, has a name.
func (q *messages) inside(endpoint string) string { return endpoint + "/" + account + "/" + q.name }

// send announces an object as S3 does.
func (q *messages) send(bucket, key string) {
	q.server.t.Helper()
	record := map[string]any{
		"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
		"s3": map[string]any{"bucket": map[string]any{"name": bucket}, "object": map[string]any{"key": key}},
	}
	b, err := json.Marshal(map[string]any{"Records": []any{record}})
	if err != nil {
		q.server.t.Fatal(err)
	}
	body := string(b)
	if _, err := q.client.SendMessage(q.server.t.Context(), &sqs.SendMessageInput{QueueUrl: &q.url, MessageBody: &body}); err != nil {
		q.server.t.Fatal(err)
	}
}

// drained waits until the queue is empty: every message was deleted.
func (q *messages) drained() {
	q.server.t.Helper()
	eventually(q.server.t, "queue "+q.name+" is drained", func() error {
		out, err := q.client.GetQueueAttributes(q.server.t.Context(), &sqs.GetQueueAttributesInput{
			QueueUrl: &q.url, AttributeNames: []types.QueueAttributeName{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"},
		})
		if err != nil {
			return err
		}
		for name, n := range out.Attributes {
			if n != "0" {
				err = errors.Join(err, fmt.Errorf("%s %s", name, n))
			}
		}
		return err
	})
}

// proxy is a toxiproxy.
type proxy struct{ *box }

func newProxy(t *testing.T) *proxy {
	t.Helper()
	b := run(t, image(t, toxiproxy), "proxy-"+plainName(t), []string{"8474/tcp"}, testcontainers.WithCmd("-host=0.0.0.0"))
	b.answers("8474/tcp", "/version", http.StatusOK)
	return &proxy{b}
}

// to stands before a server and returns its URL in the network.
func (p *proxy) to(name, upstream string, port int) string {
	p.t.Helper()
	p.ask("POST", "/proxies", map[string]any{"name": name, "listen": fmt.Sprintf("0.0.0.0:%d", port), "upstream": upstream, "enabled": true})
	return fmt.Sprintf("http://%s:%d", p.host, port)
}

// enable lets a proxy take connections, or refuse them and break off those it
// has.
func (p *proxy) enable(name string, on bool) {
	p.t.Helper()
	p.ask("POST", "/proxies/"+name, map[string]any{"enabled": on})
}

// toxic is one of toxiproxy's.
type toxic struct {
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	Stream     string         `json:"stream"`
	Toxicity   float64        `json:"toxicity"`
	Attributes map[string]int `json:"attributes"`
}

func (p *proxy) poison(name string, t toxic) {
	p.t.Helper()
	p.ask("POST", "/proxies/"+name+"/toxics", t)
}

func (p *proxy) heal(name, toxic string) {
	p.t.Helper()
	p.ask("DELETE", "/proxies/"+name+"/toxics/"+toxic, nil)
}

func (p *proxy) ask(method, path string, in any) {
	p.t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.url("8474/tcp")+path, bytes.NewReader(b))
	if err != nil {
		p.t.Fatal(err)
	}
	answer, err := browser.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode >= 300 {
		p.t.Fatalf("%s %s: %s %s %v", method, path, answer.Status, text, err)
	}
}
