package trail_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/trailseal/trailseal/pkg/trail"
)

func TestParseARN(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want trail.ARN
	}{
		{"arn:aws:cloudtrail:us-east-1:111122223333:trail/main", trail.ARN{Partition: "aws", Region: "us-east-1", Account: "111122223333", Name: "main"}},
		{"arn:aws-us-gov:cloudtrail:us-gov-west-1:111122223333:trail/a.b_c-d", trail.ARN{Partition: "aws-us-gov", Region: "us-gov-west-1", Account: "111122223333", Name: "a.b_c-d"}},
		{"arn:aws-cn:cloudtrail:cn-north-1:111122223333:trail/foo_us-east-1_x", trail.ARN{Partition: "aws-cn", Region: "cn-north-1", Account: "111122223333", Name: "foo_us-east-1_x"}},
		{"arn:aws:cloudtrail:xx-nowhere-9:000000000000:trail/abc", trail.ARN{Partition: "aws", Region: "xx-nowhere-9", Account: "000000000000", Name: "abc"}},
	} {
		got, err := trail.ParseARN(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("ParseARN(%q) = %+v, %v, want %+v", tt.in, got, err, tt.want)
		}
		if got.String() != tt.in || got.IsZero() {
			t.Errorf("%q comes back as %q", tt.in, got)
		}
	}
	if z := (trail.ARN{}); !z.IsZero() || z.String() != "" {
		t.Errorf("the zero ARN is %q", z)
	}
}

func TestParseARNRejects(t *testing.T) {
	const good = "arn:aws:cloudtrail:us-east-1:111122223333:trail/main"
	if _, err := trail.ParseARN(good); err != nil {
		t.Fatalf("the control: %v", err)
	}
	for name, bad := range map[string]string{
		"empty":                "",
		"not an ARN":           "main",
		"other scheme":         strings.Replace(good, "arn:", "urn:", 1),
		"other service":        strings.Replace(good, "cloudtrail", "s3", 1),
		"other resource":       strings.Replace(good, "trail/main", "eventdatastore/main", 1),
		"resource with colon":  strings.Replace(good, "trail/main", "trail:main", 1),
		"no name":              strings.Replace(good, "/main", "/", 1),
		"no slash":             strings.Replace(good, "/main", "", 1),
		"short name":           strings.Replace(good, "main", "ab", 1),
		"long name":            strings.Replace(good, "main", strings.Repeat("a", 129), 1),
		"name with slash":      strings.Replace(good, "main", "main/x", 1),
		"name with colon":      strings.Replace(good, "main", "main:x", 1),
		"name with line feed":  good + "\n",
		"empty partition":      strings.Replace(good, ":aws:", "::", 1),
		"foreign partition":    strings.Replace(good, ":aws:", ":gcp:", 1),
		"partition look-alike": strings.Replace(good, ":aws:", ":awsx:", 1),
		"empty region":         strings.Replace(good, "us-east-1", "", 1),
		"region is a path":     strings.Replace(good, "us-east-1", "../us-1", 1),
		"upper-case region":    strings.Replace(good, "us-east-1", "US-EAST-1", 1),
		"empty account":        strings.Replace(good, "111122223333", "", 1),
		"11 digits":            strings.Replace(good, "111122223333", "11112222333", 1),
		"13 digits":            strings.Replace(good, "111122223333", "1111222233334", 1),
		"other digits":         strings.Replace(good, "111122223333", "11112222333٣", 1),
	} {
		if a, err := trail.ParseARN(bad); !errors.Is(err, trail.ErrARN) {
			t.Errorf("%s: ParseARN(%q) = %+v, %v", name, bad, a, err)
		}
	}
}
