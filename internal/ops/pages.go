package ops

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
)

// pages answers for people and probes.
type pages struct {
	ready  *readiness
	status func() any
	log    *slog.Logger
}

// livez says that the process answers. It asks nothing else: what a restart
// does not heal must not cause one.
func (p *pages) livez(w http.ResponseWriter, _ *http.Request) {
	p.write(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
}

func (p *pages) readyz(w http.ResponseWriter, r *http.Request) {
	results, ready, err := p.ready.get(r.Context())
	if err != nil {
		return // nobody is there to be told
	}
	code := http.StatusOK
	if !ready {
		code = http.StatusServiceUnavailable
	}
	if wants(r, "application/json") {
		p.writeJSON(w, code, struct {
			Ready  bool     `json:"ready"`
			Checks []result `json:"checks"`
		}{ready, results})
		return
	}
	var b bytes.Buffer
	for _, one := range results {
		switch {
		case !one.OK:
			fmt.Fprintf(&b, "fail %s: %q\n", one.Name, one.Error)
		case one.LastError != "":
			fmt.Fprintf(&b, "ok   %s (at %s: %q)\n", one.Name, one.LastErrorTime.Format("2006-01-02T15:04:05Z"), one.LastError)
		default:
			fmt.Fprintf(&b, "ok   %s\n", one.Name)
		}
	}
	b.WriteString(map[bool]string{true: "ready\n", false: "not ready\n"}[ready])
	p.write(w, code, "text/plain; charset=utf-8", b.Bytes())
}

// statusz shows people a page and programs JSON.
func (p *pages) statusz(w http.ResponseWriter, r *http.Request) {
	results, ready, err := p.ready.get(r.Context())
	if err != nil {
		return // nobody is there to be told
	}
	var status any
	if p.status != nil {
		status = p.status()
	}
	if !wants(r, "text/html") {
		p.writeJSON(w, http.StatusOK, struct {
			Ready  bool     `json:"ready"`
			Checks []result `json:"checks"`
			Status any      `json:"status"`
		}{ready, results, status})
		return
	}
	text, err := json.MarshalIndent(status, "", "  ")
	if err != nil {
		p.fail(w, err)
		return
	}
	var b bytes.Buffer
	if err := page.Execute(&b, map[string]any{"Ready": ready, "Checks": results, "Status": string(text)}); err != nil {
		p.fail(w, err)
		return
	}
	p.write(w, http.StatusOK, "text/html; charset=utf-8", b.Bytes())
}

// page shows status as it is encoded: one page for whatever a program has to
// tell.
var page = template.Must(template.New("status").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>status</title>
<style>body{font-family:sans-serif;margin:2em}td{padding:.2em 1em .2em 0;vertical-align:top}.fail{color:#b00}pre{background:#f4f4f4;padding:1em;overflow:auto}</style>
</head><body>
<h1>{{if .Ready}}ready{{else}}<span class="fail">not ready</span>{{end}}</h1>
<table>{{range .Checks}}
<tr><td>{{.Name}}</td><td>{{if .OK}}ok{{else}}<span class="fail">{{.Error}}</span>{{end}}</td><td>{{if .LastError}}last error {{.LastErrorTime.Format "2006-01-02T15:04:05Z"}}: {{.LastError}}{{end}}</td></tr>{{end}}
</table>
<pre>{{.Status}}</pre>
<p><a href="/metrics">metrics</a> <a href="/statusz?format=json">JSON</a></p>
</body></html>
`))

// wants reports whether the request names a media type, or JSON by its format
// parameter.
func wants(r *http.Request, media string) bool {
	if r.URL.Query().Get("format") == "json" {
		return media == "application/json"
	}
	return strings.Contains(r.Header.Get("Accept"), media)
}

func (p *pages) writeJSON(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		p.fail(w, err)
		return
	}
	p.write(w, code, "application/json", append(b, '\n'))
}

func (p *pages) fail(w http.ResponseWriter, err error) {
	p.log.Error("encode status", "error", err)
	http.Error(w, "the status cannot be encoded", http.StatusInternalServerError)
}

func (p *pages) write(w http.ResponseWriter, code int, media string, body []byte) {
	w.Header().Set("Content-Type", media)
	w.WriteHeader(code)
	_, _ = w.Write(body) // the client is gone
}
