package dashboards

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// units are those of Grafana that the panels may have.
var units = []string{"none", "s", "bytes", "Bps", "ops", "eps", "mps", "reqps", "percentunit", "dateTimeAsIso"}

func TestStructure(t *testing.T) {
	sections := anchors(t)
	uids := map[string]bool{}
	for _, p := range pages(t) {
		t.Run(p.File, func(t *testing.T) {
			if p.UID == "" || uids[p.UID] || p.Title == "" || p.SchemaVersion < 39 {
				t.Errorf("uid %q, title %q, schema %d", p.UID, p.Title, p.SchemaVersion)
			}
			uids[p.UID] = true
			p.checkPlaces(t)
			p.checkVariables(t)
			p.each(func(one panel) {
				one.check(t)
				for _, l := range one.Links {
					checkLink(t, one.Title, l.URL, sections)
				}
			})
			for _, l := range p.Links {
				if l.Type == "link" {
					checkLink(t, p.Title, l.URL, sections)
				}
			}
		})
	}
}

// checkPlaces demands that each panel has its own id and place.
func (p page) checkPlaces(t *testing.T) {
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	for _, one := range p.Panels {
		if one.ID == 0 || ids[one.ID] {
			t.Errorf("%s: id %d is another's, too", one.Title, one.ID)
		}
		ids[one.ID] = true
		at := one.GridPos
		if at.W < 1 || at.H < 1 || at.X < 0 || at.X+at.W > columns {
			t.Errorf("%s: at %+v", one.Title, at)
		}
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("%s lies over %s", one.Title, other)
				}
				taken[[2]int{x, y}] = one.Title + fmt.Sprint(one.ID)
			}
		}
	}
}

func (p page) checkVariables(t *testing.T) {
	var names []string
	for _, v := range p.Templating.List {
		names = append(names, v.Name)
		if v.Type == "query" && v.Datasource.UID != "${datasource}" {
			t.Errorf("variable %s asks %q", v.Name, v.Datasource.UID)
		}
	}
	if !slices.Equal(names, []string{"datasource", "instance", "account", "region"}) {
		t.Errorf("variables %q", names)
	}
	for _, a := range p.Annotations.List {
		if a.Datasource.UID != "${datasource}" {
			t.Errorf("annotation %s asks %q", a.Name, a.Datasource.UID)
		}
	}
}

func (one panel) check(t *testing.T) {
	switch {
	case one.Title == "":
		t.Errorf("panel %d has no title", one.ID)
	case len(one.Description) < 20 || !strings.HasSuffix(one.Description, "."):
		t.Errorf("%s: described as %q", one.Title, one.Description)
	case !slices.Contains(units, one.FieldConfig.Defaults.Unit):
		t.Errorf("%s: unit %q", one.Title, one.FieldConfig.Defaults.Unit)
	case one.Datasource.UID != "${datasource}":
		t.Errorf("%s asks %q", one.Title, one.Datasource.UID)
	case len(one.Targets) == 0:
		t.Errorf("%s asks nothing", one.Title)
	case len(one.FieldConfig.Defaults.Thresholds.Steps) == 0 || one.FieldConfig.Defaults.Thresholds.Steps[0].Value != nil:
		t.Errorf("%s: thresholds %+v", one.Title, one.FieldConfig.Defaults.Thresholds)
	case len(one.Links) == 0:
		t.Errorf("%s does not say where to read on", one.Title)
	}
	letters := map[string]bool{}
	for _, q := range one.Targets {
		if q.RefID == "" || letters[q.RefID] || q.Expr == "" || q.Datasource.UID != "${datasource}" || q.Range == q.Instant {
			t.Errorf("%s: query %+v", one.Title, q)
		}
		letters[q.RefID] = true
		if !strings.Contains(q.Expr, `instance=~"$instance`) {
			t.Errorf("%s: %s is not of the chosen workers", one.Title, q.Expr)
		}
	}
	for _, o := range one.FieldConfig.Overrides {
		for _, property := range o.Properties {
			if property.ID == "unit" && !slices.Contains(units, strings.Trim(string(property.Value), `"`)) {
				t.Errorf("%s, %s: unit %s", one.Title, o.Matcher.Options, property.Value)
			}
		}
	}
}

// checkLink demands that a link to this repository leads to a page and, where it
// names one, to a section.
func checkLink(t *testing.T, title, url string, sections map[string]bool) {
	t.Helper()
	rest, ok := strings.CutPrefix(url, Pages+Operations)
	if !ok {
		t.Errorf("%s: link %s", title, url)
		return
	}
	if section, _ := strings.CutPrefix(rest, "#"); rest != "" && !sections[section] {
		t.Errorf("%s: %s has no section %q", title, Operations, section)
	}
}

// anchors returns the names that GitHub gives the headings of the page.
func anchors(t *testing.T) map[string]bool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(top, Operations))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		if heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			name := regexp.MustCompile("[^a-z0-9 _-]").ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
			names[strings.ReplaceAll(name, " ", "-")] = true
		}
	}
	return names
}

// What Grafana is given beside the dashboards fits them.
func TestProvisioning(t *testing.T) {
	var sources struct {
		Datasources []struct{ Name, UID, Type, URL string }
	}
	readYAML(t, "provisioning/datasources/prometheus.yaml", &sources)
	if d := sources.Datasources; len(d) != 1 || d[0].Type != "prometheus" || d[0].UID == "" || d[0].URL != "http://prometheus:9090" {
		t.Errorf("%+v", sources)
	}
	var folders struct {
		Providers []struct {
			Name, Type string
			Options    struct{ Path string }
		}
	}
	readYAML(t, "provisioning/dashboards/trailseal.yaml", &folders)
	if p := folders.Providers; len(p) != 1 || p[0].Type != "file" || !filepath.IsAbs(p[0].Options.Path) {
		t.Errorf("%+v", folders)
	}
}

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(grafana, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
