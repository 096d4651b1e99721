package dashboards

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// mayBeEmpty are the queries that have no answer here, and why.
var mayBeEmpty = map[string]string{}

// Every query of every panel, variable and rule is answered by a real
// Prometheus that watches a real worker.
func TestQueries(t *testing.T) {
	if *images != "" {
		record(t, *images)
		return
	}
	s := play(t, scene{step: time.Second, rate: 6 * time.Second}, true, 12, 1500*time.Millisecond)
	t.Run("panels", s.testPanels)
	t.Run("drawing", s.testDrawing)
	t.Run("variables", s.testVariables)
	t.Run("rules", s.testRules)
	t.Run("metrics", s.testMetrics)
	t.Run("truth", s.testTruth)
	t.Run("drilldown", s.testDrilldown)
}

func (s *scene) testPanels(t *testing.T) {
	for _, p := range pages(t) {
		p.each(func(one panel) {
			if Kind(one.Type) == Table {
				s.testColumns(t, one)
			}
			for _, q := range one.Targets {
				got := s.testQuery(t, p.File+", "+one.Title+", "+q.RefID, q.Expr, q.Range)
				for _, name := range braces.FindAllStringSubmatch(q.LegendFormat, -1) {
					if slices.ContainsFunc(got, func(l series) bool { return l.Metric[name[1]] == "" }) {
						t.Errorf("%s, %s: the legend names %s, which %v has not", p.File, one.Title, name[1], got[0].Metric)
					}
				}
			}
		})
		for _, a := range p.Annotations.List {
			s.testQuery(t, p.File+", annotation "+a.Name, a.Expr, true)
		}
	}
}

// testColumns demands that each column of a table is filled somewhere.
func (s *scene) testColumns(t *testing.T, one panel) {
	t.Helper()
	table := shows{panel: one}
	for _, q := range one.Targets {
		got, err := s.instant(t, s.fill(q.Expr, s.everything()))
		if err != nil {
			t.Fatalf("%s: %v", one.Title, err)
		}
		table.answers = append(table.answers, got)
	}
	titles, rows := table.rows()
	for i, title := range titles {
		if !slices.ContainsFunc(rows, func(r []cell) bool { return r[i].text != "" }) {
			t.Errorf("%s: nothing in the column %s", one.Title, title)
		}
	}
}

// testQuery runs a query both ways. An answer is due where it is shown, and
// returned.
func (s *scene) testQuery(t *testing.T, name, expr string, isRange bool) (shown []series) {
	t.Helper()
	expr = s.fill(expr, s.everything())
	now, err := s.instant(t, expr)
	if err != nil {
		t.Errorf("%s: %s: %v", name, expr, err)
		return nil
	}
	then, err := s.over(t, expr)
	if err != nil {
		t.Errorf("%s: %s over the time: %v", name, expr, err)
		return nil
	}
	shown = now
	if isRange {
		shown = then
	}
	empty := !slices.ContainsFunc(shown, series.has)
	switch why, may := mayBeEmpty[name]; {
	case empty && !may:
		t.Errorf("%s: %s has no answer", name, expr)
	case !empty && may:
		t.Errorf("%s has an answer; it may have none because %s", name, why)
	}
	return shown
}

func (s *scene) testVariables(t *testing.T) {
	for _, p := range pages(t) {
		for _, v := range p.Templating.List {
			if v.Type != "query" {
				continue
			}
			values, err := s.labels(t, s.fill(v.text(t), s.everything()))
			if err != nil {
				t.Errorf("%s, variable %s: %v", p.File, v.Name, err)
			}
			want := map[string]string{"instance": s.ingest, "account": "444455556666", "region": "sa-east-1"}[v.Name]
			if want == "" || !slices.Contains(values, want) {
				t.Errorf("%s, variable %s: %q is not among %q", p.File, v.Name, want, values)
			}
		}
	}
}

// testRules runs each rule's expression. What is recorded must have a value,
// and an alert something to look at.
func (s *scene) testRules(t *testing.T) {
	for _, file := range ruleFiles(t) {
		for _, g := range ruleGroups(t, file) {
			for _, r := range g.Rules {
				if r.Record != "" {
					s.testQuery(t, "rule "+r.Record, r.Expr, false)
					continue
				}
				if _, err := s.instant(t, r.Expr); err != nil {
					t.Errorf("alert %s: %v", r.Alert, err)
				}
			}
		}
	}
}

var metricName = regexp.MustCompile(`\b(?:[a-z]+:)?(?:trailseal|process|go)_[a-z0-9_]+(?::[a-z0-9_]+)?`)

