// Package dashboards makes the Grafana dashboards of deploy/grafana from short
// descriptions, and its tests run every query of them, and of the rules of
// deploy/prometheus, in a real Prometheus beside the running worker. It owns
// what is shown and how; it never makes up a value.
package dashboards

import (
	"encoding/json"
	"strings"
)

// Pages are where the links of panels lead, and Operations is the page that
// says what to do.
const (
	Pages      = "https://github.com/trailseal/trailseal/blob/main/"
	Operations = "docs/operations.md"
)

// Dashboard is one page of panels in rows.
type Dashboard struct {
	UID, Title, Help string
	Rows             []Row
}

// Row is a heading and the panels below it, which flow from left to right.
type Row struct {
	Title  string
	Panels []Panel
}

// Kind is a type of Grafana's panels.
type Kind string

// The kinds in use.
const (
	Stat     Kind = "stat"
	Series   Kind = "timeseries"
	Table    Kind = "table"
	Timeline Kind = "state-timeline"
)

// Panel is what one panel shows. Width is in Grafana's 24ths, Height in its
// units of 30 pixels.
type Panel struct {
	Kind          Kind
	Title, Help   string
	Width, Height int
	Unit          string // of Grafana's, such as s, bytes, percentunit
	Queries       []Query
	Steps         []Step // colors by value; the first one has no lower bound
	Section       string // of Operations, that says more
	Stacked, Bars bool
	Name          bool              // a stat shows the series' name, not its value
	Words         map[string]string // shown instead of a stat's value
	Columns       []Column          // of a table, in their order
	SortBy        string            // the title of the column whose largest value comes first
}

// Query is one of a panel's. Its legend names labels in double braces. In a
// table the query's value stands in a column of its own.
type Query struct{ Expr, Legend string }

// Step is the color of values from From on.
type Step struct {
	Color string
	From  float64
}

// Column is a table's: of a label, or of the value of the query of that
// letter.
type Column struct {
	Field       string // a label, or "Value #A"
	Title, Unit string
	Width       int
	Steps       []Step
	Link        string // from a cell's value to a dashboard
}

type object = map[string]any

