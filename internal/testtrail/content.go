package testtrail

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// writers are kept: a new one takes longer to make than a small file to
// compress.
var writers = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// Gzip compresses as one member; equal input gives equal bytes.
func Gzip(b []byte) []byte {
	var out bytes.Buffer
	z := writers.Get().(*gzip.Writer)
	defer writers.Put(z)
	z.Reset(&out)
	if _, err := z.Write(b); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// Log returns the bytes of a log file with n made-up events.
func (w *World) Log(n int) []byte {
	records := make([]json.RawMessage, n)
	for i := range records {
		records[i] = event(w.next(), "ec2.amazonaws.com", "DescribeInstances", nil)
	}
	return LogOf(records...)
}

// LogOf returns the bytes of a log file with these records.
func LogOf(records ...json.RawMessage) []byte {
	var b bytes.Buffer
	b.WriteString(`{"Records":[`)
	for i, r := range records {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(r)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

// SizedLog returns a log file of about size inflated bytes.
func (w *World) SizedLog(size int) []byte {
	n := max(1, size/len(event(0, "ec2.amazonaws.com", "DescribeInstances", nil)))
	return w.Log(n)
}

// StopLogging returns the record of someone switching a trail off.
func (w *World) StopLogging(at time.Time, trailARN string) json.RawMessage {
	return event(w.next(), "cloudtrail.amazonaws.com", "StopLogging", map[string]any{
		"eventTime":         at.UTC().Format(time.RFC3339),
		"requestParameters": map[string]any{"name": trailARN},
		"userIdentity":      map[string]any{"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/mallory", "accountId": "111122223333"},
		"sourceIPAddress":   "198.51.100.7",
	})
}

// event returns one record; members of more replace those of the template.
func event(n int, source, name string, more map[string]any) json.RawMessage {
	sum := sha256.Sum256(fmt.Appendf(nil, "event %d", n))
	id := fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
	m := map[string]any{
		"eventVersion": "1.11", "eventID": id, "requestID": fmt.Sprintf("%x", sum[16:24]),
		"eventTime": "2026-03-01T00:00:00Z", "eventSource": source, "eventName": name,
		"awsRegion": "us-east-1", "sourceIPAddress": fmt.Sprintf("203.0.113.%d", sum[24]),
		"userAgent": "aws-sdk-go-v2/1.47.7 os/linux lang/go#1.26.8 md/GOARCH#amd64 api/ec2#1.300.0",
		"userIdentity": map[string]any{
			"type": "AssumedRole", "principalId": fmt.Sprintf("AROA%X:deploy", sum[25:31]),
			"arn":       fmt.Sprintf("arn:aws:sts::111122223333:assumed-role/deploy/i-%x", sum[0:8]),
			"accountId": "111122223333", "accessKeyId": fmt.Sprintf("ASIA%X", sum[8:16]),
			"sessionContext": map[string]any{
				"sessionIssuer": map[string]any{"type": "Role", "principalId": "AROAEXAMPLE", "arn": "arn:aws:iam::111122223333:role/deploy", "accountId": "111122223333", "userName": "deploy"},
				"attributes":    map[string]any{"creationDate": "2026-03-01T00:00:00Z", "mfaAuthenticated": "false"},
			},
		},
		"requestParameters": map[string]any{"instancesSet": map[string]any{"items": []any{map[string]any{"instanceId": fmt.Sprintf("i-%x", sum[:9])}}}, "filterSet": map[string]any{}},
		"responseElements":  nil, "readOnly": true, "eventType": "AwsApiCall", "managementEvent": true,
		"recipientAccountId": "111122223333", "eventCategory": "Management",
		"tlsDetails": map[string]any{"tlsVersion": "TLSv1.3", "cipherSuite": "TLS_AES_128_GCM_SHA256", "clientProvidedHostHeader": "ec2.us-east-1.amazonaws.com"},
	}
	for k, v := range more {
		m[k] = v
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}
