package e2e

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// From a bucket's notification to the sink, by every way that AWS has for it.
// The worker polls once, at its start: what comes later it knows from its queue
// alone.
func TestNotifications(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		connect func(*site, *messages)
		formats []string // of the messages that arrive
	}{
		{"S3 to SQS", toQueue, []string{"s3", "test"}},
		{"S3 to SNS to SQS", func(s *site, q *messages) { toTopic(s, q, "false") }, []string{"s3-sns", "test"}},
		{"S3 to SNS to SQS raw", func(s *site, q *messages) { toTopic(s, q, "true") }, []string{"s3", "test"}},
		{"S3 to EventBridge to SQS", toBus, []string{"eventbridge"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			aws := emulator(t)
			s, q := newSite(t, aws), newQueue(t, aws)
			s.hours(1)
			s.deliver()
			w := s.work(settings{sqs: aws.inside, args: byQueue(q.inside(aws.inside))})
			w.reached()
			tt.connect(s, q)
			for range 3 {
				s.hours(1)
				s.deliver()
				w.reached()
			}
			q.drained()
			acked := w.metrics()
			for _, f := range tt.formats {
				if acked[fmt.Sprintf(`trailseal_messages_total{format="%s",outcome="acked"}`, f)] < 1 {
					t.Errorf("no message in the format %s was acknowledged", f)
				}
			}
			if n := acked[`trailseal_messages_total{format="unknown",outcome="left"}`]; n != 0 {
				t.Errorf("%v messages are not understood", n)
			}
			s.accountFor(w)
			s.verify(0)
		})
	}
}

const bothEvents = types.Event("s3:ObjectCreated:*")

func (s *site) notifies(c *types.NotificationConfiguration) {
	s.t.Helper()
	_, err := s.server.client().PutBucketNotificationConfiguration(s.t.Context(), &s3.PutBucketNotificationConfigurationInput{
		Bucket: &s.bucket, NotificationConfiguration: c,
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func toQueue(s *site, q *messages) {
	arn := q.arn()
	s.notifies(&types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{{QueueArn: &arn, Events: []types.Event{bothEvents}}}})
}

func toTopic(s *site, q *messages, raw string) {
	s.t.Helper()
	var made struct {
		ARN string `xml:"CreateTopicResult>TopicArn"`
	}
	s.sns(url.Values{"Action": {"CreateTopic"}, "Name": {q.name}}, &made)
	s.sns(url.Values{
		"Action": {"Subscribe"}, "TopicArn": {made.ARN}, "Protocol": {"sqs"}, "Endpoint": {q.arn()},
		"Attributes.entry.1.key": {"RawMessageDelivery"}, "Attributes.entry.1.value": {raw},
	}, &struct{}{})
	s.notifies(&types.NotificationConfiguration{TopicConfigurations: []types.TopicConfiguration{{TopicArn: &made.ARN, Events: []types.Event{bothEvents}}}})
}

func toBus(s *site, q *messages) {
	s.t.Helper()
	pattern, err := json.Marshal(map[string]any{"source": []string{"aws.s3"}, "detail": map[string]any{"bucket": map[string]any{"name": []string{s.bucket}}}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.events("PutRule", map[string]any{"Name": q.name, "EventPattern": string(pattern)})
	s.events("PutTargets", map[string]any{"Rule": q.name, "Targets": []any{map[string]any{"Id": "1", "Arn": q.arn()}}})
	s.notifies(&types.NotificationConfiguration{EventBridgeConfiguration: &types.EventBridgeConfiguration{}})
}

// sns calls SNS's query API, for which no client need be linked.
func (s *site) sns(form url.Values, out any) {
	s.t.Helper()
	form.Set("Version", "2010-03-31")
	b := s.call("sns", "application/x-www-form-urlencoded", "", []byte(form.Encode()))
	if err := xml.Unmarshal(b, out); err != nil {
		s.t.Fatalf("%v: %s", err, b)
	}
}

// events calls EventBridge's JSON API.
func (s *site) events(action string, in any) {
	s.t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		s.t.Fatal(err)
	}
	s.call("events", "application/x-amz-json-1.1", "AWSEvents."+action, b)
}

// call posts to the emulator, which tells services apart by the scope of the
// signature and does not check that.
func (s *site) call(service, media, target string, body []byte) []byte {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.server.url(s.server.port), bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", media)
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+accessKey(s.t)+"/20260301/"+region+"/"+service+"/aws4_request, SignedHeaders=host, Signature=0")
	if target != "" {
		r.Header.Set("X-Amz-Target", target)
	}
	answer, err := browser.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s %s %v", service, answer.Status, b, err)
	}
	return b
}
