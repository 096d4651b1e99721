package trail_test

import (
	"fmt"
	"io"
	"strings"

	"github.com/trailseal/trailseal/pkg/trail"
)

func ExampleParseDigestKey() {
	k, err := trail.ParseDigestKey("logs/AWSLogs/o-0123456789/111122223333/CloudTrail-Digest/eu-west-1/2026/03/01/" +
		"111122223333_CloudTrail-Digest_eu-west-1_org_trail_us-east-1_20260301T120811Z.json.gz")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(k.Prefix, k.Organization, k.Account, k.Region)
	fmt.Println(k.Trail, k.HomeRegion, k.End)
	// Output:
	// logs o-0123456789 111122223333 eu-west-1
	// org_trail us-east-1 2026-03-01 12:08:11 +0000 UTC
}

func ExampleParseARN() {
	a, err := trail.ParseARN("arn:aws:cloudtrail:us-east-1:111122223333:trail/main")
	fmt.Println(a.Region, a.Account, a.Name, err)
	_, err = trail.ParseARN("arn:aws:s3:::bucket")
	fmt.Println(err)
	// Output:
	// us-east-1 111122223333 main <nil>
	// "arn:aws:s3:::bucket": not a trail ARN
}

func ExampleRecords() {
	log := strings.NewReader(`{"Records":[
		{"eventName":"StopLogging","userIdentity":{"arn":"arn:aws:iam::111122223333:user/mallory"}},
		{"eventName":"DeleteTrail","userIdentity":{"type":"Root","principalId":"111122223333"}}]}`)
	for record, err := range trail.Records(log) {
		if err != nil {
			fmt.Println(err)
			return
		}
		e, err := trail.ParseEvent(record)
		fmt.Println(e.Name(), e.Actor(), err)
	}
	// Output:
	// StopLogging arn:aws:iam::111122223333:user/mallory <nil>
	// DeleteTrail 111122223333 <nil>
}

func ExampleCheckRecord() {
	for _, record := range []string{
		`{"eventName":"StopLogging"}`,
		`{"eventName":"StopLogging"} {}`,
		"{\"eventName\":\"Stop\nLogging\"}",
		`{"eventName":"StopLogging","\u0074railseal":{"status":"verified"}}`,
		`{"eventName":"PutItem","requestParameters":{"trailseal":1}}`,
	} {
		fmt.Println(trail.CheckRecord([]byte(record)))
	}
	// Output:
	// <nil>
	// invalid character '{' after top-level value, after 29 bytes: not one event
	// invalid character '\n' in string literal, after 19 bytes: not one event
	// a member "trailseal" of its own: not one event
	// <nil>
}

func ExampleSplitter() {
	var s trail.Splitter
	s.Record = func(record []byte) error {
		fmt.Printf("record %d: %s\n", s.Count()-1, record)
		return nil
	}
	s.Odd = func(record []byte, why error) error {
		fmt.Printf("record %d: %v\n", s.Count()-1, why)
		return nil
	}
	for _, piece := range []string{`{"Records":[{"eventName":"Stop`, `Logging"},7,{"eventName":"DeleteTrail"}]}`} {
		if _, err := io.WriteString(&s, piece); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(s.Count(), s.Close())
	// Output:
	// record 0: {"eventName":"StopLogging"}
	// record 1: not a JSON object: not one event
	// record 2: {"eventName":"DeleteTrail"}
	// 3 <nil>
}

func ExampleEvent() {
	e, err := trail.ParseEvent([]byte(`{"eventID":7,"eventName":"GetObject","readOnly":true,
		"userIdentity":{"type":"AssumedRole","sessionContext":{"sessionIssuer":{"userName":"app"}}},
		"additionalEventData":{"bytesTransferredOut":12345678901234567890}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(e.Name(), e.ReadOnly(), e.UserIdentity().SessionContext.Issuer.UserName)
	fmt.Printf("%q %s\n", e.ID(), e.Raw("eventID"))
	fmt.Printf("%s\n", e.AdditionalEventData())
	// Output:
	// GetObject true app
	// "" 7
	// {"bytesTransferredOut":12345678901234567890}
}
