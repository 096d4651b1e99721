package chain_test

import (
	"encoding/json"
	"testing"

	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/trail"
)

func record(name, parameters string, more map[string]any) trail.Event {
	m := map[string]any{
		"eventSource": "cloudtrail.amazonaws.com", "eventName": name, "awsRegion": region, "recipientAccountId": account,
		"requestParameters": json.RawMessage(parameters),
	}
	for k, v := range more {
		m[k] = v
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	e, err := trail.ParseEvent(b)
	if err != nil {
		panic(err)
	}
	return e
}

func TestSwitchOff(t *testing.T) {
	const arn = "arn:aws:cloudtrail:eu-west-1:444455556666:trail/main"
	named := trail.ARN{Region: region, Account: account, Name: "main"}
	full := trail.ARN{Partition: "aws", Region: "eu-west-1", Account: "444455556666", Name: "main"}
	for _, row := range []struct {
		name, call, parameters string
		more                   map[string]any
		want                   trail.ARN // zero: not a call that switches off
	}{
		{"StopLogging by name", "StopLogging", `{"name":"main"}`, nil, named},
		{"StopLogging by ARN", "StopLogging", `{"name":"` + arn + `"}`, nil, full},
		{"DeleteTrail by name", "DeleteTrail", `{"name":"main"}`, nil, named},
		{"DeleteTrail by ARN", "DeleteTrail", `{"name":"` + arn + `"}`, nil, full},
		{"UpdateTrail disables validation", "UpdateTrail", `{"name":"main","enableLogFileValidation":false}`, nil, named},
		{"UpdateTrail enables validation", "UpdateTrail", `{"name":"main","enableLogFileValidation":true}`, nil, trail.ARN{}},
		{"UpdateTrail says nothing of it", "UpdateTrail", `{"name":"main","s3BucketName":"b"}`, nil, trail.ARN{}},
		{"UpdateTrail says null", "UpdateTrail", `{"name":"main","enableLogFileValidation":null}`, nil, trail.ARN{}},
		{"UpdateTrail says text", "UpdateTrail", `{"name":"main","enableLogFileValidation":"false"}`, nil, trail.ARN{}},
		{"StartLogging", "StartLogging", `{"name":"main"}`, nil, trail.ARN{}},
		{"failed", "StopLogging", `{"name":"main"}`, map[string]any{"errorCode": "AccessDenied"}, trail.ARN{}},
		{"of another service", "StopLogging", `{"name":"main"}`, map[string]any{"eventSource": "iam.amazonaws.com"}, trail.ARN{}},
		{"no name", "StopLogging", `{}`, nil, trail.ARN{}},
		{"null", "StopLogging", `null`, nil, trail.ARN{}},
		{"a list", "StopLogging", `["main"]`, nil, trail.ARN{}},
		{"name is a number", "StopLogging", `{"name":1}`, nil, trail.ARN{}},
		{"not a trail's ARN", "StopLogging", `{"name":"arn:aws:cloudtrail:eu-west-1:444455556666:channel/main"}`, nil, trail.ARN{}},
		{"old record", "StopLogging", `{"name":"main"}`, map[string]any{"recipientAccountId": nil}, trail.ARN{Region: region, Name: "main"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			off, ok := chain.SwitchOff(record(row.call, row.parameters, row.more))
			if off.Trail != row.want || ok == row.want.IsZero() {
				t.Errorf("got %+v, %v", off.Trail, ok)
			}
		})
	}
}

func TestOffOf(t *testing.T) {
	const management = "999999999999"
	own := trail.Chain{Place: trail.Place{Account: account, Region: "eu-west-1"}, Trail: "main", HomeRegion: region}
	org := own
	org.Organization = "o-0123456789"
	arn := trail.ARN{Partition: "aws", Region: region, Account: account, Name: "main"}
	edit := func(change func(*trail.ARN)) trail.ARN { a := arn; change(&a); return a }
	ofManagement := edit(func(a *trail.ARN) { a.Account = management })
	for _, row := range []struct {
		name       string
		trail      trail.ARN
		of         trail.Chain
		management string
		want       chain.Match
	}{
		{"own trail", arn, own, "", chain.Yes},
		{"own trail, management account known", arn, own, management, chain.Yes},
		{"own trail by its name alone", edit(func(a *trail.ARN) { a.Partition = "" }), own, "", chain.Yes},
		{"another account", ofManagement, own, "", chain.No},
		{"the management account's own trail", ofManagement, own, management, chain.No},
		{"another home region", edit(func(a *trail.ARN) { a.Region = "eu-west-1" }), own, "", chain.No},
		{"another name", edit(func(a *trail.ARN) { a.Name = "other" }), own, "", chain.No},
		{"no account in the record", edit(func(a *trail.ARN) { a.Account = "" }), own, "", chain.Possible},
		{"no account, another name", edit(func(a *trail.ARN) { a.Account, a.Name = "", "other" }), own, "", chain.No},
		{"organization, owner not known", arn, org, "", chain.Possible},
		{"organization, owner not known, another name", edit(func(a *trail.ARN) { a.Name = "other" }), org, "", chain.No},
		{"organization, of its owner", ofManagement, org, management, chain.Yes},
		{"organization, of the member", arn, org, management, chain.No},
		{"organization, no account in the record", edit(func(a *trail.ARN) { a.Account = "" }), org, management, chain.Possible},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := (chain.Off{Trail: row.trail}).Of(row.of, row.management); got != row.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
