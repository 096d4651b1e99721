package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mutation is a fault that a test build has where MUTATION names it.
type mutation struct {
	name     string
	file     string   // below the module's root
	old, new string   // old is in the file once
	kinds    []string // of the accounts that must differ
}

const appendEvent = "e.batch.Events = append(e.batch.Events, sink.Event{Record: record, Index: index})\n"

// mutations lose, double or invent events at each step from a digest to the sinks.
var mutations = []mutation{
	{
		"drop an event", "internal/pipeline/emit.go", appendEvent,
		`if !isMutation("drop an event") || index != 0 {` + appendEvent + "}\n", []string{"records"},
	},
	{
		"double an event", "internal/pipeline/emit.go", "\te.size += size\n",
		"\te.size += size\n" + `if isMutation("double an event") && index == 0 {` + appendEvent + "}\n", []string{"records"},
	},
	{
		"invent an event", "internal/pipeline/emit.go", "\tsize := len(record) + e.overhead\n",
		"\tsize := len(record) + e.overhead\n" + `if isMutation("invent an event") && index == 0 {
			e.batch.Events = append(e.batch.Events, sink.Event{Record: []byte("{}"), Index: 1 << 20})
		}` + "\n", []string{"records"},
	},
	{
		"drop a batch", "internal/pipeline/emit.go", "\terr := p.options.Sink.Emit(ctx, b)\n",
		`var err error
		if !isMutation("drop a batch") { err = p.options.Sink.Emit(ctx, b) }` + "\n", []string{"sinks"},
	},
	{
		"double a batch", "internal/pipeline/emit.go", "\tp.accounts.offer(len(b.Events))\n",
		"\tp.accounts.offer(len(b.Events))\n" + `if isMutation("double a batch") { _ = p.options.Sink.Emit(ctx, b) }` + "\n", []string{"sinks"},
	},
	{
		"skip a sink", "internal/sink/set.go", "\t\terr := m.try(ctx, func() (bool, error) {\n",
		`if isMutation("skip a sink") && m == s.members[1] { return nil }` + "\n\t\terr := m.try(ctx, func() (bool, error) {\n", []string{"sinks"},
	},
	{
		"give a sink all twice", "internal/sink/set.go", "\t\t\tm.took(len(b.Events))\n",
		"\t\t\tm.took(len(b.Events))\n" + `if isMutation("give a sink all twice") && m == s.members[1] {
			_ = m.sink.Emit(ctx, b)
			m.took(len(b.Events))
		}` + "\n", []string{"sinks"},
	},
	{
		"skip a log file", "internal/logfile/emit.go", "\tfor _, i := range indexes {\n",
		"\tfor _, i := range indexes {\n" + `if isMutation("skip a log file") && i == 0 { continue }` + "\n", []string{"logs"},
	},
	{
		"do not flush", "internal/ingest/digest.go", "if err := w.config.Sink.Flush(ctx); err != nil {",
		`var flushed error
		if !isMutation("do not flush") { flushed = w.config.Sink.Flush(ctx) }
		if err := flushed; err != nil {`, []string{"sinks"},
	},
}

// isMutation is a file of each package that has mutations.
const isMutation = `
import "os"

func isMutation(name string) bool { return os.Getenv("MUTATION") == name }
`

// mutant builds the program with all mutations and returns its path.
func mutant(t *testing.T, root string) string {
	t.Helper()
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for i, m := range mutations {
		path := filepath.Join(root, m.file)
		changed := overlay.Replace[path]
		if changed == "" {
			changed = filepath.Join(dir, filepath.Base(filepath.Dir(path))+"-"+filepath.Base(path))
			overlay.Replace[path] = changed
			copyOf(t, path, changed)
			added := filepath.Join(dir, filepath.Base(filepath.Dir(path))+".go")
			write(t, added, "package "+filepath.Base(filepath.Dir(path))+"\n"+isMutation)
			overlay.Replace[filepath.Join(filepath.Dir(path), "mutation.go")] = added
		}
		b, err := os.ReadFile(changed)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(b), m.old); n != 1 {
			t.Fatalf("mutation %d, %q: %s has %q %d times", i, m.name, m.file, m.old, n)
		}
		write(t, changed, strings.Replace(string(b), m.old, m.new, 1))
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "overlay.json"), string(b))
	program := filepath.Join(dir, "ingest")
	build := exec.CommandContext(
		t.Context(),
		"go",
		"build",
		"-overlay",
		filepath.Join(dir, "overlay.json"),
		"-o",
		program,
		".",
	)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

func copyOf(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, string(b))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A program that loses, doubles or invents events says so when its run ends.
func TestMutations(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	program := mutant(t, root)
	kind := regexp.MustCompile(`level=ERROR msg="unaccounted: .*" kind=(\w+) difference=-?[1-9]`)
	for _, m := range append([]mutation{{name: "control"}}, mutations...) {
		t.Run(m.name, func(t *testing.T) {
			sample := filepath.Join(root, "test/sample")
			run := exec.CommandContext(
				t.Context(),
				program,
				"--once",
				"--source",
				sample,
				"--keys",
				filepath.Join(sample, "keys.json"),
				"--since",
				"2026-03-01",
				"--state",
				"memory",
				"--sink",
				"stdout",
				"--sink",
				"file:"+filepath.Join(t.TempDir(), "events"),
			)
			run.Env = append(os.Environ(), "MUTATION="+m.name)
			var stdout, stderr strings.Builder
			run.Stdout, run.Stderr = &stdout, &stderr
			if err := run.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
				t.Fatal(err)
			}
			var kinds []string
			for _, found := range kind.FindAllStringSubmatch(stderr.String(), -1) {
				kinds = append(kinds, found[1])
			}
			code := exitIncomplete
			if len(m.kinds) == 0 {
				code = exitFindings // of the sample
			}
			if !slices.Equal(kinds, m.kinds) || run.ProcessState.ExitCode() != code ||
				stdout.Len() == 0 && m.name != "drop a batch" {
				t.Errorf("exit %d, %q, want %q\n%s", run.ProcessState.ExitCode(), kinds, m.kinds, stderr.String())
			}
		})
	}
}
