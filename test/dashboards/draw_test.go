package dashboards

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A drawing's measures, in pixels.
const (
	unitWidth  = 58 // of Grafana's 24ths
	unitHeight = 34
	margin     = 4
	heading    = 26 // of a panel
	legendRow  = 16
)

// colors are those of series in their order; a name for which there is a habit
// has its own.
var colors = []string{"#3274d9", "#e0752d", "#8f3bb8", "#1f9ea8", "#d9b400", "#c4162a", "#56a64b", "#7a7f87", "#ff85b2", "#6d4c41", "#9ccc65", "#00838f"}

var habits = map[string]string{
	"valid": "#56a64b", "invalid": "#c4162a", "current": "#56a64b", "behind": "#3274d9", "waiting": "#d9b400", "unsigned": "#1f9ea8", "late": "#c4162a",
	"denied": "#c4162a", "access-denied": "#d9b400", "slowest": "#c4162a", "median": "#3274d9", "limit": "#7a7f87", "budget": "#7a7f87",
	"emitted": "#56a64b", "quarantined": "#c4162a", "returned": "#d9b400",
}

var named = map[string]string{"green": "#56a64b", "yellow": "#e0b400", "red": "#d0312d", "blue": "#3274d9"}

// shows are a panel and what its queries were answered.
type shows struct {
	panel
	answers [][]series
}

// answered asks for everything that a dashboard shows.
func (s *scene) answered(t *testing.T, p page) (all []shows) {
	t.Helper()
	for _, one := range p.Panels {
		with := shows{panel: one}
		for _, q := range one.Targets {
			ask := s.instant
			if q.Range {
				ask = s.over
			}
			got, err := ask(t, s.fill(q.Expr, s.everything()))
			if err != nil {
				t.Fatalf("%s: %v", one.Title, err)
			}
			with.answers = append(with.answers, got)
		}
		all = append(all, with)
	}
	return all
}

// draw returns a dashboard as one SVG picture, about as Grafana would show it.
func (s *scene) draw(t *testing.T, p page) (svg string, width, height int) {
	t.Helper()
	var b strings.Builder
	const top = 40
	for _, one := range s.answered(t, p) {
		x, y := one.GridPos.X*unitWidth+margin, top+one.GridPos.Y*unitHeight+margin
		w, h := one.GridPos.W*unitWidth-2*margin, one.GridPos.H*unitHeight-2*margin
		height = max(height, y+h+2*margin)
		if one.Type == "row" {
			fmt.Fprintf(&b, `<text x="%d" y="%d" class="row">%s</text>`, x+2, y+20, html.EscapeString(one.Title))
			continue
		}
		fmt.Fprintf(&b, `<svg x="%d" y="%d" width="%d" height="%d"><rect width="%d" height="%d" class="panel"/>`, x, y, w, h, w, h)
		switch Kind(one.Type) {
		case Stat:
			one.stat(&b, w, h)
		case Table:
			one.table(&b, w, h)
		case Timeline:
			s.timeline(&b, one, w, h)
		default:
			s.graph(&b, one, w, h)
		}
		on := map[bool]string{true: " on"}[Kind(one.Type) == Stat]
		fmt.Fprintf(&b, `<text x="10" y="18" class="title%s">%s</text></svg>`, on, html.EscapeString(one.Title))
	}
	width = columns * unitWidth
	head := fmt.Sprintf(`<text x="6" y="27" class="head">%s</text><text x="%d" y="27" class="note" text-anchor="end">%s to %s UTC</text>`,
		html.EscapeString(p.Title), width-6, s.begin.UTC().Format("2006-01-02 15:04:05"), s.end.UTC().Format("15:04:05"))
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d"><style>%s</style>%s%s</svg>`, width, height, style, head, b.String()), width, height
}

const style = `svg{background:#f4f5f5;font-family:"DejaVu Sans",Inter,Helvetica,Arial,sans-serif;font-size:11px;fill:#24292e}
.panel{fill:#fff;stroke:#dcdfe3}.title{font-size:12px;font-weight:600}.row{font-size:14px;font-weight:600}.head{font-size:19px;font-weight:600}
.note,.axis{fill:#6a6f76}.grid{stroke:#ececee}.big{font-size:30px;font-weight:600;fill:#fff}.on{fill:#fff}.head2{font-weight:600;fill:#3274d9}`

