package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// hour is a world with one hour of logs: its digest, and the first log it lists.
type hour struct {
	*testtrail.World
	issued *testtrail.Issued
	digest trail.Object
	log    digest.Log
}

func newHour(t *testing.T) hour {
	t.Helper()
	w := testtrail.New()
	c := w.Trail(testtrail.Options{}).Chain("111122223333", "us-east-1", time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	h := hour{World: w, issued: c.Hour(w.Log(3), w.Log(2))}
	h.digest = trail.Object{Bucket: h.issued.Bucket, Key: h.issued.Key}
	f, err := fetch.New(w, 1).Digest(t.Context(), h.digest)
	if err != nil {
		t.Fatal(err)
	}
	h.log = f.Digest.Logs[0]
	return h
}

func TestDigest(t *testing.T) {
	h := newHour(t)
	f, err := fetch.New(h, 1).Digest(t.Context(), h.digest)
	if err != nil {
		t.Fatal(err)
	}
	if f.Digest.Object != h.digest.Key || f.Body != nil || f.Meta[digest.MetaSignature] != h.issued.Signature {
		t.Errorf("got %+v", f)
	}
}

func TestLog(t *testing.T) {
	h := newHour(t)
	got, err := fetch.New(h, 1).Log(t.Context(), h.log)
	if err != nil || got.Sum != h.log.Hash || got.Inflated == 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// Whatever is wrong with an object, the error is either a fact about it or a reason why it
// was not read, never both.
func TestFactsAndReasons(t *testing.T) {
	boom := errors.New("connection reset")
	fails := func(err error) func(hour, trail.Object) {
		return func(h hour, o trail.Object) { h.Fail(o.Bucket, o.Key, &testtrail.Fault{Err: err}) }
	}
	cut := func(err error) func(hour, trail.Object) {
		return func(h hour, o trail.Object) { h.Fail(o.Bucket, o.Key, &testtrail.Fault{Err: err, Cut: 40}) }
	}
	body := func(change func([]byte) []byte) func(hour, trail.Object) {
		return func(h hour, o trail.Object) {
			h.Edit(o.Bucket, o.Key, func(s *testtrail.Stored) { s.Body = change(s.Body) })
		}
	}
	content := func(b string) func(hour, trail.Object) {
		return body(func([]byte) []byte { return testtrail.Gzip([]byte(b)) })
	}
	for _, tt := range []struct {
		name   string
		tamper func(hour, trail.Object)
		log    error // what the object's being read as a log wraps
		digest error // and as a digest
		reason finding.Reason
	}{
		{"control", func(hour, trail.Object) {}, nil, nil, ""},
		{"absent", func(h hour, o trail.Object) { h.Delete(o.Bucket, o.Key) }, fs.ErrNotExist, fs.ErrNotExist, ""},
		{"not gzip", body(func([]byte) []byte { return []byte("{}") }), inflate.ErrNotGzip, inflate.ErrNotGzip, ""},
		{"empty", body(func([]byte) []byte { return nil }), inflate.ErrNotGzip, inflate.ErrNotGzip, ""},
		{"stored cut off", body(func(b []byte) []byte { return b[:40] }), inflate.ErrTruncated, inflate.ErrTruncated, ""},
		{"second member", body(func(b []byte) []byte { return append(b, testtrail.Gzip([]byte("x"))...) }), inflate.ErrTrailing, inflate.ErrTrailing, ""},
		{"other content", content("{}"), digest.ErrModified, digest.ErrFormat, ""},
		{"refused", fails(fmt.Errorf("get: %w", fs.ErrPermission)), fs.ErrPermission, fs.ErrPermission, finding.AccessDenied},
		{"key refused", fails(fmt.Errorf("get: %w", finding.ErrKMSDenied)), finding.ErrKMSDenied, finding.ErrKMSDenied, finding.KMSDenied},
		{"archived", fails(fmt.Errorf("get: %w", finding.ErrArchived)), finding.ErrArchived, finding.ErrArchived, finding.Archived},
		{"throttled", fails(fmt.Errorf("get: %w", finding.ErrThrottled)), finding.ErrThrottled, finding.ErrThrottled, finding.Throttled},
		{"network", fails(boom), boom, boom, finding.Network},
		{"body breaks off", cut(boom), boom, boom, finding.Network},
		{"body ends early", cut(io.ErrUnexpectedEOF), io.ErrUnexpectedEOF, io.ErrUnexpectedEOF, finding.Network},
		{"throttled on the way", cut(finding.ErrThrottled), finding.ErrThrottled, finding.ErrThrottled, finding.Throttled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHour(t)
				tt.tamper(h, h.digest)
				tt.tamper(h, h.log.Location())
				f := fetch.New(h, 1)
				file, err := f.Digest(t.Context(), h.digest)
				check(t, err, tt.digest, tt.reason)
				if (file.Digest != nil) != (err == nil || errors.Is(err, inflate.ErrTrailing) || errors.Is(err, inflate.ErrChecksum)) ||
					file.Body != nil && err == nil {
					t.Errorf("digest: %+v beside %v", file, err)
				}
				_, err = f.Log(t.Context(), h.log)
				check(t, err, tt.log, tt.reason)
				f = fetch.New(h, 4)
				err = readEarly(f, f.Request(t.Context(), h.log.Location()), h.log)
				check(t, err, tt.log, tt.reason)
				f.Wait()
			})
		})
	}
}

