package bench

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/verify"
)

// BenchmarkVerify is a whole verification in this process: everything below
// cmd, over HTTP, of one chain and of several side by side.
func BenchmarkVerify(b *testing.B) {
	for _, latency := range []time.Duration{0, 30 * time.Millisecond} {
		for _, chains := range []int{1, 8} {
			s := site{Chains: chains, Hours: 240 / chains, Logs: 12, LogSize: 20 << 10, Latency: latency}
			b.Run(fmt.Sprintf("%s/%dchains", latency, chains), func(b *testing.B) {
				useEnv(b, s.start(b))
				for _, concurrency := range []int{16, 32, 64, 128, 256} {
					b.Run(fmt.Sprintf("concurrency=%d", concurrency), func(b *testing.B) {
						before := processorTime(b)
						for b.Loop() {
							s.verify(b, concurrency)
						}
						// The client's alone, and so the steadier of the two.
						b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(s.logs()*b.N), "cpu-us/log")
						b.ReportMetric(float64(s.logs()*b.N)/b.Elapsed().Seconds(), "logs/s")
					})
				}
			})
		}
	}
}

// useEnv lets this process be a client.
func useEnv(b *testing.B, env []string) {
	for _, e := range env {
		if name, value, _ := strings.Cut(e, "="); strings.HasPrefix(name, "AWS_") {
			b.Setenv(name, value)
		}
	}
	b.Setenv("AWS_PROFILE", "")
	os.Unsetenv("AWS_PROFILE") // Setenv brings it back
}

// verify verifies the site as the command verify would.
func (s site) verify(b *testing.B, concurrency int) {
	ctx := context.Background()
	client, err := awsapi.Load(ctx, awsapi.Options{Concurrency: concurrency})
	if err != nil {
		b.Fatal(err)
	}
	r, err := verify.Run(ctx, verify.Config{
		Source: discover.Source{Bucket: bucket, Name: "s3://" + bucket},
		Start:  begin.Add(offset), End: s.end(), Now: s.end().Add(time.Hour), Grace: 2 * time.Hour,
		Concurrency: concurrency, Fetcher: fetch.New(client.S3(), concurrency), Keys: client.CloudTrail(), KeysFrom: "cloudtrail",
	})
	if err != nil {
		b.Fatal(err)
	}
	logs := 0
	for _, c := range r.Chains {
		logs += c.Logs.Valid
	}
	if r.Verdict != report.Intact || logs != s.logs() {
		b.Fatalf("%s, %d logs valid of %d: %v", r.Verdict, logs, s.logs(), r.Findings)
	}
}
