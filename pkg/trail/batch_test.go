package trail_test

import (
	"testing"

	"github.com/trailseal/trailseal/pkg/trail"
)

func TestBatchNDJSON(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"none", nil, ""},
		{"one", []string{`{"a":1}`}, "{\"a\":1}\n"},
		{"several, bytes untouched", []string{`{"a":1e999}`, "{\"b\":\"\xff\\/\"}", `{}`}, "{\"a\":1e999}\n{\"b\":\"\xff\\/\"}\n{}\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b trail.Batch
			for _, l := range tt.lines {
				b.Lines = append(b.Lines, []byte(l))
			}
			if got := string(b.AppendNDJSON([]byte("x"))); got != "x"+tt.want {
				t.Errorf("got %q, want %q", got, "x"+tt.want)
			}
			if b.Size() != len(tt.want) {
				t.Errorf("size %d, want %d", b.Size(), len(tt.want))
			}
		})
	}
}
