package main

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// book is what runs of benchmarks printed. Where a row was measured more than
// once the last one counts.
type book struct {
	settings map[string][]string // "date", "commit", ...: what was said, once each
	rows     []*row
}

// row is a line of a benchmark.
type row struct {
	part    string // Reference
	name    string // 30ms/20KB/2400logs; empty where a part is one row
	cores   int
	figures map[string]float64 // by unit
}

var (
	benchmark = regexp.MustCompile(`^Benchmark([A-Za-z0-9]+)(/\S+?)?(?:-(\d+))?\s+\d+\t(.+)$`)
	setting   = regexp.MustCompile(`^(date|commit|cores|go|load|aws|peer|libdeflate|module|goos|goarch|cpu): +(.+)$`)
	failure   = regexp.MustCompile(`^(--- FAIL|FAIL|panic:|make: \*\*\*)`)
)

func parse(in io.Reader) (*book, error) {
	b := &book{settings: map[string][]string{}}
	lines := bufio.NewScanner(in)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if m := setting.FindStringSubmatch(line); m != nil {
			if value := strings.TrimSpace(m[2]); !slices.Contains(b.settings[m[1]], value) {
				b.settings[m[1]] = append(b.settings[m[1]], value)
			}
		}
		if failure.MatchString(line) {
			return nil, fmt.Errorf("line %d: the run failed: %s", n, line)
		}
		m := benchmark.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		r, err := parseRow(m)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		b.add(r)
	}
	return b, lines.Err()
}

func parseRow(m []string) (*row, error) {
	r := &row{part: m[1], name: strings.TrimPrefix(m[2], "/"), cores: 1, figures: map[string]float64{}}
	if m[3] != "" {
		r.cores, _ = strconv.Atoi(m[3]) // digits
	}
	fields := strings.Fields(m[4])
	if len(fields)%2 != 0 {
		return nil, fmt.Errorf("%s: a figure without a unit: %q", r.part, m[4])
	}
	for i := 0; i < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.part, err)
		}
		r.figures[fields[i+1]] = v
	}
	return r, nil
}

func (b *book) add(r *row) {
	if old := b.find(r.part, r.name, r.cores); old != nil {
		old.figures = r.figures
		return
	}
	b.rows = append(b.rows, r)
}

func (b *book) find(part, name string, cores int) *row {
	for _, r := range b.rows {
		if r.part == part && r.name == name && r.cores == cores {
			return r
		}
	}
	return nil
}
