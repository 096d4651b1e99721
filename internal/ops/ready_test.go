package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs, broken := 0, errors.New("broken")
		var fault error
		r := newReadiness([]Check{
			{"good", func(context.Context) error { return nil }},
			{"bad", func(context.Context) error { runs++; return fault }},
		})
		see := func(when string, ready bool, want ...result) {
			t.Helper()
			got, is, err := r.get(t.Context())
			if err != nil || is != ready || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %v %+v, %v", when, is, got, err)
			}
		}
		good := result{Name: "good", OK: true}
		see("at first", true, good, result{Name: "bad", OK: true})
		fault = broken
		see("while the results are young", true, good, result{Name: "bad", OK: true})
		time.Sleep(checkAge)
		at := time.Now().UTC()
		see("then", false, good, result{Name: "bad", Error: "broken", LastError: "broken", LastErrorTime: at})
		fault = nil
		time.Sleep(checkAge - 1)
		see("not yet", false, good, result{Name: "bad", Error: "broken", LastError: "broken", LastErrorTime: at})
		time.Sleep(time.Nanosecond)
		see("healed, and remembered", true, good, result{Name: "bad", OK: true, LastError: "broken", LastErrorTime: at})
		if runs != 3 {
			t.Errorf("%d runs", runs)
		}
	})
}

// Checks run side by side, and one that hangs is ended; who asks meanwhile
// waits for the same run or leaves.
func TestReadinessHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		r := newReadiness([]Check{{"a", hang}, {"b", hang}, {"c", func(context.Context) error { runs++; return nil }}})
		began := time.Now()
		done := make(chan []result)
		for range 3 {
			go func() {
				results, _, _ := r.get(t.Context())
				done <- results
			}()
		}
		synctest.Wait()
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, ready, err := r.get(impatient); ready || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("impatient: %v, %v", ready, err)
		}
		for range 3 {
			got := <-done
			if got[0].OK || got[1].OK || !got[2].OK || got[0].Error != context.DeadlineExceeded.Error() {
				t.Errorf("%+v", got)
			}
		}
		if d := time.Since(began); d != checkTimeout || runs != 1 {
			t.Errorf("%v, %d runs", d, runs)
		}
	})
}

// A prober that hangs up does not make a check fail.
func TestReadinessOfAProberThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReadiness([]Check{{"slow", func(ctx context.Context) error {
			select {
			case <-time.After(2 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got, ready, err := r.get(ctx); err != nil || !ready || !got[0].OK {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestNotReady(t *testing.T) {
	c := config(io.Discard)
	c.Checks = []Check{
		{"queue", func(context.Context) error { return errors.New("denied\x1b[2J <b>") }},
		{"source", func(context.Context) error { return nil }},
	}
	url, _ := start(t, c)
	for _, tt := range []struct {
		path, accept string
		status       int
		text         string
	}{
		{"/readyz", "", 503, "fail queue: \"denied\\x1b[2J <b>\"\nok   source\nnot ready\n"},
		{"/readyz", "application/json", 503, `{"name":"queue","ok":false,"error":"denied\u001b[2J \u003cb\u003e","last_error":"denied`},
		{"/statusz", "text/html", 200, "not ready"},
		{"/statusz", "text/html", 200, "&lt;b&gt;"},
		{"/statusz", "", 200, `"ready":false`},
		{"/livez", "", 200, "ok\n"},
	} {
		if status, _, body := ask(t, "GET", url+tt.path, "Accept", tt.accept); status != tt.status || !strings.Contains(body, tt.text) || strings.Contains(body, "<b>") && tt.accept != "" {
			t.Errorf("%s for %q: %d\n%s", tt.path, tt.accept, status, body)
		}
	}
}

// A check that has healed still tells of its last error.
func TestLastError(t *testing.T) {
	p := &pages{ready: newReadiness([]Check{{"queue", func(context.Context) error { return nil }}})}
	p.ready.results[0].take(errors.New("was denied"))
	p.ready.results[0].take(fmt.Errorf("not listed: %w", ErrStarting))
	if one := p.ready.results[0]; one.OK || one.Error != "not listed: starting" {
		t.Errorf("%+v", one)
	}
	for path, want := range map[string]string{
		"/readyz":             `: "was denied")` + "\nready\n",
		"/readyz?format=json": `"last_error":"was denied","last_error_time":"2`,
	} {
		w := httptest.NewRecorder()
		p.readyz(w, httptest.NewRequest("GET", path, nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}
