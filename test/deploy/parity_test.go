package deploy

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/zclconf/go-cty/cty"
)

// What both kinds are given, so that their answers can be compared.
const (
	reader    = "arn:aws:iam::444455556666:role/trailseal-task"
	readerArn = "arn:aws:iam::" + account + ":role/trailseal-reader"
	bucketKey = "arn:aws:kms:us-east-1:111122223333:key/b"
	queueKey  = "arn:aws:kms:us-east-1:111122223333:key/q"
	sinkKey   = "arn:aws:kms:us-east-1:111122223333:key/s"
	queueArn  = "arn:aws:sqs:us-east-1:111122223333:trailseal"
	deadArn   = queueArn + "-dead"
	queueURL  = "https://sqs.us-east-1.amazonaws.com/111122223333/trailseal"
)

var (
	allOfAccess = map[string]string{
		"TrailBucket": "b", "TrailPrefix": "p/", "BucketKeyArn": bucketKey, "QueueArn": queueArn, "QueueKeyArn": queueKey,
		"ReaderArn": reader, "ExternalId": "x-1",
	}
	allOfWorker = map[string]string{
		"Image": "image:1", "Source": "s3://b/p/", "QueueUrl": queueURL, "ReaderRoleArn": readerArn, "ExternalId": "x-1",
		"SinkBucket": "s", "SinkKeyArn": sinkKey,
	}
)

// text turns strings into values of variables.
func text(variables map[string]string) map[string]cty.Value {
	values := map[string]cty.Value{}
	for name, v := range variables {
		values[name] = cty.StringVal(v)
	}
	return values
}

var around = map[string]map[string]string{
	"data.aws_partition.current":       {"partition": "aws"},
	"data.aws_caller_identity.current": {"account_id": account},
}

func with(more map[string]map[string]string, drop ...string) map[string]map[string]string {
	all := maps.Clone(around)
	maps.Copy(all, more)
	for _, name := range drop {
		delete(all, name)
	}
	return all
}

func equal(t *testing.T, what string, template, module any) {
	t.Helper()
	if !reflect.DeepEqual(template, module) {
		t.Errorf("%s differs:\ntemplate %v\nmodule   %v", what, template, module)
	}
}

func TestQueueIsTheSameInBoth(t *testing.T) {
	for name, row := range map[string]struct{ delivery, prefix, reader, key string }{
		"S3":                  {delivery: "S3"},
		"EventBridge":         {delivery: "EventBridge"},
		"S3, all of it":       {"S3", "p/", reader, queueKey},
		"EventBridge, all":    {"EventBridge", "p/", reader, queueKey},
		"EventBridge, prefix": {delivery: "EventBridge", prefix: "a/b/"},
	} {
		t.Run(name, func(t *testing.T) {
			c := load(t, "queue.yaml", map[string]string{
				"TrailBucket": "b", "TrailPrefix": row.prefix, "Delivery": row.delivery, "ReaderArn": row.reader, "QueueKeyArn": row.key,
				"CreateBucket": "yes", "TrailArn": "arn:aws:cloudtrail:us-east-1:111122223333:trail/main",
			})
			c.attributes = map[string]string{"Queue.Arn": queueArn, "DeadLetterQueue.Arn": deadArn, "DigestRule.Arn": "rule/digests", "DeletionRule.Arn": "rule/deletions"}
			attributes := with(map[string]map[string]string{
				"aws_sqs_queue.this": {"arn": queueArn, "id": queueURL}, "aws_sqs_queue.dead": {"arn": deadArn, "id": queueURL + "-dead"},
				"aws_cloudwatch_event_rule.digest[0]":   {"arn": "rule/digests", "name": "digests"},
				"aws_cloudwatch_event_rule.deletion[0]": {"arn": "rule/deletions", "name": "deletions"},
			})
			m := terraform(t, "queue", text(map[string]string{
				"trail_bucket": "b", "trail_prefix": row.prefix, "delivery": row.delivery, "reader_arn": row.reader, "queue_key_arn": row.key,
			}), attributes)
			equal(t, "queue policy", statements(t, c.properties("QueuePolicy")["PolicyDocument"]), m.policy("queue"))
			compareQueues(t, c, m)
			compareNotifications(t, c, m, row.delivery, row.prefix+"AWSLogs/")
		})
	}
}

