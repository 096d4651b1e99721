package trail_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/pkg/trail"
)

func parse(t testing.TB, record string) trail.Event {
	t.Helper()
	e, err := trail.ParseEvent([]byte(record))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// texts are the accessors of members that are strings.
var texts = map[string]func(trail.Event) string{
	"eventVersion": trail.Event.Version, "eventID": trail.Event.ID, "eventSource": trail.Event.Source,
	"eventName": trail.Event.Name, "eventType": trail.Event.Type, "eventCategory": trail.Event.Category,
	"awsRegion": trail.Event.Region, "sourceIPAddress": trail.Event.SourceIPAddress, "userAgent": trail.Event.UserAgent,
	"errorCode": trail.Event.ErrorCode, "errorMessage": trail.Event.ErrorMessage, "requestID": trail.Event.RequestID,
	"apiVersion": trail.Event.APIVersion, "recipientAccountId": trail.Event.RecipientAccountID,
	"sharedEventID": trail.Event.SharedEventID, "vpcEndpointId": trail.Event.VPCEndpointID,
	"vpcEndpointAccountId": trail.Event.VPCEndpointAccountID,
}

// otherNames are those that aggregated events use.
var otherNames = map[string]string{"eventID": "eventId", "recipientAccountId": "accountId"}

// textOf returns what the accessor of a member has to return: all is the event.
func textOf(all map[string]json.RawMessage, name string) (s string) {
	if json.Unmarshal(all[name], &s) == nil && s != "" || otherNames[name] == "" {
		return s
	}
	s = ""
	_ = json.Unmarshal(all[otherNames[name]], &s) // another type is zero
	return s
}

// bodies are those of members that are handed on as they are.
var bodies = map[string]func(trail.Event) json.RawMessage{
	"requestParameters": trail.Event.RequestParameters, "responseElements": trail.Event.ResponseElements,
	"additionalEventData": trail.Event.AdditionalEventData, "serviceEventDetails": trail.Event.ServiceEventDetails,
	"edgeDeviceDetails": trail.Event.EdgeDeviceDetails,
}

// truths are the accessors of members that are booleans, with what is around
// the member.
var truths = map[string]struct {
	in   string
	read func(trail.Event) bool
}{
	"readOnly":                     {`{"readOnly":%s}`, trail.Event.ReadOnly},
	"managementEvent":              {`{"managementEvent":%s}`, trail.Event.ManagementEvent},
	"sessionCredentialFromConsole": {`{"sessionCredentialFromConsole":%s}`, trail.Event.SessionCredentialFromConsole},
	"mfaAuthenticated": {`{"userIdentity":{"sessionContext":{"attributes":{"mfaAuthenticated":%s}}}}`, func(e trail.Event) bool {
		return e.UserIdentity().SessionContext.MFA
	}},
	"assumedRoot": {`{"userIdentity":{"sessionContext":{"assumedRoot":%s}}}`, func(e trail.Event) bool {
		return e.UserIdentity().SessionContext.AssumedRoot
	}},
}

// Each accessor reads its own member and nothing else, and of another type it
// is zero while the bytes stay.
func TestEventMembers(t *testing.T) {
	for name, read := range texts {
		for in, want := range map[string]string{
			`"a\u00e9\"b"`: "aé\"b", `""`: "", `7`: "", `["a"]`: "", `{"a":1}`: "", `null`: "", `true`: "",
		} {
			e := parse(t, ` { "other" : "x" , "`+name+`" : `+in+` } `)
			if got := read(e); got != want {
				t.Errorf("%s %s: %q, want %q", name, in, got, want)
			}
			if string(e.Raw(name)) != in {
				t.Errorf("%s: raw %s, want %s", name, e.Raw(name), in)
			}
			for other, read := range texts {
				if other != name && read(e) != "" {
					t.Errorf("%s reads %s", other, name)
				}
			}
		}
	}
	for name, read := range bodies {
		for _, in := range []string{`{"name":"main", "n":12345678901234567890}`, `null`, `"x"`, `[1]`} {
			if got := read(parse(t, `{"`+name+`":`+in+`}`)); string(got) != in {
				t.Errorf("%s: %s, want %s", name, got, in)
			}
		}
		if got := read(parse(t, `{"Name":{}}`)); got != nil {
			t.Errorf("%s of an event without: %s", name, got)
		}
	}
	for name, tt := range truths {
		for in, want := range map[string]bool{
			`true`: true, `false`: false, `"true"`: true, `"True"`: true, `"\u0074rue"`: true, `"false"`: false, `"False"`: false,
			`"yes"`: false, `""`: false, `1`: false, `null`: false, `[true]`: false, `{"true":true}`: false,
		} {
			if got := tt.read(parse(t, fmt.Sprintf(tt.in, in))); got != want {
				t.Errorf("%s %s: %v", name, in, got)
			}
		}
	}
}

func TestEventTime(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Time{
		`"2026-03-01T12:00:00Z"`: noon, `"2026-03-01T13:00:00+01:00"`: noon, `"2026-03-01T12:00:00.5Z"`: noon.Add(time.Second / 2),
		`"2026-03-01 12:00:00.000000000"`: {}, `"yesterday"`: {}, `1772366400`: {}, `[]`: {}, `null`: {},
	} {
		if got := parse(t, `{"eventTime":`+in+`}`).Time(); !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// What aggregated events write under other names (AWS CloudTrail User Guide,
// "CloudTrail record contents for aggregated events").
func TestAggregatedEvent(t *testing.T) {
	e := parse(t, `{"eventVersion":"1.0","accountId":"111122223333","eventId":"62759c1a","eventCategory":"Aggregated",
		"eventType":"AwsAggregatedEvent","awsRegion":"us-west-2","eventSource":"s3.amazonaws.com",
		"timeWindow":{"windowStart":"2026-03-01T12:00:00Z","windowEnd":"2026-03-01T12:05:00Z","windowSize":"PT5M"},
		"summary":{"primaryDimension":{"dimension":"eventName","statistics":[{"name":"PutObject","value":1000}],"aggregationType":"Count"}}}`)
	if e.ID() != "62759c1a" || e.RecipientAccountID() != "111122223333" || !e.Time().Equal(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)) {
		t.Errorf("id %q, account %q, time %s", e.ID(), e.RecipientAccountID(), e.Time())
	}
	both := parse(t, `{"eventId":"no","eventID":"yes","accountId":"no","recipientAccountId":"yes","timeWindow":{"windowStart":"2026-03-01T12:00:00Z"},"eventTime":"yes"}`)
	if both.ID() != "yes" || both.RecipientAccountID() != "yes" || !both.Time().IsZero() {
		t.Errorf("of both names: id %q, account %q, time %s", both.ID(), both.RecipientAccountID(), both.Time())
	}
	for _, in := range []string{`{"eventID":null,"eventId":"x"}`, `{"eventID":7,"eventId":"x"}`, `{"eventId":"y","eventId":"x"}`} {
		if got := parse(t, in).ID(); got != "x" {
			t.Errorf("%s: id %q", in, got)
		}
	}
	if got := parse(t, `{"eventId":7,"timeWindow":"x","eventid":"no"}`); got.ID() != "" || !got.Time().IsZero() {
		t.Errorf("of other types: id %q, time %s", got.ID(), got.Time())
	}
}

func TestActor(t *testing.T) {
	for in, want := range map[string]string{
		`{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/x"}`:                                                    "arn:aws:iam::111122223333:user/x",
		`{"type":"Root","principalId":"111122223333"}`:                                                                   "111122223333",
		`{"type":"AWSService","invokedBy":"ec2.amazonaws.com"}`:                                                          "ec2.amazonaws.com",
		`{"type":"IdentityCenterUser","accountId":"111122223333","onBehalfOf":{"userId":"94482488"},"credentialId":"c"}`: "94482488",
		`{"type":"IAMUser","arn":"","accountId":"111122223333","userName":"x"}`:                                          "x",
		`{"arn":null,"principalId":null,"onBehalfOf":null,"invokedBy":null,"accountId":"111122223333"}`:                  "111122223333",
		`{"type":"Unknown"}`:                    "Unknown",
		`{"arn":{},"accountId":"111122223333"}`: "111122223333",
		`"root"`:                                "", `[1]`: "", `null`: "", `{"ARN":"x"}`: "",
	} {
		if got := parse(t, `{"userIdentity":`+in+`}`).Actor(); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestUserIdentity(t *testing.T) {
	at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		in   string
		want trail.UserIdentity
	}{
		"user": {
			`{"type":"IAMUser","principalId":"AIDA1","arn":"arn:aws:iam::111122223333:user/x","accountId":"111122223333","accessKeyId":"AKIA1","userName":"x"}`,
			trail.UserIdentity{Type: "IAMUser", PrincipalID: "AIDA1", ARN: "arn:aws:iam::111122223333:user/x", AccountID: "111122223333", AccessKeyID: "AKIA1", UserName: "x"},
		},
		"role": {
			`{"type":"AssumedRole","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROA1","arn":"arn:r","accountId":"111122223333","userName":"r"},` +
				`"attributes":{"creationDate":"2026-03-01T10:00:00Z","mfaAuthenticated":"true"},"sourceIdentity":"alice","ec2RoleDelivery":"2.0","assumedRoot":"true"}}`,
			trail.UserIdentity{Type: "AssumedRole", SessionContext: trail.SessionContext{
				Created: at, MFA: true, Issuer: trail.SessionIssuer{Type: "Role", PrincipalID: "AROA1", ARN: "arn:r", AccountID: "111122223333", UserName: "r"},
				SourceIdentity: "alice", EC2RoleDelivery: "2.0", AssumedRoot: true,
			}},
		},
		"web identity": {
			`{"type":"WebIdentityUser","userName":"u","identityProvider":"p","sessionContext":{"attributes":{"creationDate":"20260301T100000Z","mfaAuthenticated":"false"},` +
				`"webIdFederationData":{"federatedProvider":"arn:oidc","attributes":{"sub":"s","n":7}}}}`,
			trail.UserIdentity{Type: "WebIdentityUser", UserName: "u", IdentityProvider: "p", SessionContext: trail.SessionContext{
				Created: at, WebIDFederation: trail.WebIDFederation{FederatedProvider: "arn:oidc", Attributes: map[string]string{"sub": "s", "n": ""}},
			}},
		},
		"service": {`{"type":"AWSService","invokedBy":"ec2.amazonaws.com"}`, trail.UserIdentity{Type: "AWSService", InvokedBy: "ec2.amazonaws.com"}},
		"identity center": {
			`{"type":"IdentityCenterUser","credentialId":"c","onBehalfOf":{"userId":"u","identityStoreArn":"arn:store"}}`,
			trail.UserIdentity{Type: "IdentityCenterUser", CredentialID: "c", OnBehalfOf: trail.OnBehalfOf{UserID: "u", IdentityStoreARN: "arn:store"}},
		},
		"in scope of a service": {
			`{"inScopeOf":{"sourceArn":"arn:f","sourceAccount":"111122223333","issuerType":"AWS::Lambda::Function","credentialsIssuedTo":"arn:g"}}`,
			trail.UserIdentity{InScopeOf: trail.InScopeOf{SourceARN: "arn:f", SourceAccount: "111122223333", IssuerType: "AWS::Lambda::Function", CredentialsIssuedTo: "arn:g"}},
		},
		"odd types":             {`{"type":1,"arn":[],"sessionContext":"x","onBehalfOf":[1],"inScopeOf":null,"userName":"x"}`, trail.UserIdentity{UserName: "x"}},
		"names of another case": {`{"Type":"a","accesKeyId":"b","sessioncontext":{"sourceIdentity":"c"}}`, trail.UserIdentity{}},
		"empty":                 {`{}`, trail.UserIdentity{}},
		"no object":             {`"root"`, trail.UserIdentity{}},
	} {
		if got := parse(t, `{"userIdentity":`+tt.in+`}`).UserIdentity(); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, tt.want)
		}
	}
}

func TestDetails(t *testing.T) {
	e := parse(t, `{
		"resources": [ {"ARN":"arn:b","accountId":"111122223333","type":"AWS::S3::Bucket"} , {"ARNPrefix":"arn:b/","arn":"no"}, 7 ],
		"tlsDetails": {"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"h"},
		"addendum": {"reason":"UPDATED_DATA","updatedFields":"responseElements","originalRequestID":"r","originalEventID":"e"},
		"insightDetails": {"state":"End","eventSource":"s","eventName":"n","errorCode":"c","insightType":"ApiErrorRateInsight","insightContext":{
			"statistics":{"baseline":{"average":0.0017},"insight":{"average":6},"insightDuration":3,"baselineDuration":10080},"attributions":[ {"attribute":"userAgent"} ]}}}`)
	if got, want := e.Resources(), []trail.Resource{{ARN: "arn:b", AccountID: "111122223333", Type: "AWS::S3::Bucket"}, {ARNPrefix: "arn:b/"}, {}}; !reflect.DeepEqual(got, want) {
		t.Errorf("resources %+v", got)
	}
	if got, want := e.TLSDetails(), (trail.TLSDetails{Version: "TLSv1.3", CipherSuite: "TLS_AES_128_GCM_SHA256", ClientProvidedHostHeader: "h"}); got != want {
		t.Errorf("TLS %+v", got)
	}
	if got, want := e.Addendum(), (trail.Addendum{Reason: "UPDATED_DATA", UpdatedFields: "responseElements", OriginalRequestID: "r", OriginalEventID: "e"}); got != want {
		t.Errorf("addendum %+v", got)
	}
	want := trail.InsightDetails{
		State: "End", EventSource: "s", EventName: "n", ErrorCode: "c", Type: "ApiErrorRateInsight",
		Baseline: 0.0017, Insight: 6, BaselineDuration: 10080, InsightDuration: 3, Attributions: json.RawMessage(`[ {"attribute":"userAgent"} ]`),
	}
	if got := e.InsightDetails(); !reflect.DeepEqual(got, want) {
		t.Errorf("insight %+v", got)
	}
	asText := parse(t, `{"insightDetails":{"insightContext":{"statistics":{"baseline":{"average":"0.0017"},"insight":{"average":"6"},"insightDuration":"3","baselineDuration":"10080"}}}}`)
	if got, want := asText.InsightDetails(), (trail.InsightDetails{Baseline: 0.0017, Insight: 6, BaselineDuration: 10080, InsightDuration: 3}); !reflect.DeepEqual(got, want) {
		t.Errorf("numbers as text: %+v", got)
	}
	odd := parse(t, `{"resources":{"ARN":"x"},"tlsDetails":"x","addendum":[],"insightDetails":{"insightContext":{"statistics":{
		"insightDuration":"NaN","baselineDuration":"0x1p4","insight":{"average":" 3"},"baseline":{"average":1e999}}}}}`)
	if odd.Resources() != nil || odd.TLSDetails() != (trail.TLSDetails{}) || odd.Addendum() != (trail.Addendum{}) || !reflect.DeepEqual(odd.InsightDetails(), trail.InsightDetails{}) {
		t.Errorf("of odd types: %+v %+v %+v %+v", odd.Resources(), odd.TLSDetails(), odd.Addendum(), odd.InsightDetails())
	}
}

func TestRaw(t *testing.T) {
	e := parse(t, `{"a":1,"\u0062":"escaped name","a": 2.50 ,"":3,"c":{"a":"}\"]"},"d":[]}`)
	for name, want := range map[string]string{"a": "2.50", "b": `"escaped name"`, "": "3", "c": `{"a":"}\"]"}`, "d": "[]", "A": "", "e": ""} {
		if got := string(e.Raw(name)); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
	if zero := (trail.Event{}); zero.Raw("a") != nil || zero.ID() != "" || zero.Record() != nil || !zero.Time().IsZero() || zero.Actor() != "" || zero.Resources() != nil {
		t.Error("the zero event has something")
	}
}

func TestNoEvent(t *testing.T) {
	for _, bad := range []string{"", " ", "7", `"x"`, "[]", "null", "{", `{"a":1}x`, `{"a":}`, `{"a":1,}`, "\ufeff{}"} {
		if e, err := trail.ParseEvent([]byte(bad)); !errors.Is(err, trail.ErrRecords) {
			t.Errorf("%q: got %s, %v", bad, e.Record(), err)
		}
	}
}

// realEvents calls see with each event of the data collected from public
// repositories, whatever shape its file has.
func realEvents(t testing.TB, see func(file string, record []byte)) {
	t.Helper()
	root := os.Getenv("TRAILSEAL_DATA")
	if root == "" {
		t.Skip("TRAILSEAL_DATA is not set: no genuine events to read")
	}
	for _, folder := range []string{"stratus", "invictus", "panther_analysis", "otrf"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(name string, entry fs.DirEntry, err error) error {
			if ext := filepath.Ext(name); err != nil || ext != ".json" && ext != ".ndjson" {
				return err
			}
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			for d := json.NewDecoder(bytes.NewReader(b)); d.More(); {
				var v json.RawMessage
				if err := d.Decode(&v); err != nil {
					return err
				}
				for _, record := range recordsOf(v) {
					see(name, record)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func recordsOf(v json.RawMessage) (records []json.RawMessage) {
	var file struct {
		Records []json.RawMessage
		Event   json.RawMessage `json:"event"`
	}
	switch {
	case json.Unmarshal(v, &records) == nil:
		return records
	case json.Unmarshal(v, &file) == nil && file.Records != nil:
		return file.Records
	case file.Event != nil:
		return []json.RawMessage{file.Event}
	}
	return []json.RawMessage{v}
}

// Every genuine event, with all its oddities, reads as encoding/json reads it.
func TestRealEvents(t *testing.T) {
	n, odd, types := 0, 0, map[string]int{}
	realEvents(t, func(file string, record []byte) {
		n++
		e, err := trail.ParseEvent(record)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal(record, &all); err != nil {
			t.Fatal(err)
		}
		for name, want := range all {
			if !bytes.Equal(e.Raw(name), want) {
				t.Errorf("%s: %s is %s, want %s", file, name, e.Raw(name), want)
			}
		}
		for name, read := range texts {
			if got, want := read(e), textOf(all, name); got != want {
				t.Errorf("%s: %s %q, want %q", file, name, got, want)
			}
		}
		if !bytes.Equal(e.Record(), record) {
			t.Errorf("%s: the record has changed", file)
		}
		var slow struct {
			Identity struct {
				ARN     string `json:"arn"`
				Context struct {
					SessionIssuer struct {
						ARN string `json:"arn"`
					}
				} `json:"sessionContext"`
			} `json:"userIdentity"`
		}
		id := e.UserIdentity()
		if err := json.Unmarshal(record, &slow); err == nil && id.ARN != slow.Identity.ARN {
			t.Errorf("%s: arn %q, want %q", file, id.ARN, slow.Identity.ARN)
		}
		types[id.Type]++
		if e.Time().IsZero() || id.Type == "" {
			odd++
		}
		if r := string(e.Raw("resources")); strings.HasPrefix(r, "[{") && len(e.Resources()) == 0 {
			t.Errorf("%s: no resources of %s", file, r)
		}
		if e.Raw("tlsDetails") != nil && e.TLSDetails().Version == "" {
			t.Errorf("%s: no TLS version of %s", file, e.Raw("tlsDetails"))
		}
		e.InsightDetails()
	})
	if n < 3700 || odd < 100 || types["IAMUser"] == 0 || types["AssumedRole"] == 0 || types["AWSService"] == 0 {
		t.Errorf("%d events, %d without a time or type, types %v", n, odd, types)
	}
}

func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(benchRecord))
	f.Add([]byte(`{"a":1,"\u0061":[{"b":"]"}],"resources":[1,{"ARN":"x"}],"userIdentity":{"sessionContext":{"webIdFederationData":{"attributes":{"a":[]}}}}}`))
	f.Add([]byte("{\"\xff\":\"\xff\",\"insightDetails\":{\"insightContext\":{\"statistics\":{\"insight\":{\"average\":-1e9}}}}}"))
	f.Add([]byte(`{"eventID":7,"eventId":"x","accountId":"1","eventTime":null,"timeWindow":{"windowStart":"2026-03-01T12:00:00Z"}}`))
	f.Add([]byte(` [] `))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := trail.ParseEvent(b)
		var want map[string]json.RawMessage
		if bad := json.Unmarshal(b, &want); (err == nil) != (bad == nil && want != nil) {
			t.Fatalf("%q: %v, encoding/json says %v", b, err, bad)
		}
		if err != nil {
			return
		}
		for name, v := range want {
			if got := e.Raw(name); strings.ToValidUTF8(name, "") == name && !strings.ContainsRune(name, '\ufffd') && !bytes.Equal(got, v) {
				t.Errorf("%q: %q is %q, want %q", b, name, got, v)
			}
		}
		for name, read := range texts {
			if got, s := read(e), textOf(want, name); got != s {
				t.Errorf("%q: %s %q, want %q", b, name, got, s)
			}
		}
		e.UserIdentity()
		e.Resources()
		e.TLSDetails()
		e.Addendum()
		e.InsightDetails()
		e.Actor()
		e.Time()
	})
}

const benchRecord = `{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLE:session","arn":"arn:aws:sts::111122223333:assumed-role/app/session","accountId":"111122223333","accessKeyId":"ASIAEXAMPLE","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAEXAMPLE","arn":"arn:aws:iam::111122223333:role/app","accountId":"111122223333","userName":"app"},"attributes":{"creationDate":"2026-03-01T10:00:00Z","mfaAuthenticated":"false"}}},"eventTime":"2026-03-01T12:00:00Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","awsRegion":"eu-west-1","sourceIPAddress":"198.51.100.7","userAgent":"[aws-sdk-go-v2/1.47.7]","requestParameters":{"bucketName":"b","key":"k","Host":"b.s3.eu-west-1.amazonaws.com"},"responseElements":null,"additionalEventData":{"SignatureVersion":"SigV4","bytesTransferredOut":7},"requestID":"7BFE","eventID":"4cf1","readOnly":true,"resources":[{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::b/k"},{"accountId":"111122223333","type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::b"}],"eventType":"AwsApiCall","managementEvent":false,"recipientAccountId":"111122223333","eventCategory":"Data","tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"b.s3.eu-west-1.amazonaws.com"}}`

func BenchmarkParseEvent(b *testing.B) {
	record := []byte(benchRecord)
	b.Run("parse", func(b *testing.B) {
		b.SetBytes(int64(len(record)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := trail.ParseEvent(record); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parse, who and what", func(b *testing.B) {
		b.SetBytes(int64(len(record)))
		b.ReportAllocs()
		for b.Loop() {
			e, err := trail.ParseEvent(record)
			if err != nil || e.Name() != "GetObject" || e.UserIdentity().SessionContext.Issuer.UserName != "app" {
				b.Fatal(err)
			}
		}
	})
}
