package main

import (
	"testing"

	"github.com/trailseal/trailseal/internal/source"
)

// An S3 sink lies apart from a source where neither is below the other.
func TestApartInBuckets(t *testing.T) {
	const alias = "name-abcdefghijklmnopqrstuvwxyz0123456789-s3alias"
	for _, tt := range []struct {
		source, original string
		sink             string
		apart            bool
	}{
		{"s3://b", "", "s3://b", false},
		{"s3://b", "", "s3://b/out/", false},
		{"s3://b/p", "", "s3://b", false},
		{"s3://b/p", "", "s3://b/p", false},
		{"s3://b/p/", "", "s3://b//p/out", false},
		{"s3://b/p/q", "", "s3://b/p", false},
		{"s3://b/p", "", "s3://b/q", true},
		{"s3://b/p", "", "s3://b/pq", true},
		{"s3://b/pq", "", "s3://b/p", true},
		{"s3://b", "", "s3://c", true},
		{"s3://b", "", "s3://c/b", true},
		{"s3://replica", "b", "s3://b/out", false}, // what is written there is replicated
		{"s3://replica", "b", "s3://replica", false},
		{"s3://replica", "b", "s3://c", true},
		{alias, "b", "s3://b/out", false},
		{alias + "/p", "b", "s3://b/out", true},
		{alias, "", "s3://" + alias, false},
		{"s3://b", "", "https://b/p", true},
	} {
		s, err := source.Parse(tt.source)
		if err != nil {
			t.Fatal(err)
		}
		s.Original = tt.original
		c := config{Sink: []string{tt.sink}}
		apart := true
		for _, o := range c.outputs() {
			apart = apart && o.apartFrom(s) == nil
		}
		if apart != tt.apart {
			t.Errorf("%s and %s of %q are apart: %v", tt.sink, tt.source, tt.original, apart)
		}
	}
}
