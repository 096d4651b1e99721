package source_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/trailseal/trailseal/internal/source"
)

const (
	point  = "arn:aws:s3:eu-west-1:111122223333:accesspoint/logs"
	colon  = "arn:aws:s3:eu-west-1:111122223333:accesspoint:logs"
	alias  = "logs-abcdefghijklmnopqrstuvwxyz012345-s3alias"
	bucket = "trail-bucket"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		text, bucket, prefix, name string
		isPoint                    bool
	}{
		{text: "s3://trail-bucket", bucket: bucket, name: "s3://trail-bucket"},
		{text: "s3://trail-bucket/", bucket: bucket, name: "s3://trail-bucket"},
		{text: "S3://trail-bucket", bucket: bucket, name: "s3://trail-bucket"},
		{text: "s3://trail-bucket/p", bucket: bucket, prefix: "p/", name: "s3://trail-bucket/p"},
		{text: "s3://trail-bucket/p/", bucket: bucket, prefix: "p/", name: "s3://trail-bucket/p"},
		{text: "s3://trail-bucket//p//", bucket: bucket, prefix: "p/", name: "s3://trail-bucket/p"},
		{text: "s3://trail-bucket/p/q//r", bucket: bucket, prefix: "p/q//r/", name: "s3://trail-bucket/p/q//r"},
		{text: "s3://trail-bucket/AWSLogs", bucket: bucket, prefix: "AWSLogs/", name: "s3://trail-bucket/AWSLogs"},
		{text: "s3://Old_Bucket.1", bucket: "Old_Bucket.1", name: "s3://Old_Bucket.1"},
		{text: "s3://trail-bucket/arn:aws:s3", bucket: bucket, prefix: "arn:aws:s3/", name: "s3://trail-bucket/arn:aws:s3"},

		{text: point, bucket: point, name: "s3://" + point, isPoint: true},
		{text: colon, bucket: point, name: "s3://" + point, isPoint: true},
		{text: "s3://" + colon + "/", bucket: point, name: "s3://" + point, isPoint: true},
		{text: "s3://" + point + "/p/q:r/", bucket: point, prefix: "p/q:r/", name: "s3://" + point + "/p/q:r", isPoint: true},
		{text: colon + "/p", bucket: point, prefix: "p/", name: "s3://" + point + "/p", isPoint: true},
		{text: strings.Replace(point, "aws", "aws-us-gov", 1), bucket: strings.Replace(point, "aws", "aws-us-gov", 1),
			name: "s3://" + strings.Replace(point, "aws", "aws-us-gov", 1), isPoint: true},
		{text: "s3://" + alias + "/p", bucket: alias, prefix: "p/", name: "s3://" + alias + "/p", isPoint: true},
		{text: alias, bucket: alias, name: "s3://" + alias, isPoint: true},
		{text: alias + "/p/", bucket: alias, prefix: "p/", name: "s3://" + alias + "/p", isPoint: true},

		{text: "copy", name: "copy"},
		{text: "/mnt/copy/", name: "/mnt/copy/"},
		{text: ".", name: "."},
		{text: "/", name: "/"},
		{text: "trail-bucket/AWSLogs", name: "trail-bucket/AWSLogs"},
		{text: "./" + alias, name: "./" + alias},
		{text: "./s3:", name: "./s3:"},
		{text: "s3", name: "s3"},
		{text: "a//b", name: "a//b"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			s, err := source.Parse(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if s.Bucket != tt.bucket || s.Prefix != tt.prefix || s.Name != tt.name || s.Original != "" {
				t.Errorf("got %+v", s)
			}
			if s.IsCopy() != (tt.bucket == "") || s.IsAccessPoint() != tt.isPoint {
				t.Errorf("copy %t, access point %t", s.IsCopy(), s.IsAccessPoint())
			}
			signed := tt.bucket
			if tt.isPoint {
				signed = ""
			}
			if s.Signed() != signed {
				t.Errorf("signed %q, want %q", s.Signed(), signed)
			}
			if s.Original = "original"; s.Signed() != "original" {
				t.Errorf("signed %q, though the original is known", s.Signed())
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for text, why := range map[string]string{
		"":                   "empty",
		"s3:":                "two slashes",
		"s3:/trail-bucket":   "two slashes",
		"s3:trail-bucket":    "two slashes",
		"s3://":              "name is missing",
		"s3:///AWSLogs":      "name is missing",
		"s3://-x":            `"-x" cannot be the name of a bucket`,
		"s3://..":            `".." cannot be the name of a bucket`,
		"s3://my bucket/p":   `"my bucket" cannot be`,
		"s3://bucket\x1b[2J": `"bucket\x1b[2J" cannot be`,
		"s3://b?versionId=1": "cannot be the name of a bucket",
		"https://host/copy":  "scheme is not s3",
		"gs://bucket":        "scheme is not s3",
		"s3://X-s3alias":     "cannot be the alias",
		"s3://" + strings.Repeat("a", 60) + "-s3alias": "cannot be the alias",
		"s3://logs--ol-s3":                                                    "Object Lambda",
		"s3://mfzwi23gnjvgw.mrap":                                             "several buckets",
		"s3://logs--use1-az4--x-s3":                                           "directory bucket",
		"s3://logs--use1-az4--xa-s3":                                          "directory bucket",
		"s3://logs-op-0000000000--op-s3":                                      "Outposts",
		"arn:aws:s3:::trail-bucket/p":                                         "write s3://trail-bucket/p",
		"s3://arn:aws:s3:::trail-bucket":                                      "write s3://trail-bucket",
		"arn:":                                                                "not that of an access point",
		"s3://arn:aws:s3:eu-west-1":                                           "not that of an access point",
		"arn:aws:cloudtrail:us-east-1:111122223333:trail/main":                "not that of an access point",
		"arn:aws:s3:eu-west-1:111122223333:bucket/logs":                       "not that of an access point",
		"arn:gcp:s3:eu-west-1:111122223333:accesspoint/logs":                  "not that of an access point",
		"arn:aws:s3:eu-west-1:111122223333:accesspoint":                       `"" in the ARN cannot be the name`,
		"arn:aws:s3:eu-west-1:111122223333:accesspoint/":                      `"" in the ARN cannot be the name`,
		"arn:aws:s3:eu-west-1:111122223333:accesspoint/Logs":                  `"Logs" in the ARN cannot be the name`,
		"arn:aws:s3:eu-west-1:111122223333:accesspoint/lo":                    "cannot be the name",
		"arn:aws:s3:eu-west-1:111122223333:accesspoint:logs:p":                "cannot be the name",
		"arn:aws:s3:eu-west-1:111122223333:accesspoint/../x":                  "cannot be the name",
		"arn:aws:s3:eu-west-1:11112222333:accesspoint/logs":                   "12 digits",
		"arn:aws:s3:eu-west-1::accesspoint/logs":                              "12 digits",
		"arn:aws:s3:EU:111122223333:accesspoint/logs":                         "not a region",
		"arn:aws:s3:fips-us-east-1:111122223333:accesspoint/logs":             "not a region",
		"arn:aws:s3::111122223333:accesspoint/mfzwi23gnjvgw.mrap":             "several buckets",
		"arn:aws:s3-object-lambda:eu-west-1:111122223333:accesspoint/logs":    "Object Lambda",
		"arn:aws:s3-outposts:eu-west-1:111122223333:outpost/op-1/bucket/b1":   "Outposts",
		"arn:aws:s3:eu-west-1:111122223333:accesspoint/logs--use1-az4--xa-s3": "directory bucket",
	} {
		t.Run(text, func(t *testing.T) {
			s, err := source.Parse(text)
			if err == nil {
				t.Fatalf("got %+v", s)
			}
			for _, want := range []string{"source ", why, "s3://BUCKET[/PREFIX]"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v: does not say %q", err, want)
				}
			}
			if strings.ContainsRune(err.Error(), '\x1b') {
				t.Errorf("%q: an escape is not quoted", err)
			}
		})
	}
}

// Whatever parses has a Name that parses to the same source, whatever slashes
// were at its ends.
func TestParseIsCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.SampledFrom([]string{"s3://trail-bucket", point, colon, "s3://" + point, "s3://" + colon, alias, "s3://" + alias}).Draw(t, "at")
		prefix := strings.Trim(rapid.StringMatching(`(AWSLogs|[a-z=:. ]{1,3}|/)*`).Draw(t, "prefix"), "/")
		slashes := rapid.StringMatching(`/{1,3}`)
		text := at + slashes.Draw(t, "before") + prefix + slashes.Draw(t, "after")
		got, err := source.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		again, err := source.Parse(got.Name)
		if err != nil || again != got {
			t.Fatalf("%q: %+v, by its name %+v, %v", text, got, again, err)
		}
		if strings.TrimSuffix(got.Prefix, "/") != prefix || got.Prefix == "/" {
			t.Fatalf("%q: prefix %q", text, got.Prefix)
		}
	})
}
