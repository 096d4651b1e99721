package follow_test

import (
	"crypto/sha256"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const bucket = "trail-bucket"

var name = trail.Chain{
	Place: trail.Place{Account: "111122223333", Region: "us-east-1"}, Trail: "main", HomeRegion: "us-east-1",
}

// hour returns when the chain's n-th digest ends.
func hour(n int) time.Time {
	return time.Date(2026, 3, 1, 0, 8, 11, 0, time.UTC).Add(time.Duration(n) * chain.Window)
}

// key returns the name of the chain's n-th digest.
func key(n int) trail.DigestKey { return name.Digest(hour(n)) }

// backfill returns the name of a backfill digest that ends with the n-th digest.
func backfill(n int) trail.DigestKey {
	c := name
	c.Backfill = true
	return c.Digest(hour(n))
}

func ref(k trail.DigestKey) chain.Ref { return chain.Ref{DigestKey: k, Bucket: bucket} }

// known returns the chain's n-th digest by its name.
func known(n int) follow.Known { return follow.Known{Ref: ref(key(n))} }

// sum returns the hash of a digest.
func sum(k trail.DigestKey) digest.Sum { return sha256.Sum256([]byte(k.String())) }

// file returns the content of a digest that ends an hour after the one that it names.
func file(k trail.DigestKey) *digest.Digest {
	previous := k.Chain.Digest(k.End.Add(-chain.Window))
	return &digest.Digest{
		Account: k.Account, Start: previous.End, End: k.End, EndText: k.End.Format(time.RFC3339), Bucket: bucket,
		Object: k.String(), Fingerprint: "f00d", Sum: sum(k), Previous: &digest.Previous{
			Bucket: bucket, Object: previous.String(), Hash: sum(previous), Signature: "cafe",
		},
	}
}

// link returns what a head keeps of the chain's n-th digest.
func link(n int) follow.Link {
	return follow.Link{End: hour(n), Bucket: bucket, Key: key(n).String(), Sum: sum(key(n)).String(), Signature: "cafe"}
}

// headAt returns the head of the chain after its n-th digest.
func headAt(n int) follow.Head {
	return follow.Head{Version: follow.HeadVersion, Cursor: hour(n), Link: link(n)}
}

// differ returns the fields in which two structs differ, "" where they are equal. Slices
// without elements are equal.
func differ(got, want any) string {
	var b strings.Builder
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range g.NumField() {
		a, c := g.Field(i), w.Field(i)
		isEmpty := a.Kind() == reflect.Slice && a.Len() == 0 && c.Len() == 0
		if !isEmpty && !reflect.DeepEqual(a.Interface(), c.Interface()) {
			fmt.Fprintf(&b, "\n%s:\n\tgot  %+v\n\twant %+v", g.Type().Field(i).Name, a, c)
		}
	}
	return b.String()
}
