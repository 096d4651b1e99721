package testaws_test

import (
	"net/http"
	"strings"
	"testing"
)

// Objects are stored as they come, and not at all where something is wrong.
func TestPutObject(t *testing.T) {
	s := one(t)
	for _, c := range []struct {
		name, header, value string
		status              int
	}{
		{"plain", "Content-Encoding", "gzip", 200},
		{"good checksum", "X-Amz-Checksum-Crc32", "gbG+Fw==", 200},
		{"bad checksum", "X-Amz-Checksum-Crc32", "AAAAAA==", 400},
		{"chunks", "Content-Encoding", "gzip,aws-chunked", 501},
		{"bucket of another", "X-Amz-Expected-Bucket-Owner", "999999999999", 403},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL+"/b/new/"+strings.ReplaceAll(c.name, " ", "-"), strings.NewReader("hello, object"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(c.header, c.value)
		r.Header.Set("X-Amz-Meta-Signature", "abc")
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Body.Close(); err != nil || a.StatusCode != c.status {
			t.Errorf("%s: status %d, %v", c.name, a.StatusCode, err)
		}
		o, there := s.World.Stored("b", "new/"+strings.ReplaceAll(c.name, " ", "-"))
		if there != (c.status == 200) || there && (string(o.Body) != "hello, object" || o.Meta["signature"] != "abc") {
			t.Errorf("%s: stored %v %+v", c.name, there, o)
		}
	}
}
