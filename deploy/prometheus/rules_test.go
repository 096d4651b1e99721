package prometheus

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/trailseal/trailseal/pkg/finding"
)

const (
	operations = "../../docs/operations.md"
	runbook    = "https://github.com/trailseal/trailseal/blob/main/docs/operations.md#"
)

// Whoever is called by an alert reads what it means, how to look and what to
// do.
func TestEveryAlertIsExplained(t *testing.T) {
	sections := map[string]string{}
	for _, s := range strings.Split(page(t), "\n### ")[1:] {
		title, text, _ := strings.Cut(s, "\n")
		text, _, _ = strings.Cut(text, "\n## ")
		sections[title] = text
	}
	for _, r := range rules(t, "alerts.yml") {
		if severity := r.Labels["severity"]; severity != "page" && severity != "ticket" {
			t.Errorf("%s: severity %q", r.Alert, severity)
		}
		for _, name := range []string{"summary", "description"} {
			if len(r.Annotations[name]) < 20 {
				t.Errorf("%s: %s %q", r.Alert, name, r.Annotations[name])
			}
		}
		if url := r.Annotations["runbook_url"]; url != runbook+strings.ToLower(r.Alert) {
			t.Errorf("%s: runbook_url %s", r.Alert, url)
		}
		text, there := sections[r.Alert]
		if !there {
			t.Errorf("%s: no section in docs/operations.md", r.Alert)
			continue
		}
		for _, part := range []string{"\n**Means.** ", "\n**Look.** ", "\n**Do.** "} {
			if strings.Count(text, part) != 1 {
				t.Errorf("%s: its section has not one %q", r.Alert, part)
			}
		}
		delete(sections, r.Alert)
	}
	for title := range sections {
		if strings.HasPrefix(title, "Trailseal") {
			t.Errorf("docs/operations.md explains %s, which is no alert", title)
		}
	}
}

var labelOf = regexp.MustCompile(`\$labels\.(\w+)`)

// Each alert fires in one promtool test and does not in another, with the
// labels that its annotations name.
func TestEveryAlertIsTested(t *testing.T) {
	all := tested(t)
	for _, r := range rules(t, "alerts.yml") {
		f := all[r.Alert]
		if f == nil || !f.quiet || len(f.series) == 0 {
			t.Errorf("%s: no promtool test in which it fires, or none in which it does not", r.Alert)
			continue
		}
		for _, labels := range f.series {
			if labels["severity"] != r.Labels["severity"] {
				t.Errorf("%s: tested with severity %q", r.Alert, labels["severity"])
			}
			for _, m := range labelOf.FindAllStringSubmatch(r.Annotations["summary"]+r.Annotations["description"], -1) {
				if labels[m[1]] == "" {
					t.Errorf("%s: names the label %s, which %v does not have", r.Alert, m[1], labels)
				}
			}
		}
		delete(all, r.Alert)
	}
	for name := range all {
		t.Errorf("%s is tested and does not exist", name)
	}
}

// Every class of findings raises one alert.
func TestEveryClassRaisesAnAlert(t *testing.T) {
	raised := map[finding.Class][]string{}
	for _, r := range rules(t, "alerts.yml") {
		for _, s := range selectors(t, r.Expr) {
			if s.name != "class:trailseal_finding_age_seconds" {
				continue
			}
			for _, class := range finding.Classes() {
				if s.matches(map[string]string{"class": string(class)}) {
					raised[class] = append(raised[class], r.Alert)
				}
			}
		}
	}
	for _, class := range finding.Classes() {
		if len(raised[class]) != 1 {
			t.Errorf("%s raises %v", class, raised[class])
		}
	}
	if got := raised[finding.LogModified]; !slices.Equal(got, []string{"TrailsealTamperingFound"}) {
		t.Errorf("a modified log raises %v", got)
	}
}

func (s selector) matches(labels map[string]string) bool {
	for _, m := range s.matchers {
		is := labels[m.label] == m.value
		if strings.HasSuffix(m.op, "~") {
			is = regexp.MustCompile("^(?:" + m.value + ")$").MatchString(labels[m.label])
		}
		if is == strings.HasPrefix(m.op, "!") {
			return false
		}
	}
	return true
}

// What rules ask for is there: every metric is exported by the program, has the
// labels that are asked of it, and where these are there from the start, their
// values.
func TestRulesAskForWhatThereIs(t *testing.T) {
	there := scrape(t)
	there["up"] = []map[string]string{{"job": "trailseal"}} // Prometheus's own
	all := append(rules(t, "recording.yml"), rules(t, "alerts.yml")...)
	recorded := map[string]bool{}
	for _, r := range all {
		if r.Record != "" {
			recorded[r.Record] = true
		}
	}
	n := 0
	for _, r := range all {
		for _, s := range selectors(t, r.Expr) {
			if n++; recorded[s.name] {
				continue
			}
			if len(there[s.name]) == 0 {
				t.Errorf("%s%s asks for %s, which the program does not export", r.Alert, r.Record, s.name)
			}
			for _, m := range s.matchers {
				known := there.values(s.name, m.label)
				if len(known) == 0 {
					t.Errorf("%s%s: %s has no label %s", r.Alert, r.Record, s.name, m.label)
				}
				for _, v := range strings.Split(m.value, "|") {
					if m.label != "code" && !slices.Contains(known, v) { // the codes of answers come with them
						t.Errorf("%s%s: %s has no %s=%q, but %q", r.Alert, r.Record, s.name, m.label, v, known)
					}
				}
			}
		}
	}
	if n < 40 {
		t.Errorf("only %d selectors found", n)
	}
	for _, name := range regexp.MustCompile(`\b(?:[a-z]+:)?(?:trailseal|process|go)_[a-z0-9_]+(?::\w+)?`).FindAllString(page(t), -1) {
		if len(there[name]) == 0 && !recorded[name] {
			t.Errorf("docs/operations.md names %s, which the program does not export", name)
		}
	}
}

