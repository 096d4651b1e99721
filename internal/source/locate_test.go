package source_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/pkg/trail"
)

func parse(t *testing.T, text string) source.Source {
	t.Helper()
	s, err := source.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLocate(t *testing.T) {
	const (
		log   = "AWSLogs/" + account + "/CloudTrail/x"
		other = "AWSLogs/999988887777/CloudTrail/x"
		inOrg = "AWSLogs/" + org + "/" + account + "/CloudTrail/x"
	)
	places := []trail.Place{
		{Prefix: "exports/jan", Account: account, Region: "eu-west-1"},
		{Account: account},
		{Prefix: "exports/jan", Account: account, Region: "us-east-1"},
		{Prefix: "AWSLogs", Account: account},
		{Prefix: "bucket-a", Organization: org, Account: account},
	}
	for _, tt := range []struct {
		name, prefix string
		places       []trail.Place
		o            trail.Object
		want         []string
	}{
		{"each root that has the account", "", places, trail.Object{Bucket: bucket, Key: log}, []string{log, "AWSLogs/" + log, "exports/jan/" + log}},
		{"below the trail's prefix", "", places, trail.Object{Bucket: bucket, Key: "p/q/" + log}, []string{log, "AWSLogs/" + log, "exports/jan/" + log}},
		{"below the trail's prefix AWSLogs", "", places, trail.Object{Bucket: bucket, Key: "AWSLogs/" + log}, []string{log, "AWSLogs/" + log, "exports/jan/" + log}},
		{"of an organization", "", places, trail.Object{Bucket: bucket, Key: "p/" + inOrg}, []string{"bucket-a/" + inOrg}},
		{"inflated", "", places, trail.Object{Bucket: bucket, Key: inOrg + ".json.gz"}, []string{"bucket-a/" + inOrg + ".json.gz", "bucket-a/" + inOrg + ".json"}},
		{"an account that no root has", "", places, trail.Object{Bucket: bucket, Key: "p/" + other + ".json.gz"}, []string{other + ".json.gz", other + ".json"}},
		{"no roots", "", nil, trail.Object{Bucket: bucket, Key: log}, []string{log}},
		{"no roots, below a prefix", "d/AWSLogs/" + account + "/", nil, trail.Object{Bucket: bucket, Key: log}, []string{"d/" + log}},
		{"no roots, below a folder", "d/", nil, trail.Object{Bucket: bucket, Key: log}, []string{"d/" + log}},
		{"no account", "", places[:2], trail.Object{Bucket: bucket, Key: "p/AWSLogs/x/y"}, []string{"AWSLogs/x/y", "exports/jan/AWSLogs/x/y"}},
		{"an account is the last name", "", places[:2], trail.Object{Bucket: bucket, Key: "AWSLogs/" + account}, []string{"AWSLogs/" + account, "exports/jan/AWSLogs/" + account}},
		{"no AWSLogs", "", places[:2], trail.Object{Bucket: bucket, Key: "k.json.gz"}, []string{
			"k.json.gz", "k.json", "trail-bucket/k.json.gz", "trail-bucket/k.json",
			"exports/jan/k.json.gz", "exports/jan/k.json", "exports/jan/trail-bucket/k.json.gz", "exports/jan/trail-bucket/k.json",
		}},
		{"no AWSLogs, in a root named for the bucket", "", []trail.Place{{Account: account}, {Prefix: bucket, Account: account}},
			trail.Object{Bucket: bucket, Key: "k"}, []string{"k", "trail-bucket/k", "trail-bucket/trail-bucket/k"}},
		{"a bucket that cannot be one", "", places[:1], trail.Object{Bucket: "../..", Key: "k"}, []string{"exports/jan/k"}},
		{"no bucket", "", places[:1], trail.Object{Key: "k"}, []string{"exports/jan/k"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := parse(t, "copy")
			s.Prefix = tt.prefix
			for _, p := range tt.places {
				s.AddAccount(p)
			}
			var got []string
			for _, o := range s.Locate(tt.o) {
				if o != (trail.Object{Key: o.Key}) {
					t.Errorf("more than a key: %+v", o)
				}
				got = append(got, o.Key)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLocateInABucket(t *testing.T) {
	for _, text := range []string{"s3://trail-bucket/p", point} {
		s := parse(t, text)
		s.AddAccount(trail.Place{Account: account})
		for _, o := range []trail.Object{
			{Bucket: bucket, Key: "AWSLogs/AWSLogs/x.json.gz", Size: 7},
			{Bucket: "other", Key: "k"},
		} {
			if got := s.Locate(o); len(got) != 1 || got[0] != o {
				t.Errorf("%s: got %v, want %v", text, got, o)
			}
		}
	}
}

// A file is found below whatever roots it was put, packed or inflated, by the
// copies of a source that was told of the roots before. Everything that is
// found stands for the object.
func TestLocateFindsEachFile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		folder := rapid.SampledFrom([]string{"a", "b", "AWSLogs", "x.json.gz", account, org})
		prefix := rapid.Custom(func(t *rapid.T) string {
			return strings.Join(rapid.SliceOfN(folder, 0, 3).Draw(t, "folders"), "/")
		})
		s, err := source.Parse("copy")
		if err != nil {
			t.Fatal(err)
		}
		before := s
		files := map[string]bool{} // of the account
		own := trail.Place{Organization: rapid.SampledFrom([]string{"", org}).Draw(t, "organization"), Account: account, Region: "eu-west-1"}
		for range rapid.IntRange(1, 5).Draw(t, "roots") {
			p := trail.Place{
				Prefix:       prefix.Draw(t, "root"),
				Organization: rapid.SampledFrom([]string{"", org}).Draw(t, "organization"),
				Account:      rapid.SampledFrom([]string{account, "999988887777"}).Draw(t, "account"),
			}
			s.AddAccount(p)
			if p.Organization == own.Organization && p.Account == account {
				p.Region = own.Region
				files[p.Folder(trail.LogFolder)+"x.json.gz"], files[p.Folder(trail.LogFolder)+"x.json"] = true, true
			}
		}
		own.Prefix = prefix.Draw(t, "trail's prefix")
		o := trail.Object{Bucket: bucket, Key: own.Folder(trail.LogFolder) + "x.json.gz"}
		found := before.Locate(o)
		if !slices.Equal(found, s.Locate(o)) {
			t.Fatal("two answers")
		}
		if len(files) == 0 && len(found) != 2 {
			t.Fatalf("%v: without a root, not one place in two forms", found)
		}
		if len(files) > 0 && len(found) != len(files) {
			t.Fatalf("%v: not each place once, want %v", found, files)
		}
		for _, at := range found {
			if len(files) > 0 && !files[at.Key] {
				t.Fatalf("%v: not below a root that has the account", at)
			}
			if logical, _ := source.Logical(at.Key); trail.Tail(logical) != trail.Tail(o.Key) {
				t.Fatalf("%v stands for %s, not for %s", at, logical, o.Key)
			}
		}
	})
}

func TestLocateWhileRootsAreAdded(t *testing.T) {
	s := parse(t, "copy")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 50 {
				s.AddAccount(trail.Place{Prefix: fmt.Sprint("r", i*j), Account: account})
				if found := s.Locate(trail.Object{Key: "AWSLogs/" + account + "/x"}); !slices.IsSortedFunc(found, func(a, b trail.Object) int { return strings.Compare(a.Key, b.Key) }) {
					t.Error("not sorted")
				}
			}
		})
	}
	all.Wait()
}

func TestLogical(t *testing.T) {
	for _, tt := range []struct {
		key, want string
	}{
		{"a/x.json", "a/x.json.gz"},
		{"a/x.json.gz", "a/x.json.gz"},
		{"a/x.json.gz.metadata.json", "a/x.json.gz.metadata.json"},
		{"a/x.json.metadata.json", "a/x.json.metadata.json"},
		{"a/x.metadata.jsonx", "a/x.metadata.jsonx"},
		{"a.json/x", "a.json/x"},
		{"a.json/", "a.json/"},
		{"a/x.JSON", "a/x.JSON"},
		{"", ""},
	} {
		if got, isOther := source.Logical(tt.key); got != tt.want || isOther != (tt.want != tt.key) {
			t.Errorf("%s: got %s, %t, want %s", tt.key, got, isOther, tt.want)
		}
	}
}
