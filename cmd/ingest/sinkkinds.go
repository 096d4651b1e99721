package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/sink/file"
	"github.com/trailseal/trailseal/internal/sink/s3"
	"github.com/trailseal/trailseal/internal/sink/stream"
)

// sinkOpener opens and tries the sinks of settings. One goroutine may use it.
type sinkOpener struct {
	app     app
	config  *config
	aws     *clients
	opened  *resources
	metrics *sinkMetrics // of dead letters; nil where no sink takes events
	letters sink.Sink    // of all HTTP sinks, nil until the first is opened
}

// kinds are all kinds of sinks. Help, the check of settings, check and run go by
// this table alone. A caller that uses neither Open nor Check
// may take the table of a zero sinkOpener.
func (o *sinkOpener) kinds() []sink.Kind {
	all := []sink.Kind{
		{Scheme: "stdout", Usage: "stdout", Events: true, Findings: true, Open: o.openStdout, Check: checkNothing},
		{Scheme: "stderr", Usage: "stderr", Findings: true, Open: o.openStderr, Check: checkNothing},
		{Scheme: "file:", Usage: "file:PATH", Events: true, Findings: true, Open: o.openFile, Check: checkFile},
		{Scheme: "s3://", Usage: "s3://bucket/prefix", Events: true, Open: o.openS3, Check: o.checkS3},
	}
	for _, p := range products() {
		all = append(all,
			sink.Kind{Scheme: p.before() + "https://", Usage: p.before() + "https://" + p.form, Events: true, Open: o.openHTTP, Check: o.checkHTTP},
			sink.Kind{Scheme: p.before() + "http://", Events: true, Open: o.openHTTP, Check: o.checkHTTP},
		)
	}
	return all
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

// open opens the sink of a setting. The caller closes it.
func (o *sinkOpener) open(ctx context.Context, setting string, f sink.Format) (sink.Sink, error) {
	k, ok := sink.KindOf(o.kinds(), setting)
	if !ok {
		return nil, fmt.Errorf("not %s", usageOf(o.kinds(), takesEvents))
	}
	return k.Open(ctx, setting, f)
}

func (o *sinkOpener) openStdout(_ context.Context, _ string, f sink.Format) (sink.Sink, error) {
	return stream.New(o.app.stdout, f), nil
}

func (o *sinkOpener) openStderr(_ context.Context, _ string, f sink.Format) (sink.Sink, error) {
	return stream.New(o.app.stderr, f), nil
}

func (o *sinkOpener) openFile(_ context.Context, setting string, f sink.Format) (sink.Sink, error) {
	return sinkOrError(file.Open(filepath.Clean(strings.TrimPrefix(setting, "file:")), file.Options{
		MaxBytes: int64(o.config.FileMax), Every: time.Duration(o.config.FileEvery), Now: o.app.now, Format: f,
	}))
}

func (o *sinkOpener) openS3(ctx context.Context, setting string, f sink.Format) (sink.Sink, error) {
	client, err := o.aws.forSinks(ctx)
	if err != nil {
		return nil, err
	}
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(setting, "s3://"), "/")
	zstd := o.config.SinkCompression == "zstd"
	return sinkOrError(s3.New(client.S3(), s3.Options{Bucket: bucket, Prefix: prefix, Zstd: zstd, Format: f}))
}

// deadLetters returns the file of dead letters, which the HTTP sinks share.
func (o *sinkOpener) deadLetters() (sink.Sink, error) {
	if o.letters == nil {
		f, err := file.Open(filepath.Clean(o.config.DeadLetters), file.Options{Now: o.app.now, Format: sink.Raw})
		if err != nil {
			return nil, err
		}
		o.letters = f
		o.opened.addFile(f)
		o.opened.add(f)
	}
	return o.letters, nil
}

// sinkOrError returns a nil sink with an error. A nil pointer in a sink would not be nil.
func sinkOrError[S sink.Sink](s S, err error) (sink.Sink, error) {
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

// tryFile returns why a file cannot be written, nil if it can. It creates no file that stays.
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

func (o *sinkOpener) checkS3(ctx context.Context, setting string) sink.Trial {
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(setting, "s3://"), "/")
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	client, err := o.aws.forSinks(ctx)
	if err == nil {
		text := []byte("ingest check could write here; this object can be removed\n")
		err = client.S3().Put(ctx, bucket, prefix+checkName, text, "text/plain", "")
	}
	return sink.Trial{
		Err: err, Action: "s3:PutObject", Resource: bucketARN(bucket, o.aws.region()) + "/" + prefix + "*",
		Detail: "wrote s3://" + bucket + "/" + prefix + checkName,
	}
}
