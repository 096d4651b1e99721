package testtrail

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"
)

type fields = map[string]any

// sampleRecord has the members of an event in CloudTrail's order.
type sampleRecord struct {
	EventVersion      string  `json:"eventVersion"`
	UserIdentity      fields  `json:"userIdentity"`
	EventTime         string  `json:"eventTime"`
	EventSource       string  `json:"eventSource"`
	EventName         string  `json:"eventName"`
	AWSRegion         string  `json:"awsRegion"`
	SourceIPAddress   string  `json:"sourceIPAddress"`
	UserAgent         string  `json:"userAgent"`
	RequestParameters fields  `json:"requestParameters"`
	ResponseElements  fields  `json:"responseElements"`
	RequestID         string  `json:"requestID"`
	EventID           string  `json:"eventID"`
	ReadOnly          bool    `json:"readOnly"`
	EventType         string  `json:"eventType"`
	ManagementEvent   bool    `json:"managementEvent"`
	Recipient         string  `json:"recipientAccountId"`
	EventCategory     string  `json:"eventCategory"`
	TLSDetails        *fields `json:"tlsDetails,omitempty"`
}

// caller is who makes a call, and from where.
type caller struct {
	identity fields
	from     string
	agent    string
}

// call is what is asked of a service.
type call struct {
	service  string
	name     string
	readOnly bool
	request  fields
}

// record returns the event of a call.
func (c *Chain) record(at time.Time, by caller, what call) json.RawMessage {
	sum := sha256.Sum256(fmt.Appendf(nil, "sample event %d", c.trail.world.next()))
	r := sampleRecord{
		EventVersion: "1.11", UserIdentity: by.identity, EventTime: at.UTC().Format(time.RFC3339),
		EventSource: what.service + ".amazonaws.com", EventName: what.name, AWSRegion: c.region,
		SourceIPAddress: by.from, UserAgent: by.agent, RequestParameters: what.request,
		RequestID: uuid(sum[16:]), EventID: uuid(sum[:16]), ReadOnly: what.readOnly,
		EventType: "AwsApiCall", ManagementEvent: true, Recipient: c.account, EventCategory: "Management",
	}
	if by.identity["type"] != "AWSService" {
		r.TLSDetails = &fields{
			"tlsVersion": "TLSv1.3", "cipherSuite": "TLS_AES_128_GCM_SHA256",
			"clientProvidedHostHeader": what.service + "." + c.region + ".amazonaws.com",
		}
	}
	b, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return b
}

func uuid(b []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// user is someone at a shell with a long-lived key.
func (c *Chain) user(name, from string) caller {
	return caller{
		identity: fields{
			"type": "IAMUser", "principalId": id("AIDA", name), "arn": "arn:aws:iam::" + c.account + ":user/" + name,
			"accountId": c.account, "accessKeyId": id("AKIA", name), "userName": name,
		},
		from: from, agent: "aws-cli/2.31.12 md/awscrt#0.27.6 ua/2.1 os/linux#6.8.0 md/arch#x86_64 lang/python#3.13.7",
	}
}

// role is a program or a person in an assumed role.
func (c *Chain) role(name, session, from string) caller {
	return caller{
		identity: fields{
			"type": "AssumedRole", "principalId": id("AROA", name) + ":" + session,
			"arn":       "arn:aws:sts::" + c.account + ":assumed-role/" + name + "/" + session,
			"accountId": c.account, "accessKeyId": id("ASIA", name+session),
			"sessionContext": fields{
				"sessionIssuer": fields{
					"type": "Role", "principalId": id("AROA", name), "arn": "arn:aws:iam::" + c.account + ":role/" + name,
					"accountId": c.account, "userName": name,
				},
				"attributes": fields{"creationDate": "2026-03-01T00:00:00Z", "mfaAuthenticated": "false"},
			},
		},
		from: from, agent: "aws-sdk-go-v2/1.47.7 ua/2.1 os/linux lang/go#1.26.8 md/GOARCH#arm64",
	}
}

// service is a part of AWS that acts on its own.
func (c *Chain) service(name string) caller {
	host := name + ".amazonaws.com"
	return caller{identity: fields{"type": "AWSService", "invokedBy": host}, from: host, agent: host}
}

// id returns an identifier of the form that AWS gives out, made up of a name.
func id(prefix, name string) string {
	sum := sha256.Sum256([]byte(prefix + name))
	return fmt.Sprintf("%s%X", prefix, sum[:8])
}

// ordinary returns the n-th call of a day on which nothing happens.
func (c *Chain) ordinary(n int) (caller, call) {
	everyday := []struct {
		by   caller
		what call
	}{
		{c.role("deploy", "ci-4711", "203.0.113.10"), call{"ec2", "DescribeInstances", true, fields{"maxResults": 100, "instancesSet": fields{}, "filterSet": fields{}}}},
		{c.user("alice", "192.0.2.21"), call{"s3", "GetBucketPolicy", true, fields{"bucketName": "example-reports", "Host": "example-reports.s3.amazonaws.com", "policy": ""}}},
		{c.service("config"), call{"sts", "AssumeRole", true, fields{"roleArn": "arn:aws:iam::" + c.account + ":role/config", "roleSessionName": "AWSConfig-Describe"}}},
		{c.role("backup", "nightly", "203.0.113.34"), call{"dynamodb", "CreateBackup", false, fields{"tableName": "orders", "backupName": fmt.Sprintf("orders-%d", n)}}},
		{c.user("bob", "192.0.2.77"), call{"iam", "ListAccessKeys", true, fields{"userName": "bob"}}},
		{c.role("deploy", "ci-4711", "203.0.113.10"), call{"lambda", "UpdateFunctionCode20150331v2", false, fields{"functionName": "checkout", "s3Bucket": "example-artifacts", "publish": true}}},
		{c.role("app", fmt.Sprintf("i-0%015x", 40503*n), "203.0.113.52"), call{"kms", "Decrypt", true, fields{"encryptionAlgorithm": "SYMMETRIC_DEFAULT", "encryptionContext": fields{"table": "orders"}}}},
		{c.service("autoscaling"), call{"ec2", "RunInstances", false, fields{"instanceType": "m7g.large", "instancesSet": fields{"items": []fields{{"imageId": "ami-0123456789abcdef0", "minCount": 1, "maxCount": 1}}}}}},
		{c.role("support", "carol", "198.51.100.90"), call{"cloudwatch", "DescribeAlarms", true, fields{"stateValue": "ALARM"}}},
		{c.user("alice", "192.0.2.21"), call{"ec2", "AuthorizeSecurityGroupIngress", false, fields{"groupId": "sg-0123456789abcdef0", "ipPermissions": fields{"items": []fields{{"ipProtocol": "tcp", "fromPort": 443, "toPort": 443}}}}}},
		{c.role("app", fmt.Sprintf("i-0%015x", 40503*n), "203.0.113.52"), call{"secretsmanager", "GetSecretValue", true, fields{"secretId": "prod/checkout/api"}}},
	}
	e := everyday[n%len(everyday)]
	return e.by, e.what
}
