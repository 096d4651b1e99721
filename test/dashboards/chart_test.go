package dashboards

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
	"strings"
)

// graph draws series over time: lines, bars, or areas on top of each other.
func (s *scene) graph(b *strings.Builder, one shows, w, h int) {
	lines := one.lines()
	legends := legendRows(lines, w)
	unit, custom := one.FieldConfig.Defaults.Unit, one.FieldConfig.Defaults.Custom
	stacked := custom.Stacking.Mode == "normal"
	base := map[float64]float64{} // what lies below a series, by time
	tops := make([]map[float64]float64, len(lines))
	most := 0.0
	for i, l := range lines {
		tops[i] = map[float64]float64{}
		for _, v := range l.values {
			if math.IsNaN(v.Value) {
				continue
			}
			tops[i][v.At] = v.Value
			if stacked {
				base[v.At] += v.Value
				tops[i][v.At] = base[v.At]
			}
			most = math.Max(most, tops[i][v.At])
		}
	}
	marks := ticks(most, unit, whole(lines))
	most = marks[len(marks)-1]
	const left = 62
	high, low := heading+8, h-20-legends*legendRow-4
	x := s.across(left, w-12)
	y := func(v float64) float64 { return float64(low) - v/most*float64(low-high) }
	s.clock(b, x, low+14, high, low)
	for _, m := range marks {
		fmt.Fprintf(b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" class="grid"/><text x="%d" y="%.1f" class="axis" text-anchor="end">%s</text>`,
			left, w-12, y(m), y(m), left-6, y(m)+4, shown(m, unit))
	}
	for i := len(lines) - 1; i >= 0; i-- { // what lies below is drawn last
		l, fill := lines[i], ""
		switch {
		case custom.DrawStyle == "bars":
			bars(b, l, tops[i], x, y, math.Max(1.5, x(s.step.Seconds())-x(0)-0.5), stacked)
			continue
		case stacked:
			fill = l.color
		}
		for _, part := range runs(l.values) {
			var path strings.Builder
			for j, v := range part {
				fmt.Fprintf(&path, "%s%.1f %.1f", map[bool]string{true: "M", false: "L"}[j == 0], x(v.At), y(tops[i][v.At]))
			}
			if fill != "" {
				fmt.Fprintf(b, `<path d="%sL%.1f %d L%.1f %dZ" fill="%s"/>`, path.String(), x(part[len(part)-1].At), low, x(part[0].At), low, mixed(fill))
			}
			fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="1.6" stroke-linejoin="round"/>`, path.String(), l.color)
		}
	}
	legend(b, lines, w, h-legends*legendRow)
}

// whole reports whether all values are whole numbers.
func whole(lines []line) bool {
	return !slices.ContainsFunc(lines, func(l line) bool {
		return slices.ContainsFunc(l.values, func(v sample) bool { return v.Value != math.Trunc(v.Value) })
	})
}

// runs are the parts of a series without holes.
func runs(values []sample) (parts [][]sample) {
	var part []sample
	for _, v := range append(slices.Clone(values), sample{Value: math.NaN()}) {
		if !math.IsNaN(v.Value) && (len(part) == 0 || v.At-part[len(part)-1].At < 20) {
			part = append(part, v)
			continue
		}
		if len(part) > 0 {
			parts = append(parts, part)
		}
		if part = nil; !math.IsNaN(v.Value) {
			part = []sample{v}
		}
	}
	return parts
}

func bars(b *strings.Builder, l line, tops map[float64]float64, x, y func(float64) float64, width float64, stacked bool) {
	for _, v := range l.values {
		if v.Value > 0 {
			foot := 0.0
			if stacked {
				foot = tops[v.At] - v.Value
			}
			fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`, x(v.At)-width/2, y(tops[v.At]), width, y(foot)-y(tops[v.At]), l.color)
		}
	}
}

// mixed is a color thinned with white, opaque so that pictures stay small.
func mixed(color string) string {
	n, err := strconv.ParseUint(strings.TrimPrefix(color, "#"), 16, 32)
	if err != nil {
		return color
	}
	thin := func(shift uint) uint64 { return (n>>shift&0xff)*4/10 + 255*6/10 }
	return fmt.Sprintf("#%02x%02x%02x", thin(16), thin(8), thin(0))
}

const letterWidth, mostLegendRows = 7, 3

