package awsapi_test

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/testaws"
)

// Each attempt is told of, and nothing that an answer says of itself becomes a
// code.
func TestOnRequest(t *testing.T) {
	ok := map[string]int{"S3 HeadBucket 200": 1, "S3 GetObject 200": 1}
	for name, tt := range map[string]struct {
		fault testaws.Fault
		want  map[string]int
	}{
		"control":           {testaws.Fault{Op: "None"}, ok},
		"twice unavailable": {testaws.Fault{Status: 500, Code: "InternalError", Times: 2}, map[string]int{"S3 HeadBucket 200": 1, "S3 GetObject 500": 2, "S3 GetObject 200": 1}},
		"throttled":         {testaws.Fault{Status: 400, Code: "ThrottlingException", Times: 1}, map[string]int{"S3 HeadBucket 200": 1, "S3 GetObject throttled": 1, "S3 GetObject 200": 1}},
		"503":               {testaws.SlowDown(), map[string]int{"S3 HeadBucket 200": 1, "S3 GetObject throttled": 3}},
		"denied":            {testaws.AccessDenied(), map[string]int{"S3 HeadBucket 200": 1, "S3 GetObject denied": 1}},
		"expired":           {testaws.Fault{Status: 400, Code: "ExpiredToken", Message: "x"}, map[string]int{"S3 HeadBucket 200": 1, "S3 GetObject credentials": 1}},
		"a page":            {testaws.ProxyPage(200), map[string]int{"S3 HeadBucket 200": 1, "S3 GetObject none": 1}},
		"a made-up code":    {testaws.Fault{Status: 418, Code: "made-up-4711", Message: "x"}, map[string]int{"S3 HeadBucket 200": 1, "S3 GetObject 418": 1}},
		"a made-up status":  {testaws.Fault{Status: 999, Code: "x", Message: "x"}, map[string]int{"S3 HeadBucket 200": 1, "S3 GetObject none": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := world()
			s := serve(t, w)
			tt.fault.Op = cmp.Or(tt.fault.Op, "GetObject")
			s.Fail(tt.fault)
			got, tell := counter()
			_, _ = get(t.Context(), load(t, func(o *awsapi.Options) { o.OnRequest = tell }).S3(), key)
			if !maps.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func TestOnRequestWithoutAnswer(t *testing.T) {
	w, _ := world()
	s := serve(t, w)
	got, tell := counter()
	api := load(t, func(o *awsapi.Options) { o.OnRequest = tell })
	s.Fail(testaws.Fault{Op: "ListPublicKeys", Reset: true})
	_, err := api.CloudTrail().PublicKeys(t.Context(), "us-east-1", from, to)
	expect(t, err, "list public keys")
	if want := map[string]int{"CloudTrail ListPublicKeys none": 3}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	s.Heal()
	clear(got)
	s.Fail(testaws.Fault{Op: "ListPublicKeys", Delay: time.Minute})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := api.CloudTrail().PublicKeys(ctx, "us-east-1", from, to); err == nil {
		t.Error("no error")
	}
	if want := map[string]int{"CloudTrail ListPublicKeys canceled": 1}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// Whoever has no credentials asks nobody, and it shows all the same.
func TestOnRequestWithoutCredentials(t *testing.T) {
	w, _ := world()
	serve(t, w)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	got, tell := counter()
	_, err := load(t, func(o *awsapi.Options) { o.OnRequest = tell }).CloudTrail().PublicKeys(t.Context(), "us-east-1", from, to)
	if !errors.Is(err, awsapi.ErrCredentials) {
		t.Fatal(err)
	}
	if n := got["CloudTrail ListPublicKeys credentials"]; n == 0 || len(got) != 1 {
		t.Errorf("%v", got)
	}
}

// counter counts what OnRequest is told; the map is read when nothing runs.
func counter() (map[string]int, func(service, operation, code string)) {
	var mu sync.Mutex
	got := map[string]int{}
	return got, func(service, operation, code string) {
		mu.Lock()
		defer mu.Unlock()
		got[service+" "+operation+" "+code]++
	}
}
