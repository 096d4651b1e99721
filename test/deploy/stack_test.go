package deploy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

const sinkBucket = "proven-events"

// deployed is what the three templates made.
type deployed struct {
	*cloud
	queue, access map[string]string // outputs
	task          []string          // environment of the task
	sample        *sample
}

// A stack of the templates is made, the sample's objects come into the bucket,
// and the program, with the settings of the task definition, puts the proven
// events into the sink: by the queue, since it looks into the bucket only once
// and most digests come after that.
func TestStackFeedsIngest(t *testing.T) {
	t.Parallel()
	url := moto(t)
	for name, row := range map[string]struct {
		delivery string
		reader   bool
		format   string // of the messages
		every    bool   // object is announced, not only each digest
	}{
		"S3 to SQS": {"S3", false, "s3", true},
		"S3 to EventBridge to SQS, role with external id": {"EventBridge", true, "eventbridge", false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newStacks(t, newCloud(t, url), row.delivery, row.reader)
			d.setNotifications()
			before, after, want := d.sample.before, d.sample.after, d.sample.proven
			d.upload(before)
			w := d.start()
			w.ready()
			d.upload(after)
			d.put("elsewhere/CloudTrail-Digest/note.txt", []byte("none of the trail's"), nil)
			announced := len(before) + len(after)
			if !row.every {
				announced = len(slices.DeleteFunc(slices.Concat(before, after), func(key string) bool { return !isDigest(key) }))
			}
			await(t, time.Minute, "events in the sink", func() error {
				if got := d.sinkEvents(); !slices.Equal(got, want) {
					return fmt.Errorf("%d events, want %d", len(got), len(want))
				}
				return nil
			})
			await(t, time.Minute, "messages", func() error {
				if got := w.metric(`trailseal_messages_total{format="` + row.format + `",outcome="acked"}`); got != announced {
					return fmt.Errorf("%d messages dealt with, want %d", got, announced)
				}
				return nil
			})
			d.remove()
			await(t, time.Minute, "finding", func() error {
				if !strings.Contains(w.findings(), "deleted after it was listed") {
					return errors.New(w.findings())
				}
				return nil
			})
			w.check()
			w.stop()
			d.emptyQueues()
		})
	}
}

func newStacks(t *testing.T, c *cloud, delivery string, reader bool) *deployed {
	t.Helper()
	d := &deployed{cloud: c, sample: readSample(t)}
	const bucket = sampleBucket
	d.queue = d.deploy("trailseal", "queue.yaml", map[string]string{
		"TrailBucket": bucket, "CreateBucket": "yes", "TrailArn": "arn:aws:cloudtrail:us-east-1:111122223333:trail/main", "Delivery": delivery,
	})
	access := map[string]string{"TrailBucket": bucket, "QueueArn": d.queue["QueueArn"]}
	if reader {
		access["ReaderArn"], access["ExternalId"] = "arn:aws:iam::"+motoAccount+":role/worker-task", "x-1"
	}
	d.access = d.deploy("access", "access.yaml", access)
	for _, s := range d.policy(d.access["IngestPolicyArn"]) {
		if s.Actions[0] == "sqs:ChangeMessageVisibility" && !slices.Equal(s.Resources, []string{"arn:aws:sqs:us-east-1:" + motoAccount + ":trailseal"}) {
			t.Errorf("policy is about %v", s.Resources)
		}
	}
	if _, err := d.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(sinkBucket)}); err != nil {
		t.Fatal(err)
	}
	vpc, a, b := d.subnets()
	worker := map[string]string{
		"Image": "trailseal:test", "VpcId": vpc, "SubnetA": a, "SubnetB": b, "Source": d.queue["Source"], "QueueUrl": d.queue["QueueUrl"],
		"SinkBucket": sinkBucket, "Since": "2026-03-01",
	}
	if reader {
		worker["ReaderRoleArn"], worker["ExternalId"] = d.access["ReaderRoleArn"], "x-1"
	} else {
		worker["IngestPolicyArn"] = d.access["IngestPolicyArn"]
	}
	outputs := d.deploy("worker", "worker.yaml", worker)
	if want := "arn:aws:iam::" + motoAccount + ":role/worker-task"; outputs["TaskRoleArn"] != want {
		t.Errorf("task role %s, want %s", outputs["TaskRoleArn"], want)
	}
	d.task = d.environment()
	return d
}

