package bench

import (
	"math"
	"os"
	"strings"
	"testing"
)

// meter is what a measurement needs of a *testing.B, so that the same code
// runs as a benchmark and, small, as a test.
type meter interface {
	testing.TB
	Loop() bool
	ReportMetric(value float64, unit string)
}

// row is one measurement.
type row struct {
	name string
	run  func(m meter)
}

// parts are all benchmarks: their rows, at full size or as small as shows that
// they work.
var parts = map[string]func(full bool) []row{
	"Chains":       chainsRows,
	"Collector":    collectorRows,
	"Concurrency":  concurrencyRows,
	"Get":          getRows,
	"Inflate":      inflateRows,
	"Ingest":       ingestRows,
	"IngestQueue":  ingestQueueRows,
	"IngestS3":     ingestS3Rows,
	"Length":       lengthRows,
	"Memory":       memoryRows,
	"Organization": organizationRows,
	"Reference":    referenceRows,
}

func BenchmarkChains(b *testing.B)       { benchmark(b, "Chains") }
func BenchmarkCollector(b *testing.B)    { benchmark(b, "Collector") }
func BenchmarkConcurrency(b *testing.B)  { benchmark(b, "Concurrency") }
func BenchmarkGet(b *testing.B)          { benchmark(b, "Get") }
func BenchmarkInflate(b *testing.B)      { benchmark(b, "Inflate") }
func BenchmarkIngest(b *testing.B)       { benchmark(b, "Ingest") }
func BenchmarkIngestQueue(b *testing.B)  { benchmark(b, "IngestQueue") }
func BenchmarkIngestS3(b *testing.B)     { benchmark(b, "IngestS3") }
func BenchmarkLength(b *testing.B)       { benchmark(b, "Length") }
func BenchmarkMemory(b *testing.B)       { benchmark(b, "Memory") }
func BenchmarkOrganization(b *testing.B) { benchmark(b, "Organization") }
func BenchmarkReference(b *testing.B)    { benchmark(b, "Reference") }

func benchmark(b *testing.B, part string) {
	for _, r := range parts[part](!testing.Short()) {
		b.Run(r.name, func(b *testing.B) {
			r.run(b)
			b.ReportMetric(0, "ns/op") // what an operation is differs; the row's own figures say it
		})
	}
}

// Benchmarks that nobody runs rot: each row runs here, small.
func TestSmoke(t *testing.T) {
	if raced {
		t.Skip("what is measured are programs without the race detector, and trails take long to sign with it: not with -race")
	}
	book, err := os.ReadFile("book/benchmarks.md.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	for part, rows := range parts {
		if !strings.Contains(string(book), `{{table "`+part+`"`) {
			t.Errorf("the book has no table of %s", part)
		}
		for _, r := range rows(false) {
			t.Run(part+"/"+r.name, func(t *testing.T) {
				s := &smoke{T: t}
				r.run(s)
				if s.loops != 2 || s.figures == 0 {
					t.Errorf("%d rounds, want 1; %d figures", s.loops-1, s.figures)
				}
			})
		}
	}
}

// smoke is a meter that runs once and wants figures.
type smoke struct {
	*testing.T
	loops, figures int
}

func (s *smoke) Loop() bool {
	s.loops++
	return s.loops == 1
}

func (s *smoke) ReportMetric(value float64, unit string) {
	s.figures++
	s.Logf("%g %s", value, unit)
	if !(value > 0) || math.IsInf(value, 0) {
		s.Errorf("%s is %g", unit, value)
	}
}

// pick returns the first for a benchmark and the second for a test.
func pick[T any](full bool, f, s T) T {
	if full {
		return f
	}
	return s
}
