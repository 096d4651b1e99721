package source_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/trailseal/trailseal/internal/source"
)

// identity returns the identity of a source as a program opens it.
func identity(t *testing.T, text, original string) string {
	t.Helper()
	s, err := source.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if s.IsCopy() {
		if _, s.Prefix, err = source.Folder(text); err != nil {
			t.Fatal(err)
		}
	}
	if original != "" {
		if !s.Learn(original) {
			s.Original = original
		}
	}
	return s.Identity()
}

// Texts that mean one folder have one identity, and those of different folders differ. A
// link is a folder of its own: what it points to can change.
func TestIdentityOfFolders(t *testing.T) {
	top := t.TempDir()
	for _, folder := range []string{"m/AWSLogs/111122223333/CloudTrail/us-east-1", "m/AWSLogs/o-abcdefghij/111122223333/CloudTrail", "n", "m n", "AWSLogs/x"} {
		if err := os.MkdirAll(filepath.Join(top, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("m", filepath.Join(top, "link")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Join(top, "n"))
	for want, texts := range map[string][]string{
		top + "/m": {
			top + "/m", top + "/m/", top + "//m", top + "/./m", top + "/n/../m", "../m", "../m/", "./../m", "../m/.", "../m//",
			"../m/AWSLogs", "../m/AWSLogs/", "../m/AWSLogs/111122223333", "../m/AWSLogs/111122223333/CloudTrail",
			"../m/AWSLogs/111122223333/CloudTrail/us-east-1/", "../m/AWSLogs/o-abcdefghij", top + "/m/AWSLogs/o-abcdefghij/111122223333",
		},
		top + "/link":    {top + "/link", "../link", "../link/AWSLogs", "../link/AWSLogs/111122223333/"},
		top + "/n":       {".", "./", "../n", top + "/n"},
		top:              {"..", top, "../"},
		top + "/m n":     {"../m n"},
		top + "/AWSLogs": {"../AWSLogs", "../AWSLogs/"}, // a folder for cases, not of a trail
		"/":              {"/", "//", "/."},
	} {
		for _, text := range texts {
			if got := identity(t, text, ""); got != want {
				t.Errorf("%s: %s, want %s", text, got, want)
			}
		}
	}
}

// The identity of a bucket is its own name. It does not depend on prefixes, nor on the
// access point that leads to it once that is known. A replica is another place.
func TestIdentityOfBuckets(t *testing.T) {
	const (
		arn   = "arn:aws:s3:eu-west-1:111122223333:accesspoint/name"
		alias = "name-abcdefghijklmnopqrstuvwxyz0123456789-s3alias"
	)
	for _, tt := range []struct {
		text, original string
		want           string
	}{
		{"s3://bucket", "", "s3://bucket"},
		{"s3://bucket/", "", "s3://bucket"},
		{"S3://bucket", "", "s3://bucket"},
		{"s3://bucket/prefix", "", "s3://bucket"},
		{"s3://bucket/prefix/AWSLogs/", "", "s3://bucket"},
		{"s3://Bucket", "", "s3://Bucket"},
		{"s3://replica/prefix", "bucket", "s3://replica"},
		{arn, "", "s3://" + arn},
		{arn, "bucket", "s3://bucket"},
		{"s3://" + arn + "/prefix/", "bucket", "s3://bucket"},
		{"arn:aws:s3:eu-west-1:111122223333:accesspoint:name", "", "s3://" + arn},
		{alias, "", "s3://" + alias},
		{alias + "/prefix", "bucket", "s3://bucket"},
		{"s3://" + alias, "bucket", "s3://bucket"},
	} {
		if got := identity(t, tt.text, tt.original); got != tt.want {
			t.Errorf("%s of %q: %s, want %s", tt.text, tt.original, got, tt.want)
		}
	}
}
