package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// printed is a whole run with made-up figures: a row or two of each table in
// the page, with each unit that is asked for.
func printed(t *testing.T) string {
	t.Helper()
	s := "go test -run '^$' ...\ngoos: linux\ngoarch: amd64\ncpu: Test CPU\ndate: 2026-03-01\ncommit: abc\ncores: 2\ngo: go1.26.8\nmodule: a v1\nmodule: b v2\n"
	tables := regexp.MustCompile(`\{\{table "(\w+)"((?: "[^"]+")*)\}\}`).FindAllStringSubmatch(page, -1)
	if len(tables) < 10 {
		t.Fatalf("%d tables in the page", len(tables))
	}
	for _, m := range tables {
		figures := ""
		for _, u := range regexp.MustCompile(`"([^"?]+)\??"`).FindAllStringSubmatch(m[2], -1) {
			figures += "\t     12345.678 " + u[1]
		}
		var names []string
		for _, r := range regexp.MustCompile(`\{\{ratio "`+m[1]+`" "([^"]+)" "([^"]+)" "[^"]+"\}\}`).FindAllStringSubmatch(page, -1) {
			for _, name := range r[1:] {
				if !slices.Contains(names, "/"+name) {
					names = append(names, "/"+name)
				}
			}
		}
		if m[1] == "Ingest" {
			names = append(names, "/20KB/ingest-2")
		}
		for _, f := range regexp.MustCompile(`\{\{figure "`+m[1]+`" "([^"]+)" (\d)`).FindAllStringSubmatch(page, -1) {
			if name := "/" + f[1] + strings.NewReplacer("-0", "-2", "-1", "").Replace("-"+f[2]); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		if names == nil {
			names = []string{"/a/b"}
		}
		for _, n := range names {
			s += "Benchmark" + m[1] + n + "         \t       1" + figures + "\n"
		}
	}
	return s + "PASS\nok  \tbench\t1.0s\n"
}

func TestBook(t *testing.T) {
	in := printed(t) + "BenchmarkMemory/a/b-2 \t 1\t 1.5 wall-s\t 0.0123 cpu-s\t 139.2 peak-MiB\n" +
		"BenchmarkMemory/a/b-2 \t 1\t 2.5 wall-s\t 0.0123 cpu-s\t 1234567 peak-MiB\n"
	var out strings.Builder
	if err := run(strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| machine | Test CPU, 2 cores, linux/amd64 |", "| modules | a v1, b v2 |", "| AWS CLI | not there |",
		"|  | cores | events/s | events/cpu-s | allocs/event |\n| --- | ---: | ---: | ---: | ---: |\n| 20KB, ingest | 1 | 12,346 | 12,346 | 12,346 |",
		"| 20KB, ingest | 2 | 12,346 |",
		"reaches on one core\n1.00 at 20 KB", "made up and real | 1.00 and n/a times as fast |",
		"| a, b | 2 | 2.50 | 0.0123 | 1,234,567 |", // the later of two
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestNothingIsLeftOut(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"no input":     {"", "date"},
		"failed":       {printed(t) + "--- FAIL: BenchmarkMemory\n", "failed"},
		"a part":       {strings.ReplaceAll(printed(t), "BenchmarkLength", "BenchmarkLate"), "BenchmarkLength"},
		"a figure":     {strings.ReplaceAll(printed(t), "requests", "demands"), "requests"},
		"one core":     {strings.ReplaceAll(printed(t), "/500KB/ingest ", "/500KB/ingest-2 "), "on 1 cores"},
		"half a field": {printed(t) + "BenchmarkMemory/a \t 1\t 1.5\n", "without a unit"},
	} {
		var out strings.Builder
		if err := run(strings.NewReader(c.in), &out); err == nil || !strings.Contains(err.Error(), c.want) || out.Len() > 0 {
			t.Errorf("%s: %v and %d bytes, want an error with %q and none", name, err, out.Len(), c.want)
		}
	}
}