// environment is what ECS would give the container.
func (d *deployed) environment() (env []string) {
	d.t.Helper()
	var answer struct {
		TaskDefinition struct {
			ContainerDefinitions []struct {
				Environment []struct{ Name, Value string }
			}
		}
	}
	d.ask("ecs", "AmazonEC2ContainerServiceV20141113.DescribeTaskDefinition", map[string]string{"taskDefinition": "worker"}, &answer)
	if len(answer.TaskDefinition.ContainerDefinitions) != 1 {
		d.t.Fatalf("%+v", answer)
	}
	for _, v := range answer.TaskDefinition.ContainerDefinitions[0].Environment {
		env = append(env, v.Name+"="+v.Value)
	}
	return env
}

// setNotifications does what the README says for a bucket of before: moto's
// CloudFormation leaves the notifications of a bucket out.
func (d *deployed) setNotifications() {
	d.t.Helper()
	n := parseNotifications(d.t, d.queue["NotificationConfiguration"])
	in := &s3types.NotificationConfiguration{}
	if n.EventBridge != nil {
		in.EventBridgeConfiguration = &s3types.EventBridgeConfiguration{}
	}
	for _, q := range n.Queues {
		one := s3types.QueueConfiguration{Id: &q.ID, QueueArn: &q.QueueArn, Filter: &s3types.NotificationConfigurationFilter{Key: &s3types.S3KeyFilter{}}}
		for _, e := range q.Events {
			one.Events = append(one.Events, s3types.Event(e))
		}
		for _, r := range q.Filter.Key.FilterRules {
			one.Filter.Key.FilterRules = append(one.Filter.Key.FilterRules, s3types.FilterRule{Name: s3types.FilterRuleName(r.Name), Value: &r.Value})
		}
		in.QueueConfigurations = append(in.QueueConfigurations, one)
	}
	if _, err := d.s3.PutBucketNotificationConfiguration(d.t.Context(), &s3.PutBucketNotificationConfigurationInput{
		Bucket: aws.String(sampleBucket), NotificationConfiguration: in,
	}); err != nil {
		d.t.Fatal(err)
	}
}

func (d *deployed) upload(keys []string) {
	d.t.Helper()
	for _, key := range keys {
		o := d.sample.objects[key]
		d.put(key, o.body, o.meta)
	}
}

func (d *deployed) put(key string, body []byte, meta map[string]string) {
	d.t.Helper()
	in := &s3.PutObjectInput{Bucket: aws.String(sampleBucket), Key: &key, Body: bytes.NewReader(body), Metadata: meta}
	if _, err := d.s3.PutObject(d.t.Context(), in); err != nil {
		d.t.Fatal(err)
	}
}

// remove deletes a log file, which someone has to be told.
func (d *deployed) remove() {
	d.t.Helper()
	key := d.sample.before[slices.IndexFunc(d.sample.before, func(key string) bool { return !isDigest(key) })]
	if _, err := d.s3.DeleteObject(d.t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(sampleBucket), Key: &key}); err != nil {
		d.t.Fatal(err)
	}
}

// sinkEvents are the events of the objects in the sink, by log and number.
func (d *deployed) sinkEvents() (all []string) {
	d.t.Helper()
	list, err := d.s3.ListObjectsV2(d.t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(sinkBucket), Prefix: aws.String("proven/")})
	if err != nil {
		d.t.Fatal(err)
	}
	for _, o := range list.Contents {
		got, err := d.s3.GetObject(d.t.Context(), &s3.GetObjectInput{Bucket: aws.String(sinkBucket), Key: o.Key})
		if err != nil {
			d.t.Fatal(err)
		}
		b, err := io.ReadAll(got.Body)
		if err = errors.Join(err, got.Body.Close()); err != nil {
			d.t.Fatal(err)
		}
		for line := range bytes.Lines(inflated(d.t, b)) {
			var e struct {
				Trailseal struct {
					Status, Log string
					Record      int
				}
			}
			if err := json.Unmarshal(line, &e); err != nil || e.Trailseal.Status != "verified" {
				d.t.Fatalf("%v: %s", err, line)
			}
			all = append(all, fmt.Sprintf("%s %d", e.Trailseal.Log, e.Trailseal.Record))
		}
	}
	slices.Sort(all)
	return all
}

// emptyQueues demands that nothing is left, and nothing was not understood.
func (d *deployed) emptyQueues() {
	d.t.Helper()
	for _, u := range []string{d.queue["QueueUrl"], d.queue["DeadLetterQueueUrl"]} {
		a, err := d.sqs.GetQueueAttributes(d.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &u, AttributeNames: []sqstypes.QueueAttributeName{"All"}})
		if err != nil {
			d.t.Fatal(err)
		}
		if a.Attributes["ApproximateNumberOfMessages"] != "0" || a.Attributes["ApproximateNumberOfMessagesNotVisible"] != "0" {
			d.t.Errorf("%s: %v", u, a.Attributes)
		}
	}
}