// readEarly reads a log file whose request was sent before, and compares its hash.
func readEarly(f *fetch.Fetcher, early *fetch.Request, l digest.Log) error {
	return readEarlyBy(context.Background(), f, early, l)
}

func readEarlyBy(ctx context.Context, f *fetch.Fetcher, early *fetch.Request, l digest.Log) error {
	got, err := f.ReadLog(ctx, l.Location(), fetch.LogRead{Early: early, MaxInflated: f.MaxLog})
	if err != nil {
		return err
	}
	return l.Check(got.Sum)
}

func check(t *testing.T, err, want error, reason finding.Reason) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	if err == nil {
		return
	}
	if finding.IsFact(err) != (reason == "") {
		t.Errorf("%v is a fact: %t", err, finding.IsFact(err))
	}
	if reason != "" && finding.ReasonOf(err) != reason {
		t.Errorf("%v: reason %s, want %s", err, finding.ReasonOf(err), reason)
	}
}

func TestDigestKeepsWhatItCouldRead(t *testing.T) {
	h := newHour(t)
	h.Edit(h.digest.Bucket, h.digest.Key, func(s *testtrail.Stored) { s.Body = testtrail.Gzip([]byte("{}")) })
	f, err := fetch.New(h, 1).Digest(t.Context(), h.digest)
	if !errors.Is(err, digest.ErrFormat) || string(f.Body) != "{}" || f.Meta[digest.MetaSignature] == "" ||
		f.Digest != nil {
		t.Errorf("no digest: got %+v, %v", f, err)
	}
	h.Edit(h.digest.Bucket, h.digest.Key, func(s *testtrail.Stored) { s.Body = []byte("text") })
	f, err = fetch.New(h, 1).Digest(t.Context(), h.digest)
	if !errors.Is(err, inflate.ErrNotGzip) || f.Body != nil || f.Meta[digest.MetaSignature] == "" {
		t.Errorf("no gzip: got %+v, %v", f, err)
	}
}

func TestTooLarge(t *testing.T) {
	h := newHour(t)
	f := fetch.New(h, 1)
	f.MaxDigest, f.MaxLog = 100, 100
	_, err := f.Digest(t.Context(), h.digest)
	check(t, err, inflate.ErrTooLarge, finding.TooLarge)
	_, err = f.Log(t.Context(), h.log)
	check(t, err, inflate.ErrTooLarge, finding.TooLarge)
	if n := h.Reads(h.digest.Bucket, h.digest.Key); n != 2 { // newHour's and this one
		t.Errorf("read %d times", n)
	}
}

func TestPlainFiles(t *testing.T) {
	h := newHour(t)
	h.Edit(h.digest.Bucket, h.digest.Key, func(s *testtrail.Stored) { s.Body = h.issued.Body })
	if _, err := fetch.New(h, 1).Digest(t.Context(), h.digest); !errors.Is(err, inflate.ErrNotGzip) {
		t.Errorf("a bucket: %v", err)
	}
	f := fetch.New(h, 1)
	f.Plain = true
	if _, err := f.Digest(t.Context(), h.digest); err != nil {
		t.Errorf("a folder: %v", err)
	}
}