// testMetrics holds each name that is asked for against what is there.
func (s *scene) testMetrics(t *testing.T) {
	there := s.exported(t)
	check := func(where, expr string) {
		for _, name := range metricName.FindAllString(expr, -1) {
			if !there[name] {
				t.Errorf("%s: there is no %s", where, name)
			}
		}
	}
	for _, file := range ruleFiles(t) {
		for _, g := range ruleGroups(t, file) {
			for _, r := range g.Rules {
				if r.Record != "" {
					there[r.Record] = true
				}
			}
		}
	}
	for _, file := range ruleFiles(t) {
		for _, g := range ruleGroups(t, file) {
			for _, r := range g.Rules {
				check(r.Record+r.Alert, r.Expr)
			}
		}
	}
	for _, p := range pages(t) {
		p.each(func(one panel) {
			for _, q := range one.Targets {
				check(p.File+", "+one.Title, q.Expr)
			}
		})
	}
}

// exported returns the names of the series that the worker shows.
func (s *scene) exported(t *testing.T) map[string]bool {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.ingest+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Body.Close()
	names := map[string]bool{}
	lines := bufio.NewScanner(p.Body)
	for lines.Scan() {
		if name := regexp.MustCompile(`^[a-z0-9_:]+`).FindString(lines.Text()); name != "" {
			names[name] = true
		}
	}
	if err := lines.Err(); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	if len(names) < 50 {
		t.Fatalf("%d metrics", len(names))
	}
	return names
}

// testTruth holds what panels show against what happened.
func (s *scene) testTruth(t *testing.T) {
	found := s.found(t)
	tampered := 0
	for class, n := range found {
		if class != "gap" && class != "coverage" {
			tampered += n
		}
	}
	for _, class := range []string{"log-modified", "digest-moved", "gap", "coverage"} {
		if found[class] == 0 {
			t.Errorf("the scene has no %s: %v", class, found)
		}
	}
	for title, want := range map[string]float64{
		"Tampering": float64(tampered), "Gap findings": float64(found["gap"]), "Uncovered hours": float64(found["coverage"]),
		"Foreign objects": 0, "Unaccounted": 0, "Chains late": 4, "Ready": 1,
	} {
		p := s.panel(t, title)
		got, err := s.instant(t, s.fill(p.Targets[0].Expr, s.everything()))
		if err != nil || len(got) != 1 || got[0].Value.Value != want {
			t.Errorf("%s shows %+v, %v, want %v; found %v", title, got, err, want, found)
		}
	}
	chains, err := s.instant(t, s.fill(s.panel(t, "Verified until").Targets[0].Expr, s.everything()))
	if err != nil || len(chains) != 4+len(s.feed.chains) {
		t.Errorf("%d chains, %v, want 4 and %d", len(chains), err, len(s.feed.chains))
	}
	for _, c := range chains {
		for _, fed := range s.feed.chains {
			if at := fed.Place(); at.Account == c.Metric["account"] && at.Region == c.Metric["region"] && c.Value.Value != float64(fed.Now().UnixMilli()) {
				t.Errorf("%s %s is verified until %v, want %v", at.Account, at.Region, time.UnixMilli(int64(c.Value.Value)).UTC(), fed.Now())
			}
		}
	}
}

// found counts the findings in the worker's file, by class.
func (s *scene) found(t *testing.T) map[string]int {
	t.Helper()
	b, err := os.ReadFile(s.findings)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for line := range strings.Lines(string(b)) {
		_, rest, _ := strings.Cut(line, `"class":"`)
		class, _, _ := strings.Cut(rest, `"`)
		found[class]++
	}
	return found
}

func (s *scene) panel(t *testing.T, title string) (found panel) {
	t.Helper()
	for _, p := range pages(t) {
		p.each(func(one panel) {
			if one.Title == title {
				found = one
			}
		})
	}
	if found.ID == 0 {
		t.Fatalf("there is no panel %q", title)
	}
	return found
}

// testDrilldown chooses an account and a region: what is known by chain is
// theirs alone.
func (s *scene) testDrilldown(t *testing.T) {
	c := s.everything()
	c.account, c.region = "(444455556666)", "(eu-west-1)"
	for _, title := range []string{"Verified until", "Behind, the worst 20 chains"} {
		got, err := s.instant(t, s.fill(s.panel(t, title).Targets[0].Expr, c))
		if err != nil || len(got) != 1 || got[0].Metric["account"] != "444455556666" || got[0].Metric["region"] != "eu-west-1" {
			t.Errorf("%s: %v, %v", title, got, err)
		}
	}
	c.instance = "(nobody:9090)"
	for _, p := range pages(t) {
		p.each(func(one panel) {
			for _, q := range one.Targets {
				if got, err := s.instant(t, s.fill(q.Expr, c)); err != nil || len(got) > 0 {
					t.Errorf("%s, %s: %v of no worker, %v", p.File, one.Title, fmt.Sprint(got), err)
				}
			}
		})
	}
}
