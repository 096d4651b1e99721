package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/sink"
	httpsink "github.com/trailseal/trailseal/internal/sink/http"
)

// productForm is a product, and the form of its settings behind the scheme.
type productForm struct {
	product httpsink.Product
	form    string
}

// products returns what takes events over HTTP: a setting is PRODUCT+https://FORM.
func products() []productForm {
	return []productForm{
		{httpsink.NDJSON, "host/path"},
		{httpsink.JSON, "host/path"},
		{httpsink.OpenSearch, "host/index"},
		{httpsink.Elastic, "host/stream"},
		{httpsink.Loki, "host"},
		{httpsink.Datadog, "host"},
		{httpsink.Splunk, "host:8088"},
	}
}

// before returns what goes before https:// in a setting.
func (p productForm) before() string {
	if p.product == httpsink.NDJSON {
		return ""
	}
	return string(p.product) + "+"
}

// endpointOf returns the endpoint of a setting.
func endpointOf(setting string) (httpsink.Options, error) {
	var to httpsink.Options
	var form string
	for _, p := range products() {
		address, isOf := strings.CutPrefix(setting, p.before())
		if isOf && strings.HasPrefix(address, "http") {
			to, form = httpsink.Options{URL: address, Product: p.product}, p.before()+"https://"+p.form
		}
	}
	if !strings.HasSuffix(form, "/index") && !strings.HasSuffix(form, "/stream") {
		return to, nil
	}
	u, err := url.Parse(to.URL)
	if err != nil {
		return to, errors.New("not a URL")
	}
	to.Index = strings.Trim(u.Path, "/")
	if to.Index == "" || strings.Contains(to.Index, "/") {
		return to, fmt.Errorf("names no %s: %s", form[strings.LastIndex(form, "/")+1:], form)
	}
	u.Path = "/"
	to.URL = u.String()
	return to, nil
}

// endpoint returns the endpoint of a setting with what other settings say of all.
func (o *sinkOpener) endpoint(setting string, f sink.Format) (httpsink.Options, error) {
	to, err := endpointOf(setting)
	if err != nil {
		return to, err
	}
	to.Format, to.Gzip, to.Header = f, o.config.SinkCompression != "none", http.Header{}
	to.Now, to.Timeout = o.app.now, time.Duration(o.config.SinkTimeout)
	for _, h := range o.config.SinkHeader {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return to, errors.New("sink-header: not NAME: VALUE")
		}
		to.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return to, nil
}

func (o *sinkOpener) openHTTP(_ context.Context, setting string, f sink.Format) (sink.Sink, error) {
	to, err := o.endpoint(setting, f)
	if err != nil {
		return nil, err
	}
	if o.config.DeadLetters != "" {
		letters, err := o.deadLetters()
		if err != nil {
			return nil, fmt.Errorf("dead letters: %w", err)
		}
		refused := o.metrics.refused.WithLabelValues(labelOf(o.kinds(), o.config.Sink, setting))
		to.DeadLetter = func(ctx context.Context, line []byte, id, reason string) error {
			err := emitLine(ctx, letters, httpsink.Letter(line, id, reason), id)
			if err == nil {
				refused.Inc()
			}
			return err
		}
	}
	return sinkOrError(httpsink.New(to))
}

// checkHTTP sends a HEAD request to the endpoint. Every answer will do, unless it is a
// refusal or an error of the server.
func (o *sinkOpener) checkHTTP(ctx context.Context, setting string) sink.Trial {
	to, err := o.endpoint(setting, sink.Trailseal)
	if err != nil {
		return sink.Trial{Err: err}
	}
	s, err := httpsink.New(to)
	if err != nil {
		return sink.Trial{Err: err}
	}
	defer s.Close()
	switch status, err := s.Ask(ctx); {
	case err != nil:
		return sink.Trial{Err: err}
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return sink.Trial{
			Err: fmt.Errorf("refused: HTTP %d; set --sink-header or a user and password in the URL", status),
		}
	case status >= 500 && status != http.StatusNotImplemented:
		return sink.Trial{Err: fmt.Errorf("out of order: HTTP %d", status)}
	}
	return sink.Trial{Detail: "answers; whether it takes events shows when the first are sent"}
}
