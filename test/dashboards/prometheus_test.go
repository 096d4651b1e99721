package dashboards

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// series is one of an answer: a value for a moment, or several.
type series struct {
	Metric map[string]string
	Value  sample
	Values []sample
}

// sample is a time in seconds and a value.
type sample struct{ At, Value float64 }

// UnmarshalJSON implements json.Unmarshaler: [time, "value"].
func (s *sample) UnmarshalJSON(b []byte) (err error) {
	var text string
	if err := json.Unmarshal(b, &[]any{&s.At, &text}); err != nil {
		return err
	}
	s.Value, err = strconv.ParseFloat(text, 64)
	return err
}

// has reports whether there is a value that is a number.
func (s series) has() bool {
	isNumber := func(v sample) bool { return v.At > 0 && !math.IsNaN(v.Value) }
	return isNumber(s.Value) || slices.ContainsFunc(s.Values, isNumber)
}

// get asks Prometheus and returns the data of its answer.
func (s *scene) get(t *testing.T, path string, form url.Values, data any) error {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.prometheus+path+"?"+form.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Body.Close()
	answer := struct {
		Status, Error string
		Warnings      []string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(p.Body).Decode(&answer); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if answer.Status != "success" || len(answer.Warnings) > 0 {
		return fmt.Errorf("%s %s %v", answer.Status, answer.Error, answer.Warnings)
	}
	return nil
}

func stamp(at time.Time) string { return strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64) }

// instant returns what an expression is at the end of the scene.
func (s *scene) instant(t *testing.T, expr string) ([]series, error) {
	t.Helper()
	var data struct{ Result []series }
	err := s.get(t, "/api/v1/query", url.Values{"query": {expr}, "time": {stamp(s.end)}}, &data)
	return data.Result, err
}

// over returns what an expression is during the scene.
func (s *scene) over(t *testing.T, expr string) ([]series, error) {
	t.Helper()
	var data struct{ Result []series }
	err := s.get(t, "/api/v1/query_range", url.Values{
		"query": {expr}, "start": {stamp(s.begin)}, "end": {stamp(s.end)}, "step": {stamp(time.Unix(0, 0).Add(s.step))},
	}, &data)
	return data.Result, err
}

// labels returns what Grafana makes of a variable's label_values.
func (s *scene) labels(t *testing.T, query string) (values []string, err error) {
	t.Helper()
	call := regexp.MustCompile(`^label_values\((.*), *([a-z_]+)\)$`).FindStringSubmatch(query)
	if call == nil {
		return nil, fmt.Errorf("%s is no label_values", query)
	}
	err = s.get(t, "/api/v1/label/"+call[2]+"/values", url.Values{"match[]": {call[1]}, "start": {stamp(s.begin)}, "end": {stamp(s.end)}}, &values)
	return values, err
}

// choices are the values of the dashboards' variables.
type choices struct{ instance, account, region string }

// fill puts values in the place of variables, as Grafana does. What it does
// not know stays, and is an error in PromQL.
func (s *scene) fill(expr string, c choices) string {
	seconds := int(math.Ceil(s.end.Sub(s.begin).Seconds()))
	return strings.NewReplacer(
		"$__rate_interval", s.rate.String(), "$__range", strconv.Itoa(seconds)+"s",
		"$instance", c.instance, "$account", c.account, "$region", c.region,
	).Replace(expr)
}

// everything is what the variables are when nobody has chosen anything. In
// PromQL's strings a backslash is written twice.
func (s *scene) everything() choices {
	instance := strings.ReplaceAll(regexp.QuoteMeta(s.ingest), `\`, `\\`)
	return choices{instance: "(" + instance + "|other:9090)", account: ".*", region: ".*"}
}

// ruleGroup is a group of a Prometheus rule file.
type ruleGroup struct {
	Name  string
	Rules []struct{ Record, Alert, Expr string }
}

func ruleFiles(t *testing.T) (names []string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(top, "deploy", "prometheus", "*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if len(ruleGroups(t, name)) > 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		t.Fatal("no rules in deploy/prometheus")
	}
	return names
}

// ruleGroups returns a file's groups of rules: none where it is another file.
func ruleGroups(t *testing.T, name string) []ruleGroup {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []ruleGroup }
	if err := yaml.Unmarshal(b, &file); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return file.Groups
}
