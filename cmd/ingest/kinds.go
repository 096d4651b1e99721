package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/sink/file"
	httpsink "github.com/trailseal/trailseal/internal/sink/http"
	"github.com/trailseal/trailseal/internal/sink/s3"
	"github.com/trailseal/trailseal/internal/sink/stream"
)

// kinds are all kinds of sinks. Help, the check of settings, check and run go by
// this table alone.
func (w *wiring) kinds() []sink.Kind {
	const index = "opensearch+https://host/index"
	return []sink.Kind{
		{Scheme: "stdout", Usage: "stdout", Events: true, Findings: true, Open: w.openStdout, Check: checkNothing},
		{Scheme: "stderr", Usage: "stderr", Findings: true, Open: w.openStderr, Check: checkNothing},
		{Scheme: "file:", Usage: "file:PATH", Events: true, Findings: true, Open: w.openFile, Check: checkFile},
		{Scheme: "s3://", Usage: "s3://bucket/prefix", Events: true, Open: w.openS3, Check: w.checkS3},
		{Scheme: "https://", Usage: "https://host/path", Events: true, Open: w.openHTTP, Check: w.checkHTTP},
		{Scheme: "http://", Events: true, Open: w.openHTTP, Check: w.checkHTTP},
		{Scheme: "opensearch+https://", Usage: index, Events: true, Open: w.openIndex, Check: w.checkHTTP},
		{Scheme: "opensearch+http://", Events: true, Open: w.openIndex, Check: w.checkHTTP},
	}
}

func takesEvents(k sink.Kind) bool   { return k.Events }
func takesFindings(k sink.Kind) bool { return k.Findings }

// usageOf returns the forms of settings as a list of words.
func usageOf(kinds []sink.Kind, keep func(sink.Kind) bool) string {
	var forms []string
	for _, k := range kinds {
		if k.Usage != "" && keep(k) {
			forms = append(forms, k.Usage)
		}
	}
	last := len(forms) - 1
	return strings.Join(forms[:last], ", ") + " or " + forms[last]
}

// isOneOf reports whether a setting is of a kind that keep takes.
func isOneOf(kinds []sink.Kind, setting string, keep func(sink.Kind) bool) bool {
	k, ok := sink.KindOf(kinds, setting)
	return ok && keep(k)
}

// openSink opens the sink of a setting. The caller closes it.
func (w *wiring) openSink(ctx context.Context, setting string, f sink.Format) (sink.Sink, error) {
	k, ok := sink.KindOf(w.kinds(), setting)
	if !ok {
		return nil, fmt.Errorf("not %s", usageOf(w.kinds(), takesEvents))
	}
	return k.Open(ctx, setting, f)
}

func (w *wiring) openStdout(_ context.Context, _ string, f sink.Format) (sink.Sink, error) {
	return stream.New(w.stdout, f), nil
}

func (w *wiring) openStderr(_ context.Context, _ string, f sink.Format) (sink.Sink, error) {
	return stream.New(w.stderr, f), nil
}

func (w *wiring) openFile(_ context.Context, setting string, f sink.Format) (sink.Sink, error) {
	o := file.Options{MaxBytes: int64(w.FileMax), Every: time.Duration(w.FileEvery), Now: w.now, Format: f}
	return opened(file.Open(filepath.Clean(strings.TrimPrefix(setting, "file:")), o))
}

func (w *wiring) openS3(ctx context.Context, setting string, f sink.Format) (sink.Sink, error) {
	client, err := w.aws(ctx)
	if err != nil {
		return nil, err
	}
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(setting, "s3://"), "/")
	zstd := w.SinkCompression == "zstd"
	return opened(s3.New(client.S3(), s3.Options{Bucket: bucket, Prefix: prefix, Zstd: zstd, Format: f}))
}

func (w *wiring) openHTTP(_ context.Context, setting string, f sink.Format) (sink.Sink, error) {
	return w.openEndpoint(setting, httpsink.Options{URL: setting, Format: f})
}