// A body that breaks off is read again, after a pause. Nothing else is.
func TestBodyRetry(t *testing.T) {
	boom := errors.New("connection reset")
	for _, tt := range []struct {
		name  string
		fault testtrail.Fault
		reads int
		took  time.Duration
		want  error
	}{
		{"whole", testtrail.Fault{Delay: time.Nanosecond, Times: 1}, 1, 0, nil},
		{"breaks off once", testtrail.Fault{Err: boom, Cut: 40, Times: 1}, 2, 200 * time.Millisecond, nil},
		{"breaks off twice", testtrail.Fault{Err: boom, Cut: 40, Times: 2}, 3, 600 * time.Millisecond, nil},
		{"breaks off always", testtrail.Fault{Err: boom, Cut: 40}, 3, 600 * time.Millisecond, boom},
		{"cannot be opened", testtrail.Fault{Err: boom}, 1, 0, boom},
		{"refused on the way", testtrail.Fault{Err: fs.ErrPermission, Cut: 40}, 1, 0, fs.ErrPermission},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHour(t)
				h.Fail(h.log.Bucket, h.log.Object, &tt.fault)
				var tries []*bytes.Buffer
				start := time.Now()
				_, err := fetch.New(h, 1).CopyLog(t.Context(), func() io.Writer {
					tries = append(tries, new(bytes.Buffer))
					return tries[len(tries)-1]
				}, h.log)
				if !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				if n := h.Reads(h.log.Bucket, h.log.Object); n != tt.reads {
					t.Errorf("read %d times, want %d", n, tt.reads)
				}
				if took := time.Since(start).Truncate(time.Millisecond); took != tt.took {
					t.Errorf("took %s, want %s", took, tt.took)
				}
				if err != nil {
					return
				}
				// Only the last try counts, and it is whole.
				if len(tries) != tt.reads || !bytes.HasSuffix(tries[len(tries)-1].Bytes(), []byte("]}")) {
					t.Errorf("%d tries", len(tries))
				}
			})
		})
	}
}

func TestCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHour(t)
		f := fetch.New(h, 1)
		h.Fail(h.log.Bucket, h.log.Object, &testtrail.Fault{Delay: time.Hour})
		h.Fail(h.digest.Bucket, h.digest.Key, &testtrail.Fault{Err: errors.New("connection reset"), Cut: 10})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 3)
		go func() { _, err := f.Log(ctx, h.log); done <- err }() // the only read
		synctest.Wait()
		go func() { _, err := f.Digest(ctx, h.digest); done <- err }() // waits for it
		synctest.Wait()
		cancel()
		for range 2 {
			if err := <-done; !errors.Is(err, context.Canceled) || finding.IsFact(err) {
				t.Errorf("got %v", err)
			}
		}
		if n := h.Reads(h.digest.Bucket, h.digest.Key); n != 1 { // newHour's
			t.Errorf("read %d times", n)
		}
		// In the pause before another try.
		ctx, cancel = context.WithCancel(t.Context())
		go func() { _, err := f.Digest(ctx, h.digest); done <- err }()
		synctest.Wait()
		cancel()
		start := time.Now()
		if err := <-done; !errors.Is(err, context.Canceled) || time.Since(start) != 0 {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
	})
}

// counting counts the calls of Get that run at once.
type counting struct {
	fetch.Objects
	now, most atomic.Int64
}

func (c *counting) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	n := c.now.Add(1)
	defer c.now.Add(-1)
	for m := c.most.Load(); n > m && !c.most.CompareAndSwap(m, n); m = c.most.Load() {
	}
	time.Sleep(time.Second)
	return c.Objects.Get(ctx, o)
}

func TestConcurrency(t *testing.T) {
	for limit, want := range map[int]int64{-1: 1, 0: 1, 1: 1, 3: 3, 100: 20} {
		synctest.Test(t, func(t *testing.T) {
			h := newHour(t)
			c := &counting{Objects: h}
			f := fetch.New(c, limit)
			done := make(chan error)
			for range 20 {
				go func() { _, err := f.Log(t.Context(), h.log); done <- err }()
			}
			for range 20 {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
			if got := c.most.Load(); got != want {
				t.Errorf("limit %d: %d at once, want %d", limit, got, want)
			}
		})
	}
}