func compareQueues(t *testing.T, c *template, m *module) {
	t.Helper()
	for resource, address := range map[string]string{"Queue": "aws_sqs_queue.this", "DeadLetterQueue": "aws_sqs_queue.dead"} {
		p := c.properties(resource)
		for property, attribute := range map[string]string{
			"MessageRetentionPeriod": "message_retention_seconds", "KmsMasterKeyId": "kms_master_key_id", "SqsManagedSseEnabled": "sqs_managed_sse_enabled",
		} {
			equal(t, resource+" "+property, words(p[property]), words(native(t, m.attribute(address, attribute))))
		}
	}
	p := c.properties("Queue")
	equal(t, "visibility", fmt.Sprint(p["VisibilityTimeout"]), fmt.Sprint(native(t, m.attribute("aws_sqs_queue.this", "visibility_timeout_seconds"))))
	equal(t, "wait", fmt.Sprint(p["ReceiveMessageWaitTimeSeconds"]), fmt.Sprint(native(t, m.attribute("aws_sqs_queue.this", "receive_wait_time_seconds"))))
	equal(t, "redrive", fmt.Sprint(p["RedrivePolicy"]), fmt.Sprint(m.fromJSON("aws_sqs_queue.this", "redrive_policy")))
	equal(t, "redrive allow", fmt.Sprint(c.properties("DeadLetterQueue")["RedriveAllowPolicy"]),
		fmt.Sprint(m.fromJSON("aws_sqs_queue_redrive_allow_policy.dead", "redrive_allow_policy")))
}

func compareNotifications(t *testing.T, c *template, m *module, delivery, prefix string) {
	t.Helper()
	output := at(t, c.eval(c.outputs["NotificationConfiguration"]), "Value").(string)
	bucket := c.properties("Bucket")["NotificationConfiguration"]
	eventBridge := native(t, m.attribute("aws_s3_bucket_notification.trail", "eventbridge"))
	if delivery == "EventBridge" {
		for resource, address := range map[string]string{"DigestRule": "digest", "DeletionRule": "deletion"} {
			equal(t, resource, c.properties(resource)["EventPattern"], m.fromJSON("aws_cloudwatch_event_rule."+address, "event_pattern"))
			equal(t, resource+", target", at(t, c.properties(resource), "Targets", 0, "Arn"), native(t, m.attribute("aws_cloudwatch_event_target."+address, "arn")))
		}
		equal(t, "bucket", bucket, map[string]any{"EventBridgeConfiguration": map[string]any{"EventBridgeEnabled": true}})
		equal(t, "output", output, `{"EventBridgeConfiguration":{}}`)
		equal(t, "eventbridge", true, eventBridge)
		return
	}
	if c.properties("DigestRule") != nil || c.properties("DeletionRule") != nil {
		t.Error("rules, though S3 announces itself")
	}
	equal(t, "eventbridge", false, eventBridge)
	var events []string
	for _, q := range at(t, bucket, "QueueConfigurations").([]any) {
		events = append(events, at(t, q, "Event").(string))
		equal(t, "bucket, queue", at(t, q, "Queue"), queueArn)
		equal(t, "bucket, filter", at(t, q, "Filter", "S3Key", "Rules", 0), map[string]any{"Name": "prefix", "Value": prefix})
	}
	equal(t, "events", words([]any{events[0], events[1]}), []string{"s3:ObjectCreated:*", "s3:ObjectRemoved:*"})
	configuration := parseNotifications(t, output).Queues[0]
	equal(t, "output, events", configuration.Events, events)
	equal(t, "output, queue", configuration.QueueArn, queueArn)
	equal(t, "output, filter", fmt.Sprint(configuration.Filter), "{{[{prefix "+prefix+"}]}}")
	content := m.blocks["aws_s3_bucket_notification.trail"].Body.Blocks[0].Body.Blocks[0].Body
	equal(t, "module, events", events, anyToStrings(native(t, m.value(content.Attributes["events"].Expr, m.scope))))
	equal(t, "module, filter", prefix, native(t, m.value(content.Attributes["filter_prefix"].Expr, m.scope)))
}

func anyToStrings(v any) (all []string) {
	for _, e := range v.([]any) {
		all = append(all, e.(string))
	}
	return all
}

// The statements of the README are those that the template gives a bucket.
func TestReadmeGivesTheBucketPolicy(t *testing.T) {
	c := load(t, "queue.yaml", map[string]string{
		"TrailBucket": "my-trail-bucket", "CreateBucket": "yes", "TrailArn": "t", "ReaderArn": "arn:aws:iam::444455556666:role/trailseal-ingest-task",
	})
	c.attributes = map[string]string{"Bucket.Arn": "arn:aws:s3:::my-trail-bucket"}
	want := statements(t, c.properties("BucketPolicy")["PolicyDocument"])
	readme := string(read(t, "deploy/aws/README.md"))
	var list []any
	if err := json.Unmarshal([]byte("["+between(t, readme, "```json\n[", "\n]")+"]"), &list); err != nil {
		t.Fatal(err)
	}
	for sid, got := range statements(t, map[string]any{"Statement": list}) {
		equal(t, sid, want[sid], got)
		delete(want, sid)
	}
	for _, own := range []string{"OnlyWithTLS", "CloudTrailLooks", "CloudTrailWrites"} {
		delete(want, own)
	}
	if len(want) > 0 || len(list) != 2 {
		t.Errorf("the README lacks %v", want)
	}
}

