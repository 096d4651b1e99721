package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/pkg/trail"
)

// getRows read the log files of a trail from the server's process, 32 at once,
// and throw them away: with internal/awsapi, with the SDK's own GetObject under
// the same settings, and with net/http alone and no signature, which is their
// limit.
func getRows(full bool) (rows []row) {
	s := site{Chains: 1, Hours: pick(full, 40, 1), Logs: 50, LogSize: 20 << 10}
	for _, r := range []struct {
		name string
		open func(m meter) opener
	}{{"ours", oursGet}, {"sdk", sdkGet}, {"net-http", httpGet}} {
		rows = append(rows, row{fmt.Sprintf("%dKB/%s", s.LogSize>>10, r.name), func(m meter) { s.got(m, r.open) }})
	}
	return rows
}

// opener opens an object of the bucket.
type opener func(ctx context.Context, key string) (io.ReadCloser, error)

const getsAtOnce = 32

func (s site) got(m meter, open func(m meter) opener) {
	srv := s.start(m)
	for _, kv := range srv.env {
		if name, value, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "AWS_") {
			m.Setenv(name, value)
		}
	}
	var keys []string
	for o, err := range awsClient(m).List(m.Context(), bucket, "", "") {
		if err != nil {
			m.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	get := open(m)
	readAll(m, get, keys[:1]) // where the bucket lies is asked once
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, cpu := 0, processorTime(m)
	for m.Loop() {
		readAll(m, get, keys)
		n += len(keys)
	}
	cpu = processorTime(m) - cpu
	runtime.ReadMemStats(&after)
	m.ReportMetric(float64(cpu.Microseconds())/float64(n), "cpu-us/object")
	m.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(n), "allocs/object")
}

func readAll(m meter, get opener, keys []string) {
	work := make(chan string)
	var all sync.WaitGroup
	for range getsAtOnce {
		all.Go(func() {
			for key := range work {
				body, err := get(m.Context(), key)
				if err != nil {
					m.Error(err)
					continue
				}
				if _, err := io.Copy(io.Discard, body); err != nil {
					m.Error(err)
				}
				body.Close()
			}
		})
	}
	for _, key := range keys {
		work <- key
	}
	close(work)
	all.Wait()
}

func awsClient(m meter) *awsapi.S3 {
	c, err := awsapi.Load(m.Context(), awsapi.Options{Concurrency: getsAtOnce})
	if err != nil {
		m.Fatal(err)
	}
	return c.S3()
}

func oursGet(m meter) opener {
	c := awsClient(m)
	return func(ctx context.Context, key string) (io.ReadCloser, error) {
		body, _, err := c.Get(ctx, trail.Object{Bucket: bucket, Key: key})
		return body, err
	}
}

func sdkGet(m meter) opener {
	cfg, err := config.LoadDefaultConfig(m.Context(), config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.DisableCompression, t.MaxIdleConnsPerHost = true, getsAtOnce
	})))
	if err != nil {
		m.Fatal(err)
	}
	cfg.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	c := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	return func(ctx context.Context, key string) (io.ReadCloser, error) {
		out, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: &key})
		if err != nil {
			return nil, err
		}
		return out.Body, nil
	}
}

func httpGet(m meter) opener {
	cfg, err := config.LoadDefaultConfig(m.Context())
	if err != nil {
		m.Fatal(err)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression, t.MaxIdleConnsPerHost = true, getsAtOnce
	c := &http.Client{Transport: t}
	return func(ctx context.Context, key string) (io.ReadCloser, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, *cfg.BaseEndpoint+"/"+bucket+"/"+key, nil)
		if err != nil {
			return nil, err
		}
		// The fake wants to see one, and does not check it.
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIA/20260311/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0")
		answer, err := c.Do(r)
		if err != nil {
			return nil, err
		}
		if answer.StatusCode != http.StatusOK {
			return answer.Body, fmt.Errorf("get %s: %s", key, answer.Status)
		}
		return answer.Body, nil
	}
}