// JSON returns the dashboard as Grafana provisions it.
func (d Dashboard) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(object{
		"uid": d.UID, "title": d.Title, "description": d.Help, "tags": []string{"trailseal"},
		"schemaVersion": 39, "version": 1, "editable": false, "graphTooltip": 1, "refresh": "30s",
		"time": object{"from": "now-6h", "to": "now"}, "timezone": "utc",
		"templating":  object{"list": variables()},
		"annotations": object{"list": []any{alerts()}},
		"panels":      d.panels(),
		"links": []any{
			object{"type": "dashboards", "title": "trailseal", "tags": []string{"trailseal"}, "asDropdown": false, "keepTime": true, "includeVars": true},
			object{"type": "link", "title": "What each alert wants", "url": Pages + Operations, "icon": "doc", "targetBlank": true},
		},
	}, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

var source = object{"type": "prometheus", "uid": "${datasource}"}

// variables choose the Prometheus, the workers and, for what is known by chain,
// accounts and regions.
func variables() []any {
	choice := func(name, label, query, all string) object {
		v := object{
			"type": "query", "name": name, "label": label, "datasource": source, "refresh": 2, "sort": 1,
			"query":   object{"query": query, "refId": "variable-" + name},
			"current": object{"text": []string{"All"}, "value": []string{"$__all"}}, "multi": true, "includeAll": true,
		}
		if all != "" {
			v["allValue"] = all
		}
		return v
	}
	return []any{
		object{"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus", "refresh": 1, "current": object{}},
		choice("instance", "Worker", `label_values(trailseal_build_info, instance)`, ""),
		choice("account", "Account", `label_values(trailseal_chain_verified_until_timestamp_seconds{instance=~"$instance"}, account)`, ".*"),
		choice("region", "Region", `label_values(trailseal_chain_verified_until_timestamp_seconds{instance=~"$instance", account=~"$account"}, region)`, ".*"),
	}
}

// alerts marks the times at which alerts fired.
func alerts() object {
	return object{
		"name": "Alerts", "enable": true, "iconColor": "red", "datasource": source, "titleFormat": "{{alertname}}", "textFormat": "{{severity}}",
		"expr": `ALERTS{alertname=~"Trailseal.*", alertstate="firing"}`, "step": "60s",
	}
}

const columns = 24

func (d Dashboard) panels() (all []any) {
	id, y := 0, 0
	next := func() int { id++; return id }
	for _, r := range d.Rows {
		all = append(all, object{"id": next(), "type": "row", "title": r.Title, "collapsed": false, "panels": []any{}, "gridPos": place(0, y, columns, 1)})
		y++
		x, tallest := 0, 0
		for _, p := range r.Panels {
			if x+p.Width > columns {
				x, y, tallest = 0, y+tallest, 0
			}
			all = append(all, p.json(next(), place(x, y, p.Width, p.Height)))
			x, tallest = x+p.Width, max(tallest, p.Height)
		}
		y += tallest
	}
	return all
}

func place(x, y, w, h int) object { return object{"x": x, "y": y, "w": w, "h": h} }

func (p Panel) json(id int, at object) object {
	o := object{
		"id": id, "type": p.Kind, "title": p.Title, "description": p.Help, "datasource": source, "gridPos": at,
		"targets":     p.targets(),
		"fieldConfig": object{"defaults": p.defaults(), "overrides": p.overrides()},
		"options":     p.options(),
	}
	if p.Section != "" {
		o["links"] = []any{object{"title": "What to do", "url": Pages + Operations + "#" + p.Section, "targetBlank": true}}
	}
	if p.Kind == Table {
		o["transformations"] = p.transformations()
	}
	return o
}

func (p Panel) targets() (all []any) {
	for i, q := range p.Queries {
		t := object{
			"refId": letter(i), "datasource": source, "editorMode": "code", "expr": q.Expr, "legendFormat": q.Legend,
			"range": true, "instant": false, "format": "time_series",
		}
		if p.Kind == Table || p.Kind == Stat {
			t["range"], t["instant"] = false, true
		}
		if p.Kind == Table {
			t["format"] = "table"
		}
		all = append(all, t)
	}
	return all
}

func letter(i int) string { return string(rune('A' + i)) }

func (p Panel) defaults() object {
	d := object{"unit": p.Unit, "thresholds": thresholds(p.Steps), "color": object{"mode": "thresholds"}, "noValue": "no data"}
	if p.Kind == Series {
		d["color"], d["min"] = object{"mode": "palette-classic"}, 0
		d["custom"] = p.drawing()
		delete(d, "noValue")
	}
	if len(p.Words) > 0 {
		words := object{}
		for value, word := range p.Words {
			words[value] = object{"text": word}
		}
		d["mappings"] = []any{object{"type": "value", "options": words}}
	}
	if p.Kind == Timeline {
		d["custom"] = object{"fillOpacity": 80, "lineWidth": 0}
	}
	return d
}

func (p Panel) drawing() object {
	c := object{
		"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": false,
		"stacking": object{"mode": "none", "group": "A"}, "thresholdsStyle": object{"mode": "off"},
	}
	if p.Bars {
		c["drawStyle"], c["fillOpacity"] = "bars", 80
	}
	if p.Stacked {
		c["stacking"], c["fillOpacity"] = object{"mode": "normal", "group": "A"}, 60
	}
	if len(p.Steps) > 0 {
		c["thresholdsStyle"] = object{"mode": "dashed"}
	}
	return c
}

func thresholds(steps []Step) object {
	if len(steps) == 0 {
		steps = []Step{{Color: "blue"}}
	}
	var list []any
	for i, s := range steps {
		step := object{"color": s.Color, "value": s.From}
		if i == 0 {
			step["value"] = nil
		}
		list = append(list, step)
	}
	return object{"mode": "absolute", "steps": list}
}

func (p Panel) overrides() []any {
	all := []any{}
	for _, c := range p.Columns {
		properties := []any{}
		set := func(id string, value any) { properties = append(properties, object{"id": id, "value": value}) }
		if c.Unit != "" {
			set("unit", c.Unit)
		}
		if c.Width > 0 {
			set("custom.width", c.Width)
		}
		if len(c.Steps) > 0 {
			set("thresholds", thresholds(c.Steps))
			set("custom.cellOptions", object{"type": "color-background", "mode": "basic"})
		}
		if c.Link != "" {
			set("links", []any{object{"title": "Only " + strings.ToLower(c.Title) + " ${__value.text}", "url": c.Link}})
		}
		all = append(all, object{"matcher": object{"id": "byName", "options": c.Title}, "properties": properties})
	}
	return all
}

// transformations join a table's queries by their labels, and order and name
// the columns.
func (p Panel) transformations() []any {
	hidden, order, names := object{"Time": true}, object{}, object{}
	for i, c := range p.Columns {
		order[c.Field], names[c.Field] = i, c.Title
	}
	return []any{
		object{"id": "merge", "options": object{}},
		object{"id": "organize", "options": object{"excludeByName": hidden, "indexByName": order, "renameByName": names}},
	}
}

func (p Panel) options() object {
	switch p.Kind {
	case Stat:
		text := "auto"
		if p.Name {
			text = "name"
		}
		return object{
			"colorMode": "background", "graphMode": "none", "textMode": text, "justifyMode": "center", "orientation": "auto",
			"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
		}
	case Table:
		return object{
			"showHeader": true, "cellHeight": "sm", "footer": object{"show": false},
			"sortBy": []any{object{"displayName": p.SortBy, "desc": true}},
		}
	case Timeline:
		return object{
			"mergeValues": true, "showValue": "never", "rowHeight": 0.9, "alignValue": "left",
			"legend": object{"displayMode": "list", "placement": "bottom", "showLegend": false}, "tooltip": object{"mode": "single"},
		}
	default:
		return object{
			"legend":  object{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []string{}},
			"tooltip": object{"mode": "multi", "sort": "desc"},
		}
	}
}

// FileName is that of the dashboard's file.
func (d Dashboard) FileName() string { return strings.TrimPrefix(d.UID, "trailseal-") + ".json" }

// quantiles returns the queries of the usual quantiles of a histogram, by
// another label where that is named.
func quantiles(histogram, by, legend string) (list []Query) {
	group := "le"
	if by != "" {
		group += ", " + by
	}
	for _, q := range []Query{{"0.5", "p50"}, {"0.95", "p95"}, {"0.99", "p99"}} {
		expr := `histogram_quantile(` + q.Expr + `, sum by (` + group + `) (rate(` + histogram + `_bucket{instance=~"$instance"}[$__rate_interval])))`
		list = append(list, Query{expr, strings.TrimSpace(legend + " " + q.Legend)})
	}
	return list
}