func (w *wiring) openIndex(_ context.Context, setting string, f sink.Format) (sink.Sink, error) {
	u, err := url.Parse(strings.TrimPrefix(setting, "opensearch+"))
	if err != nil {
		return nil, errors.New("not a URL")
	}
	index := strings.Trim(u.Path, "/")
	if index == "" || strings.Contains(index, "/") {
		return nil, errors.New("names no index: opensearch+https://host/index")
	}
	u.Path = "/"
	return w.openEndpoint(setting, httpsink.Options{URL: u.String(), Index: index, Format: f})
}

func (w *wiring) openEndpoint(setting string, o httpsink.Options) (sink.Sink, error) {
	o.Header, o.Gzip, o.Log = http.Header{}, w.SinkCompression != "none", w.logger(w.config)
	for _, h := range w.SinkHeader {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return nil, errors.New("sink-header: not NAME: VALUE")
		}
		o.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if w.DeadLetters != "" {
		letters, err := w.deadLetters()
		if err != nil {
			return nil, fmt.Errorf("dead letters: %w", err)
		}
		label := w.labelOf(setting)
		o.DeadLetter = func(ctx context.Context, line []byte, id, reason string) error {
			err := emitLine(ctx, letters, httpsink.Letter(line, id, reason), id)
			if err == nil {
				w.sinkMetrics.refused.WithLabelValues(label).Inc()
			}
			return err
		}
	}
	return opened(httpsink.New(o))
}

// opened makes a sink of what a package returned: none with an error.
func opened[S sink.Sink](s S, err error) (sink.Sink, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// checkNothing is for streams, which are always there.
func checkNothing(context.Context, string) sink.Trial { return sink.Trial{} }

func checkFile(_ context.Context, setting string) sink.Trial {
	return sink.Trial{Err: tryFile(strings.TrimPrefix(setting, "file:")), Detail: "writable"}
}

// tryFile finds out whether a file can be written beside others, and is there
// only if it was.
func tryFile(path string) error {
	if path == "" {
		return errors.New("no path")
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".trailseal-check-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := f.Close(); err != nil {
		return err
	}
	if f, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0); err == nil {
		err = f.Close()
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// checkName is the name of the object that is put below the prefix of an S3
// sink. It stays, and the next check writes over it.
const checkName = "trailseal-check.txt"

func (w *wiring) checkS3(ctx context.Context, setting string) sink.Trial {
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(setting, "s3://"), "/")
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	client, err := w.aws(ctx)
	if err == nil {
		text := []byte("ingest check could write here; this object can be removed\n")
		err = client.S3().Put(ctx, bucket, prefix+checkName, text, "text/plain", "")
	}
	return sink.Trial{
		Err: err, Action: "s3:PutObject", Resource: bucketARN(bucket, w.awsRegion()) + "/" + prefix + "*",
		Detail: "wrote s3://" + bucket + "/" + prefix + checkName,
	}
}

// checkHTTP asks for the head of the URL: whatever is answered, somebody is
// there, unless it is a refusal.
func (w *wiring) checkHTTP(ctx context.Context, setting string) sink.Trial {
	address := strings.TrimPrefix(setting, "opensearch+")
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return sink.Trial{Err: errors.New("not a URL")}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, address, nil)
	if err != nil {
		return sink.Trial{Err: errors.New("not a URL")}
	}
	for _, h := range w.SinkHeader {
		name, value, _ := strings.Cut(h, ":")
		r.Header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableCompression: true, DisableKeepAlives: true}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, err := (&http.Client{Transport: transport, CheckRedirect: stay}).Do(r)
	var failed *url.Error
	switch {
	case errors.As(err, &failed):
		return sink.Trial{Err: failed.Err} // without the URL, which can hold a token
	case err != nil:
		return sink.Trial{Err: errors.New("no answer")}
	}
	answer.Body.Close()
	switch status := answer.StatusCode; {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return sink.Trial{
			Err: fmt.Errorf("refused: HTTP %d; set --sink-header or a user and password in the URL", status),
		}
	case status >= 500 && status != http.StatusNotImplemented:
		return sink.Trial{Err: fmt.Errorf("out of order: HTTP %d", status)}
	}
	return sink.Trial{Detail: "answers; whether it takes events shows when the first are sent"}
}
