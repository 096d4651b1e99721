package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// ServeHTTP answers who wants something planted:
//
//	GET /               what can be planted
//	GET /healthz        200 once the history is delivered
//	POST /plant/NAME    plant it now
func (f *feeder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, isPlant := strings.CutPrefix(r.URL.Path, "/plant/")
	p, known := plantNamed(name)
	switch {
	case r.URL.Path == "/" && r.Method == http.MethodGet:
		f.list(w)
	case r.URL.Path == "/healthz" && f.ready.Load():
		fmt.Fprintln(w, "ok")
	case r.URL.Path == "/healthz" || isPlant && !f.ready.Load():
		http.Error(w, "the history is not delivered yet", http.StatusServiceUnavailable)
	case !isPlant:
		http.NotFound(w, r)
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "POST plants", http.StatusMethodNotAllowed)
	case !known:
		http.Error(w, fmt.Sprintf("%q: not one of %s", name, strings.Join(plantNames(), ", ")), http.StatusNotFound)
	default:
		account, err := f.plant(context.WithoutCancel(r.Context()), p) // half a history would be another finding
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprintf(w, "planted in account %s: %s\n%s\n", account, p.does, p.expect())
	}
}

func (f *feeder) list(w http.ResponseWriter) {
	for _, p := range plants() {
		fmt.Fprintf(w, "POST /plant/%-16s%s\n", p.name, p.does)
	}
}

// expect says who finds it.
func (p plant) expect() string {
	if p.alert == "" {
		return fmt.Sprintf("the verifier finds: %s", p.found)
	}
	return fmt.Sprintf("the worker and the verifier find: %s; the alert is %s", p.found, p.alert)
}