func page(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(operations)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The page gives no flag that neither program has. What it says of other
// programs' is in one line or one code span with their name.
func TestFlagsOnThePageExist(t *testing.T) {
	known := ""
	for _, name := range []string{"ingest", "verifier"} {
		b, err := os.ReadFile("../../cmd/" + name + "/usage.go")
		if err != nil {
			t.Fatal(err)
		}
		known += string(b)
	}
	text := regexp.MustCompile("(?m)^(?:aws|jq|curl) .*$|`aws [^`]*`").ReplaceAllString(page(t), "")
	flags := regexp.MustCompile(`--[a-z][a-z-]+`).FindAllString(text, -1)
	if len(flags) < 40 {
		t.Fatalf("only %d flags found", len(flags))
	}
	for _, f := range flags {
		if !regexp.MustCompile(regexp.QuoteMeta(f) + `\b[^-]`).MatchString(known) {
			t.Errorf("docs/operations.md names %s, which no usage does", f)
		}
	}
}

// The examples fit the rules and each other.
func TestExamples(t *testing.T) {
	var prometheus struct {
		Rules  []string `yaml:"rule_files"`
		Scrape []struct {
			Job string `yaml:"job_name"`
		} `yaml:"scrape_configs"`
	}
	decode(t, "prometheus.yml", &prometheus)
	if !slices.Equal(prometheus.Rules, []string{"recording.yml", "alerts.yml"}) {
		t.Errorf("rules %q", prometheus.Rules)
	}
	jobs := map[string]bool{}
	for _, s := range prometheus.Scrape {
		jobs[s.Job] = true
	}
	for _, r := range rules(t, "alerts.yml") {
		for _, s := range selectors(t, r.Expr) {
			if job := s.equal()["job"]; job != "" && !jobs[job] {
				t.Errorf("%s: the job %s is not scraped, but %v", r.Alert, job, slices.Sorted(maps.Keys(jobs)))
			}
		}
	}
}

// No alert holds back what is wrong with the evidence, and those that are held
// back exist.
func TestNothingHoldsFindingsBack(t *testing.T) {
	var config struct {
		Rules []struct {
			Source []string `yaml:"source_matchers"`
			Target []string `yaml:"target_matchers"`
			Equal  []string
		} `yaml:"inhibit_rules"`
	}
	decode(t, "alertmanager.yml", &config)
	names := func(matchers []string) (found []string) {
		var s selector
		for _, m := range pair.FindAllStringSubmatch(strings.Join(matchers, ","), -1) {
			s.matchers = append(s.matchers, matcher{m[1], m[2], m[3]})
		}
		for _, r := range rules(t, "alerts.yml") {
			if s.matches(map[string]string{"alertname": r.Alert, "severity": r.Labels["severity"]}) {
				found = append(found, r.Alert)
			}
		}
		return found
	}
	may := []string{
		"TrailsealChainLate", "TrailsealChainWaits", "TrailsealAccessDenied", "TrailsealEvidenceUnreadable",
		"TrailsealSourceUnreadable", "TrailsealQueueUnreachable",
	}
	var held []string
	for _, r := range config.Rules {
		if len(names(r.Source)) == 0 || !slices.Equal(r.Equal, []string{"job", "instance"}) {
			t.Errorf("%v holds back %v where %v are equal", r.Source, r.Target, r.Equal)
		}
		held = append(held, names(r.Target)...)
	}
	slices.Sort(held)
	slices.Sort(may)
	if !slices.Equal(held, may) {
		t.Errorf("held back: %q, want %q", held, may)
	}
}

// tool returns a program of Prometheus's. In CI it must be there.
func tool(t *testing.T, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path
	case os.Getenv("CI") == "true":
		t.Fatalf("%s is not on the PATH (Debian: %s)", name, debian)
	}
	t.Skipf("%s is not on the PATH (Debian: %s): what it would check is not checked", name, debian)
	return ""
}

func TestPromtool(t *testing.T) {
	promtool := tool(t, "promtool", "prometheus")
	for _, args := range [][]string{
		{"check", "rules", "recording.yml", "alerts.yml"},
		{"check", "config", "prometheus.yml"},
		{"test", "rules", "alerts_test.yml"},
		{"test", "rules", "findings_test.yml"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			if out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestAlertmanager(t *testing.T) {
	amtool := tool(t, "amtool", "prometheus-alertmanager")
	run := func(args ...string) string {
		var stdout, stderr bytes.Buffer
		cmd := exec.CommandContext(t.Context(), amtool, args...)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			t.Errorf("%v\n%s%s", err, stdout.String(), stderr.String())
		}
		return strings.TrimSpace(stdout.String())
	}
	run("check-config", "alertmanager.yml")
	for _, severity := range []string{"page", "ticket"} {
		if to := run("config", "routes", "test", "--config.file=alertmanager.yml", "severity="+severity); to != severity {
			t.Errorf("%s goes to %q", severity, to)
		}
	}
}
