// Package prometheus holds the alerts, the recording rules and examples of how
// Prometheus and Alertmanager read them. Its tests hold the rules against the
// worker's real metrics, the operations page and their own promtool tests.
package prometheus

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// rule is an alert or a recorded series.
type rule struct {
	Alert, Record, Expr, For string
	Labels, Annotations      map[string]string
}

func rules(t *testing.T, file string) (all []rule) {
	t.Helper()
	var content struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
	decode(t, file, &content)
	for _, g := range content.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 10 {
		t.Fatalf("%s: %d rules", file, len(all))
	}
	return all
}

func decode(t *testing.T, file string, into any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// firing is what the promtool tests expect of one alert.
type firing struct {
	quiet  bool                // at some time nothing fires
	series []map[string]string // labels of those that fire at some time
}

func tested(t *testing.T) map[string]*firing {
	t.Helper()
	all := map[string]*firing{}
	for _, file := range testFiles {
		var content struct {
			Tests []struct {
				PromQL []struct {
					Expr    string
					Samples []struct{ Labels string } `yaml:"exp_samples"`
				} `yaml:"promql_expr_test"`
			}
		}
		decode(t, file, &content)
		for _, group := range content.Tests {
			for _, q := range group.PromQL {
				m := alertsQuery.FindStringSubmatch(q.Expr)
				if m == nil {
					continue
				}
				f := all[m[1]]
				if f == nil {
					f = &firing{}
					all[m[1]] = f
				}
				f.quiet = f.quiet || len(q.Samples) == 0
				for _, s := range q.Samples {
					f.series = append(f.series, selectors(t, s.Labels)[0].equal())
				}
			}
		}
	}
	return all
}

var testFiles = []string{"alerts_test.yml", "findings_test.yml"}

var alertsQuery = regexp.MustCompile(`^ALERTS\{alertname="(\w+)",alertstate="firing"\}$`)

// selector is a metric in an expression.
type selector struct {
	name     string
	matchers []matcher
}

type matcher struct{ label, op, value string }

// equal returns the labels that have one value.
func (s selector) equal() map[string]string {
	labels := map[string]string{}
	for _, m := range s.matchers {
		if m.op == "=" {
			labels[m.label] = m.value
		}
	}
	return labels
}

var (
	metric   = regexp.MustCompile(`([a-zA-Z_][\w:]*)(?:\{([^}]*)\})?`)
	pair     = regexp.MustCompile(`(\w+)(=~|!~|!=|=)"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)`)
	window   = regexp.MustCompile(`\[[^\]]*\]`)
)

// selectors returns the metrics that an expression names, with what it asks of
// their labels. Functions and keywords are none.
func selectors(t *testing.T, expr string) (all []selector) {
	t.Helper()
	bare := window.ReplaceAllString(grouping.ReplaceAllString(expr, ""), "")
	for _, m := range metric.FindAllStringSubmatchIndex(bare, -1) {
		s := selector{name: bare[m[2]:m[3]]}
		rest := strings.TrimSpace(bare[m[1]:])
		if slices.Contains(keywords, s.name) || strings.HasPrefix(rest, "(") || m[0] > 0 && strings.ContainsRune("0123456789", rune(bare[m[0]-1])) {
			continue
		}
		if m[4] >= 0 {
			for _, p := range pair.FindAllStringSubmatch(bare[m[4]:m[5]], -1) {
				s.matchers = append(s.matchers, matcher{p[1], p[2], p[3]})
			}
		}
		all = append(all, s)
	}
	return all
}

var keywords = []string{"and", "or", "unless", "by", "on", "sum", "min", "max", "group_left"}

// metrics are the series of a scrape, by name.
type metrics map[string][]map[string]string

func parseMetrics(text string) metrics {
	all := metrics{}
	for line := range strings.Lines(text) {
		if m := metric.FindStringSubmatch(line); m != nil && !strings.HasPrefix(line, "#") {
			labels := map[string]string{}
			for _, p := range pair.FindAllStringSubmatch(m[2], -1) {
				labels[p[1]] = p[3]
			}
			all[m[1]] = append(all[m[1]], labels)
		}
	}
	return all
}

// values returns all values of a label.
func (m metrics) values(name, label string) []string {
	found := map[string]bool{}
	for _, labels := range m[name] {
		if v, there := labels[label]; there {
			found[v] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func TestSelectors(t *testing.T) {
	got := selectors(t, `sum by (job, le) (rate(a_total{x="1",y=~"2|3"}[5m])) > on (job) group_left () (b + 36e2) and on (job) lvl:c:sum1d unless delta(d[30m]) > 5`)
	var names []string
	for _, s := range got {
		names = append(names, s.name)
	}
	if want := []string{"a_total", "b", "lvl:c:sum1d", "d"}; !slices.Equal(names, want) {
		t.Fatalf("%q, want %q", names, want)
	}
	if want := []matcher{{"x", "=", "1"}, {"y", "=~", "2|3"}}; !slices.Equal(got[0].matchers, want) {
		t.Errorf("%v", got[0].matchers)
	}
}
