package dashboards

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// page is a dashboard as its file has it: what is tested is what users mount.
type page struct {
	File          string `json:"-"`
	UID           string
	Title         string
	SchemaVersion int
	Panels        []panel
	Links         []link
	Templating    struct{ List []variable }
	Annotations   struct{ List []annotation }
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               datasource
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []target
	Links                    []link
	FieldConfig              struct {
		Defaults  fields
		Overrides []struct {
			Matcher    struct{ ID, Options string }
			Properties []struct {
				ID    string
				Value json.RawMessage
			}
		}
	}
	Options struct {
		TextMode string
		SortBy   []struct {
			DisplayName string
			Desc        bool
		}
	}
	Transformations []struct {
		ID      string
		Options struct {
			ExcludeByName map[string]bool
			IndexByName   map[string]int
			RenameByName  map[string]string
		}
	}
}

type fields struct {
	Unit       string
	Thresholds steps
	Mappings   []struct {
		Options map[string]struct{ Text string }
	}
	Custom struct {
		DrawStyle string
		Stacking  struct{ Mode string }
	}
}

type steps struct {
	Steps []struct {
		Color string
		Value *float64
	}
}

// color returns the color of a value.
func (s steps) color(v float64) string {
	name := ""
	for _, one := range s.Steps {
		if one.Value == nil || v >= *one.Value {
			name = one.Color
		}
	}
	return name
}

type target struct {
	RefID, Expr, LegendFormat, Format string
	Range, Instant                    bool
	Datasource                        datasource
}

type datasource struct{ Type, UID string }

type link struct{ Title, URL, Type string }

type variable struct {
	Type, Name, AllValue string
	Query                json.RawMessage
	Datasource           datasource
}

// text returns the variable's query.
func (v variable) text(t *testing.T) string {
	t.Helper()
	var q struct{ Query string }
	if err := json.Unmarshal(v.Query, &q); err != nil {
		t.Fatalf("variable %s: %v", v.Name, err)
	}
	return q.Query
}

type annotation struct {
	Name, Expr string
	Datasource datasource
}

// pages reads every dashboard that Grafana would be given.
func pages(t *testing.T) (all []page) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(names) < 2 {
		t.Fatalf("%d dashboards, %v", len(names), err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(bytes.NewReader(b))
		p := page{File: filepath.Base(name)}
		if err := d.Decode(&p); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, p)
	}
	return all
}

// each calls visit for every panel that shows something.
func (p page) each(visit func(panel)) {
	for _, one := range p.Panels {
		if one.Type != "row" {
			visit(one)
		}
	}
}
