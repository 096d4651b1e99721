package trail_test

import (
	"testing"

	"github.com/trailseal/trailseal/pkg/trail"
)

func BenchmarkParseKey(b *testing.B) {
	b.Run("digest", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := trail.ParseDigestKey("p/AWSLogs/o-0123456789/111122223333/CloudTrail-Digest/us-east-1/2026/03/01/111122223333_CloudTrail-Digest_us-east-1_main_us-east-1_20260301T020811Z.json.gz"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("log", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := trail.ParseLogKey("p/AWSLogs/o-0123456789/111122223333/CloudTrail/us-east-1/2026/03/01/111122223333_CloudTrail_us-east-1_20260301T0115Z_0123456789ABCDEF.json.gz"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
