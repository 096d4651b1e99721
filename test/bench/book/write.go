package main

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/template"
)

//go:embed benchmarks.md.tmpl
var page string

// write writes the page.
func (b *book) write(out io.Writer) error {
	t, err := template.New("benchmarks.md").Funcs(template.FuncMap{"said": b.said, "table": b.table, "figure": b.figure, "ratio": b.ratio}).Parse(page)
	if err != nil {
		return err
	}
	var all bytes.Buffer // so that an error leaves no half a page
	if err := t.Execute(&all, nil); err != nil {
		return err
	}
	_, err = out.Write(all.Bytes())
	return err
}

// said returns what the runs said of a setting. What may be missing has a
// text for that.
func (b *book) said(key string, missing ...string) (string, error) {
	switch said := b.settings[key]; {
	case len(said) > 0:
		return strings.Join(said, ", "), nil
	case len(missing) > 0:
		return missing[0], nil
	default:
		return "", fmt.Errorf("no line %q in the input", key+":")
	}
}

// table returns a part's rows with the figures of these units. A unit that
// ends in ? may be missing in single rows.
func (b *book) table(part string, units ...string) (string, error) {
	var rows []*row
	several := false
	for _, r := range b.rows {
		if r.part == part {
			rows = append(rows, r)
			several = several || r.cores != rows[0].cores
		}
	}
	if len(rows) == 0 {
		return "", fmt.Errorf("no row of Benchmark%s in the input", part)
	}
	var t strings.Builder
	line := func(cells []string) { fmt.Fprintf(&t, "| %s |\n", strings.Join(cells, " | ")) }
	head, rule := []string{""}, []string{"---"}
	if several {
		head, rule = append(head, "cores"), append(rule, "---:")
	}
	for _, u := range units {
		head, rule = append(head, strings.TrimSuffix(u, "?")), append(rule, "---:")
	}
	line(head)
	line(rule)
	for _, r := range rows {
		cells := []string{strings.ReplaceAll(cmp.Or(r.name, r.part), "/", ", ")}
		if several {
			cells = append(cells, strconv.Itoa(r.cores))
		}
		for _, u := range units {
			u, optional := strings.CutSuffix(u, "?")
			v, there := r.figures[u]
			if !there && !optional {
				return "", fmt.Errorf("no %s of Benchmark%s/%s", u, part, r.name)
			}
			cells = append(cells, number(v, there))
		}
		line(cells)
	}
	return strings.TrimSuffix(t.String(), "\n"), nil
}

// figure returns one figure of a row, measured on so many cores, or on the most
// for 0. What may be missing has a text for that.
func (b *book) figure(part, name string, cores int, unit string, missing ...string) (string, error) {
	var r *row
	for _, other := range b.rows {
		if other.part == part && other.name == name && (cores == 0 || other.cores == cores) && (r == nil || other.cores > r.cores) {
			r = other
		}
	}
	if r == nil {
		return "", fmt.Errorf("no Benchmark%s/%s in the input (on %d cores; 0: on any)", part, name, cores)
	}
	v, there := r.figures[unit]
	switch {
	case !there && len(missing) > 0:
		return missing[0], nil
	case !there:
		return "", fmt.Errorf("no %s of Benchmark%s/%s", unit, part, name)
	}
	return number(v, true), nil
}

// ratio returns how many times a figure of one row on one core is that of
// another. What may be missing has a text for that.
func (b *book) ratio(part, name, other, unit string, missing ...string) (string, error) {
	var v [2]float64
	for i, n := range []string{name, other} {
		r := b.find(part, n, 1)
		if r == nil && len(missing) > 0 {
			return missing[0], nil
		}
		if r == nil || r.figures[unit] == 0 {
			return "", fmt.Errorf("no %s of Benchmark%s/%s on one core in the input", unit, part, n)
		}
		v[i] = r.figures[unit]
	}
	return fmt.Sprintf("%.2f", v[0]/v[1]), nil
}

// number writes three significant digits, or all those before the point, in
// groups of three.
func number(v float64, there bool) string {
	if !there {
		return ""
	}
	if v == 0 {
		return "0"
	}
	digits := max(0, 2-int(math.Floor(math.Log10(math.Abs(v)))))
	whole, part, _ := strings.Cut(strconv.FormatFloat(v, 'f', digits, 64), ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if part != "" {
		return whole + "." + part
	}
	return whole
}
