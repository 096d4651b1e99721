package deploy

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// motoAccount is the account of moto's server.
const motoAccount = "123456789012"

// cloud is moto, which plays AWS: CloudFormation, S3, EventBridge, SQS, IAM,
// STS and ECS. It enforces no policy and runs no task.
type cloud struct {
	t   *testing.T
	url string
	s3  *s3.Client
	sqs *sqs.Client
}

// newCloud returns a server with nothing in it.
func newCloud(t *testing.T, url string) *cloud {
	t.Helper()
	await(t, time.Minute, "moto", func() error {
		r, err := http.Post(url+"/moto-api/reset", "", nil)
		if err != nil {
			return err
		}
		return r.Body.Close()
	})
	key := credentials.NewStaticCredentialsProvider("AKIATEST", "test", "")
	return &cloud{
		t: t, url: url,
		s3:  s3.New(s3.Options{Region: region, BaseEndpoint: &url, Credentials: key, UsePathStyle: true}),
		sqs: sqs.New(sqs.Options{Region: region, BaseEndpoint: &url, Credentials: key}),
	}
}

// moto starts moto's server as a child, or takes the one that TRAILSEAL_MOTO
// names by its URL, which it empties.
func moto(t *testing.T) (url string) {
	t.Helper()
	if url := os.Getenv("TRAILSEAL_MOTO"); url != "" {
		return url
	}
	path, err := exec.LookPath("moto_server")
	if err != nil {
		absent(t, "moto_server (or a server named by TRAILSEAL_MOTO)", "TRAILSEAL_REQUIRE_MOTO")
	}
	host, port, err := net.SplitHostPort(freePort(t))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, "-H", host, "-p", port)
	cmd.WaitDelay = 5 * time.Second // of a wrapper's child that holds the pipes
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait() // its error says that it was killed
	})
	return "http://" + net.JoinHostPort(host, port)
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// await calls try until it returns nil.
func await(t *testing.T, most time.Duration, what string, try func() error) {
	t.Helper()
	for end := time.Now().Add(most); ; time.Sleep(100 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s, after %s: %v", what, most, err)
		}
	}
}

// request sends a request whose signature moto does not check: it looks only
// for the region and the service.
func (c *cloud) request(service string, body io.Reader, header ...string) []byte {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.url+"/", body)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIATEST/20260301/"+region+"/"+service+"/aws4_request, SignedHeaders=host, Signature=0")
	r.Host = service + "." + region + ".amazonaws.com"
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	b, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		c.t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		c.t.Fatalf("%s: HTTP %d: %s", service, answer.StatusCode, b)
	}
	return b
}

// query asks a service of the query protocol, and decodes what the elements of
// its answer are.
func (c *cloud) query(service, action, version string, form url.Values, out any) {
	c.t.Helper()
	form.Set("Action", action)
	form.Set("Version", version)
	b := c.request(service, strings.NewReader(form.Encode()), "Content-Type", "application/x-www-form-urlencoded")
	if err := xml.Unmarshal(b, out); err != nil {
		c.t.Fatalf("%s: %v: %s", action, err, b)
	}
}

// ask asks a service of the JSON protocol.
func (c *cloud) ask(service, target string, in, out any) {
	c.t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		c.t.Fatal(err)
	}
	b = c.request(service, bytes.NewReader(b), "Content-Type", "application/x-amz-json-1.1", "X-Amz-Target", target)
	if err := json.Unmarshal(b, out); err != nil {
		c.t.Fatalf("%s: %v: %s", target, err, b)
	}
}

// deploy makes a stack of a template and returns its outputs.
func (c *cloud) deploy(name, template string, parameters map[string]string) map[string]string {
	c.t.Helper()
	source := load(c.t, template, parameters)
	body, err := json.Marshal(source.entries(source.doc))
	if err != nil {
		c.t.Fatal(err)
	}
	form := url.Values{"StackName": {name}, "TemplateBody": {string(body)}, "Capabilities.member.1": {"CAPABILITY_NAMED_IAM"}}
	n := 0
	for key, value := range parameters {
		n++
		form.Set(fmt.Sprintf("Parameters.member.%d.ParameterKey", n), key)
		form.Set(fmt.Sprintf("Parameters.member.%d.ParameterValue", n), value)
	}
	const version = "2010-05-15"
	c.query("cloudformation", "CreateStack", version, form, new(struct{}))
	var answer struct {
		Stacks []struct {
			Status  string `xml:"StackStatus"`
			Outputs []struct {
				OutputKey, OutputValue string
			} `xml:"Outputs>member"`
		} `xml:"DescribeStacksResult>Stacks>member"`
	}
	c.query("cloudformation", "DescribeStacks", version, url.Values{"StackName": {name}}, &answer)
	if len(answer.Stacks) != 1 || answer.Stacks[0].Status != "CREATE_COMPLETE" {
		c.t.Fatalf("stack %s: %+v", name, answer)
	}
	outputs := map[string]string{}
	for _, o := range answer.Stacks[0].Outputs {
		outputs[o.OutputKey] = o.OutputValue
	}
	return outputs
}

// policy returns the statements of a managed policy.
func (c *cloud) policy(arn string) map[string]statement {
	c.t.Helper()
	var answer struct {
		Document string `xml:"GetPolicyVersionResult>PolicyVersion>Document"`
	}
	c.query("iam", "GetPolicyVersion", "2010-05-08", url.Values{"PolicyArn": {arn}, "VersionId": {"v1"}}, &answer)
	text, err := url.QueryUnescape(answer.Document)
	if err != nil {
		c.t.Fatal(err)
	}
	var document any
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		c.t.Fatalf("%v: %s", err, text)
	}
	return statements(c.t, document)
}

// subnets returns a network and two subnets of it in different zones.
func (c *cloud) subnets() (vpc, a, b string) {
	c.t.Helper()
	var answer struct {
		Subnets []struct {
			ID  string `xml:"subnetId"`
			VPC string `xml:"vpcId"`
		} `xml:"subnetSet>item"`
	}
	c.query("ec2", "DescribeSubnets", "2016-11-15", url.Values{}, &answer)
	if len(answer.Subnets) < 2 || answer.Subnets[0].VPC != answer.Subnets[1].VPC {
		c.t.Fatalf("subnets %+v", answer)
	}
	return answer.Subnets[0].VPC, answer.Subnets[0].ID, answer.Subnets[1].ID
}