// places lays out a legend: the row and the distance from the left of each.
func legendPlaces(lines []line, w int) (places [][2]int) {
	row, x := 0, 10
	for _, l := range lines {
		wide := 22 + letterWidth*len(l.name)
		if x > 10 && x+wide > w {
			row, x = row+1, 10
		}
		places = append(places, [2]int{row, x})
		x += wide
	}
	return places
}

func legendRows(lines []line, w int) int {
	if len(lines) == 0 {
		return 1
	}
	places := legendPlaces(lines, w)
	return min(mostLegendRows, places[len(places)-1][0]+1)
}

func legend(b *strings.Builder, lines []line, w, y int) {
	for i, p := range legendPlaces(lines, w) {
		if p[0] < mostLegendRows {
			at := y + p[0]*legendRow
			fmt.Fprintf(b, `<rect x="%d" y="%d" width="10" height="3" fill="%s"/><text x="%d" y="%d">%s</text>`, p[1], at+3, lines[i].color, p[1]+14, at+8, html.EscapeString(lines[i].name))
		}
	}
}

// cell is one of a table.
type cell struct {
	text, color string
	value       float64
}

// rows joins the answers of a table's queries by their labels, as Grafana's
// merge does, and puts the columns in their order.
func (one shows) rows() (titles []string, rows [][]cell) {
	organize := one.Transformations[1].Options
	fields := make([]string, len(organize.IndexByName))
	for field, i := range organize.IndexByName {
		fields[i] = field
	}
	for _, f := range fields {
		titles = append(titles, organize.RenameByName[f])
	}
	byLabels := map[string]map[string]series{}
	for i, answer := range one.answers {
		name := "Value"
		if len(one.answers) > 1 {
			name = "Value #" + one.Targets[i].RefID
		}
		for _, got := range answer {
			key := fmt.Sprint(got.Metric)
			if byLabels[key] == nil {
				byLabels[key] = map[string]series{"": got}
			}
			byLabels[key][name] = got
		}
	}
	for _, values := range byLabels {
		var row []cell
		for i, f := range fields {
			text, isLabel := values[""].Metric[f]
			got, there := values[f]
			switch {
			case isLabel:
				row = append(row, cell{text: text})
			case there:
				row = append(row, one.cell(titles[i], got.Value.Value))
			default:
				row = append(row, cell{})
			}
		}
		rows = append(rows, row)
	}
	by := slices.Index(titles, one.Options.SortBy[0].DisplayName)
	slices.SortFunc(rows, func(x, y []cell) int {
		return cmp.Or(cmp.Compare(y[by].value, x[by].value), cmp.Compare(x[0].text, y[0].text), cmp.Compare(x[1].text, y[1].text))
	})
	return titles, rows
}

// cell shows a value as the column's overrides say.
func (one shows) cell(title string, v float64) cell {
	c, unit := cell{value: v}, one.FieldConfig.Defaults.Unit
	for _, o := range one.FieldConfig.Overrides {
		if o.Matcher.Options != title {
			continue
		}
		for _, p := range o.Properties {
			var colored steps
			switch {
			case p.ID == "unit":
				unit = strings.Trim(string(p.Value), `"`)
			case p.ID == "thresholds" && json.Unmarshal(p.Value, &colored) == nil:
				c.color = named[colored.color(v)]
			}
		}
	}
	c.text = shown(v, unit)
	return c
}

func (one shows) table(b *strings.Builder, w, h int) {
	titles, rows := one.rows()
	wide := make([]int, len(titles)) // by the longest text
	for i, title := range titles {
		wide[i] = len(title)
		for _, r := range rows {
			wide[i] = max(wide[i], len(r[i].text))
		}
	}
	total := 0
	for _, n := range wide {
		total += n + 3
	}
	const high = 19
	x := 6.0
	for i, title := range titles {
		width := float64(w-12) * float64(wide[i]+3) / float64(total)
		fmt.Fprintf(b, `<text x="%.1f" y="%d" class="head2">%s</text>`, x+6, heading+14, html.EscapeString(title))
		for j, r := range rows {
			y := heading + 20 + j*high
			if y+high > h {
				break
			}
			class := ""
			if r[i].color != "" {
				fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`, x, y, width-2, high-2, r[i].color)
				class = ` class="on"`
			}
			fmt.Fprintf(b, `<text x="%.1f" y="%d"%s>%s</text>`, x+6, y+13, class, html.EscapeString(r[i].text))
		}
		x += width
	}
}
