package trail

import (
	"testing"
	"time"
)

// What parseStamp does by itself is what the time package does.
func FuzzStamp(f *testing.F) {
	for _, s := range []string{"20260301T0005Z", "20260230T0005Z", "00000101T0000Z", "20260301T2400Z", "20260301T000Z", "２0260301T0005", "2026/03/01", "20260301T000501Z", "20261301T0005Z", "20260001T0005Z", "20240229T2359Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, layout := range []string{digestStamp, logStamp, dayFolder} {
			want, wantErr := time.Parse(layout, s)
			if wantErr == nil && want.Format(layout) != s {
				wantErr = errStamp
			}
			if got, err := parseStamp(layout, s); (err == nil) != (wantErr == nil) || err == nil && got != want {
				t.Errorf("%s %q: %v, %v; the time package: %v, %v", layout, s, got, err, want, wantErr)
			}
		}
	})
}
