package trail_test

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/trailseal/trailseal/pkg/trail"
)

func BenchmarkParseKey(b *testing.B) {
	b.Run("digest", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := trail.ParseDigestKey("p/AWSLogs/o-0123456789/111122223333/CloudTrail-Digest/us-east-1/2026/03/01/111122223333_CloudTrail-Digest_us-east-1_main_us-east-1_20260301T020811Z.json.gz"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("log", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := trail.ParseLogKey("p/AWSLogs/o-0123456789/111122223333/CloudTrail/us-east-1/2026/03/01/111122223333_CloudTrail_us-east-1_20260301T0115Z_0123456789ABCDEF.json.gz"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// benchRecords returns genuine events or, without them, one event many times.
func benchRecords(b *testing.B) (records [][]byte) {
	b.Helper()
	if os.Getenv("TRAILSEAL_DATA") == "" {
		b.Log("TRAILSEAL_DATA is not set: one event many times")
		return slices.Repeat([][]byte{[]byte(benchRecord)}, 2000)
	}
	realEvents(b, func(_ string, record []byte) { records = append(records, record) })
	return records
}

// BenchmarkRecords compares ways to read records: one by one, and while a log
// file is split.
func BenchmarkRecords(b *testing.B) {
	records := benchRecords(b)
	var logs [][]byte // of 250 records
	size := 0
	for chunk := range slices.Chunk(records, 250) {
		logs = append(logs, slices.Concat([]byte(`{"Records":[`), bytes.Join(chunk, []byte(",")), []byte(`]}`)))
		size += len(logs[len(logs)-1])
	}
	split := func(n *int, piece int, odd func([]byte, error) error) {
		for _, l := range logs {
			s := trail.Splitter{Record: func([]byte) error { *n++; return nil }, Odd: odd}
			for part := range slices.Chunk(l, min(piece, len(l))) {
				_, _ = s.Write(part) // after an error records are missing
			}
		}
	}
	isOdd := func([]byte, error) error { return nil }
	for _, bench := range []struct {
		name string
		run  func(n *int)
	}{
		{"check", func(n *int) {
			for _, r := range records {
				if trail.CheckRecord(r) == nil {
					*n++
				}
			}
		}},
		{"json.Valid", func(n *int) {
			for _, r := range records {
				if json.Valid(r) {
					*n++
				}
			}
		}},
		{"split", func(n *int) { split(n, size, nil) }},
		{"split and check", func(n *int) { split(n, size, isOdd) }},
		{"split and check pieces", func(n *int) { split(n, 32<<10, isOdd) }},
		{"Records", func(n *int) {
			for _, l := range logs {
				for _, err := range trail.Records(bytes.NewReader(l)) {
					if err == nil {
						*n++
					}
				}
			}
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				if bench.run(&n); n != len(records) {
					b.Fatalf("%d records, want %d", n, len(records))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(records)), "ns/record")
		})
	}
}