func TestAccessIsTheSameInBoth(t *testing.T) {
	all := map[string]string{
		"trail_bucket": "b", "trail_prefix": "p/", "bucket_key_arn": bucketKey, "queue_arn": queueArn, "queue_key_arn": queueKey,
		"reader_arn": reader, "external_id": "x-1",
	}
	for name, row := range map[string]struct{ template, module map[string]string }{
		"all of it": {allOfAccess, all},
		"the least": {map[string]string{"TrailBucket": "b"}, map[string]string{"trail_bucket": "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := load(t, "access.yaml", row.template)
			m := terraform(t, "access", text(row.module), with(nil, "data.aws_caller_identity.current"))
			equal(t, "ingest", statements(t, c.properties("IngestPolicy")["PolicyDocument"]), m.policy("ingest"))
			equal(t, "verifier", statements(t, c.properties("VerifierPolicy")["PolicyDocument"]), m.policy("verifier"))
			role := c.properties("ReaderRole")
			if role == nil {
				equal(t, "no role", "0", fmt.Sprint(native(t, m.attribute("aws_iam_role.reader", "count"))))
				return
			}
			trust := statements(t, role["AssumeRolePolicyDocument"])
			equal(t, "trust", trust, m.policy("trust"))
			equal(t, "conditions", trust[""].Conditions, []string{"ArnEquals aws:PrincipalArn [" + reader + "]", "StringEquals sts:ExternalId [x-1]"})
			equal(t, "principal", trust[""].Principals, []string{"AWS arn:aws:iam::444455556666:root"})
		})
	}
}

func TestWorkerIsTheSameInBoth(t *testing.T) {
	const logs = "arn:aws:logs:us-east-1:111122223333:log-group:/trailseal/trailseal"
	attributes := with(map[string]map[string]string{
		"aws_cloudwatch_log_group.ingest": {"arn": logs, "name": "logs"},
		"aws_iam_role.task":               {"arn": "task", "name": "task", "id": "task"},
		"aws_efs_file_system.state":       {"arn": "state", "id": "state"},
	})
	for name, row := range map[string]struct{ template, module map[string]string }{
		"by role": {allOfWorker, map[string]string{
			"image": "image:1", "trail_source": "s3://b/p/", "queue_url": queueURL, "reader_role_arn": readerArn, "external_id": "x-1",
			"sink_bucket": "s", "sink_key_arn": sinkKey,
		}},
		"by itself": {
			map[string]string{"Image": "image:1", "Source": "s3://b/", "QueueUrl": queueURL, "IngestPolicyArn": "p", "SinkBucket": "s", "Since": "30d"},
			map[string]string{"image": "image:1", "trail_source": "s3://b/", "queue_url": queueURL, "ingest_policy_arn": "p", "sink_bucket": "s", "since": "30d"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := load(t, "worker.yaml", row.template)
			c.attributes = map[string]string{"LogGroup": "logs", "TaskRole.Arn": "task"}
			m := terraform(t, "worker", text(row.module), attributes)
			role := c.properties("TaskRole")
			equal(t, "task role", statements(t, at(t, role, "Policies", 0, "PolicyDocument")), m.policy("task"))
			equal(t, "trust", statements(t, role["AssumeRolePolicyDocument"]), m.policy("task_trust"))
			equal(t, "execution trust", statements(t, c.properties("ExecutionRole")["AssumeRolePolicyDocument"]), m.policy("execution_trust"))
			state := m.policy("state")
			ingest := state["Ingest"]
			ingest.Resources = []string{"*"} // a template's file system cannot name itself in its own policy
			state["Ingest"] = ingest
			equal(t, "file system", statements(t, c.properties("State")["FileSystemPolicy"]), state)
			equal(t, "container", canonical(at(t, c.properties("Task"), "ContainerDefinitions", 0)),
				canonical(m.fromJSON("aws_ecs_task_definition.ingest", "container_definitions").([]any)[0]))
			equal(t, "at least", fmt.Sprint(at(t, c.properties("Service"), "DeploymentConfiguration", "MinimumHealthyPercent")),
				fmt.Sprint(native(t, m.attribute("aws_ecs_service.ingest", "deployment_minimum_healthy_percent"))))
			equal(t, "at most", fmt.Sprint(at(t, c.properties("Service"), "DeploymentConfiguration", "MaximumPercent")),
				fmt.Sprint(native(t, m.attribute("aws_ecs_service.ingest", "deployment_maximum_percent"))))
		})
	}
}

// canonical writes a container definition so that the two spellings of names
// and the order of lists do not matter.
func canonical(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var all []string
		for name, e := range v {
			all = append(all, strings.ToLower(name)+"="+canonical(e))
		}
		slices.Sort(all)
		return "{" + strings.Join(all, " ") + "}"
	case []any:
		var all []string
		for _, e := range v {
			all = append(all, canonical(e))
		}
		slices.Sort(all)
		return "[" + strings.Join(all, " ") + "]"
	}
	return fmt.Sprint(v)
}