// stat draws one value on the color of its threshold.
func (one shows) stat(b *strings.Builder, w, h int) {
	text, color := "no data", "#7a7f87"
	if len(one.answers[0]) > 0 {
		got := one.answers[0][0]
		text, color = shown(got.Value.Value, one.FieldConfig.Defaults.Unit), named[one.FieldConfig.Defaults.Thresholds.color(got.Value.Value)]
		for _, m := range one.FieldConfig.Defaults.Mappings {
			if word, ok := m.Options[digits(got.Value.Value)]; ok {
				text = word.Text
			}
		}
		if one.Options.TextMode == "name" {
			text = label(one.Targets[0].LegendFormat, got.Metric)
		}
	}
	size := 30
	if len(text) > 7 {
		size = max(12, 210/len(text))
	}
	fmt.Fprintf(b, `<rect width="%d" height="%d" fill="%s"/><text x="%d" y="%d" class="big" style="font-size:%dpx" text-anchor="middle">%s</text>`,
		w, h, color, w/2, h/2+20, size, html.EscapeString(text))
}

var braces = regexp.MustCompile(`{{(\w+)}}`)

// label fills a legend with a series' labels.
func label(legend string, metric map[string]string) string {
	return braces.ReplaceAllStringFunc(legend, func(s string) string { return metric[strings.Trim(s, "{}")] })
}

// line is a series with its name and color.
type line struct {
	name, color string
	values      []sample
}

func (one shows) lines() (all []line) {
	for i, answer := range one.answers {
		for _, got := range answer {
			all = append(all, line{name: label(one.Targets[i].LegendFormat, got.Metric), values: got.Values})
		}
	}
	alive := slices.DeleteFunc(slices.Clone(all), func(l line) bool {
		return !slices.ContainsFunc(l.values, func(v sample) bool { return v.Value != 0 && !math.IsNaN(v.Value) })
	})
	if len(alive) > 0 && len(all) > 6 { // what is 0 all the time only fills the legend
		all = alive
	}
	used := map[string]bool{}
	for i := range all {
		if c := habits[all[i].name]; c != "" {
			all[i].color, used[c] = c, true
		}
	}
	next := 0
	for i := range all {
		for all[i].color == "" {
			if c := colors[next%len(colors)]; !used[c] || next >= len(colors) {
				all[i].color = c
			}
			next++
		}
	}
	return all
}

// timeline draws a row for each series, the worst first, in the colors of its
// thresholds.
func (s *scene) timeline(b *strings.Builder, one shows, w, h int) {
	last := func(got series) float64 { return got.Values[len(got.Values)-1].Value }
	rows := slices.Clone(one.answers[0])
	slices.SortStableFunc(rows, func(x, y series) int { return cmp.Compare(last(y), last(x)) })
	const left, below = 232, 20
	high := math.Min(22, float64(h-heading-below-6)/float64(max(1, len(rows))))
	x := s.across(left, w-10)
	for i, got := range rows {
		y := float64(heading) + float64(i)*high + 4
		fmt.Fprintf(b, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`, left-8, y+high*0.68, html.EscapeString(label(one.Targets[0].LegendFormat, got.Metric)))
		for j := 0; j < len(got.Values); {
			color, k := one.FieldConfig.Defaults.Thresholds.color(got.Values[j].Value), j
			for k < len(got.Values) && one.FieldConfig.Defaults.Thresholds.color(got.Values[k].Value) == color {
				k++
			}
			until := x(got.Values[k-1].At + s.step.Seconds())
			fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`, x(got.Values[j].At), y, math.Min(until, float64(w-10))-x(got.Values[j].At), high*0.86, named[color])
			j = k
		}
	}
	s.clock(b, x, h-8, 0, 0)
}

// across returns where a time lies between two edges.
func (s *scene) across(left, right int) func(at float64) float64 {
	from, to := float64(s.begin.UnixMilli())/1000, float64(s.end.UnixMilli())/1000
	return func(at float64) float64 { return float64(left) + (at-from)/(to-from)*float64(right-left) }
}

// clock writes times below a drawing, with lines through it where low is below
// high.
func (s *scene) clock(b *strings.Builder, x func(float64) float64, y, high, low int) {
	every := 15 * time.Second
	for x(every.Seconds())-x(0) < 70 {
		every *= 2
	}
	for at := s.begin.Truncate(every).Add(every); at.Before(s.end); at = at.Add(every) {
		place := x(float64(at.Unix()))
		if last := x(float64(s.end.Unix())); place < x(float64(s.begin.Unix()))+20 || place > last-18 {
			continue // it would be cut off, or lie over the axis
		}
		fmt.Fprintf(b, `<text x="%.1f" y="%d" class="axis" text-anchor="middle">%s</text>`, place, y, at.UTC().Format("15:04:05"))
		if low > high {
			fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" class="grid"/>`, place, place, high, low)
		}
	}
}
