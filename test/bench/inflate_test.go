package bench

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// logSizes are those of small, full and very large log files.
var logSizes = []int{20 << 10, 500 << 10, 5 << 20}

// inflateRows read log files with internal/inflate, and with loops that inflate
// with klauspost/compress and libdeflate, hash and check nothing: each a good
// many in turn, since a processor's branch predictor learns one by heart. MB/s
// are of inflated data.
func inflateRows(full bool) (rows []row) {
	w := testtrail.New()
	for _, size := range pick(full, logSizes, logSizes[:1]) {
		var bodies [][]byte
		for range max(1, min(100, (10<<20)/size)) {
			bodies = append(bodies, w.SizedLog(size))
		}
		rows = append(rows, inflateLoops(fmt.Sprintf("%dKB", size>>10), bodies)...)
		if real := realLogs(size); len(real) > 0 && size < 1<<20 {
			rows = append(rows, inflateLoops(fmt.Sprintf("%dKB,real", size>>10), real)...)
		}
	}
	return rows
}

// inflateLoops are those loops, and what they have in common: hashing what is
// inflated already, beyond which no inflater gets.
func inflateLoops(name string, bodies [][]byte) (rows []row) {
	stored := make([][]byte, len(bodies))
	inflated := make(map[*byte][]byte, len(bodies))
	for i, b := range bodies {
		stored[i] = testtrail.Gzip(b)
		inflated[&stored[i][0]] = b
	}
	hashAlone := func(stored []byte, _ io.Writer) ([32]byte, error) { return sha256.Sum256(inflated[&stored[0]]), nil }
	loops := append([]loop{{"ours", ours}, {"klauspost", new(klauspost).hash}}, libdeflateLoops()...)
	for _, l := range append(loops, loop{"sha256", hashAlone}) {
		rows = append(rows, row{name + "/" + l.name, func(m meter) { l.measure(m, stored, bodies) }})
	}
	return rows
}

// measure reads all files in turn, after a round that looks at the results.
func (l loop) measure(m meter, stored, bodies [][]byte) {
	total := 0
	for i, s := range stored {
		if sum, err := l.read(s, nil); err != nil || sum != sha256.Sum256(bodies[i]) {
			m.Fatal(sum, err)
		}
		total += len(bodies[i])
	}
	n, began := 0, time.Now()
	for m.Loop() {
		for _, s := range stored {
			_, _ = l.read(s, nil)
		}
		n += total
	}
	m.ReportMetric(float64(n)/1e6/time.Since(began).Seconds(), "MB/s")
}

// realLogs returns log files of about size bytes with the events of
// TRAILSEAL_DATA as CloudTrail writes them, none where it is not set.
func realLogs(size int) (bodies [][]byte) {
	dir := os.Getenv("TRAILSEAL_DATA")
	if dir == "" {
		return nil
	}
	files, err := testtrail.ReadEventFiles(filepath.Join(dir, "invictus"))
	if err != nil {
		panic(err)
	}
	var records []json.RawMessage
	length := 0
	for _, f := range files {
		for _, r := range f.Records {
			var compact bytes.Buffer
			if err := json.Compact(&compact, r); err != nil {
				panic(err)
			}
			records, length = append(records, compact.Bytes()), length+compact.Len()
			if length >= size {
				bodies = append(bodies, testtrail.LogOf(records...))
				records, length = nil, 0
			}
		}
	}
	return bodies
}

// loop is the least that must be done to a log file that is to be verified:
// inflate and hash, and hand the bytes to w unless it is nil.
type loop struct {
	name string
	read func(stored []byte, w io.Writer) ([32]byte, error)
}

// ours is the loop with the inflater of this project.
func ours(stored []byte, w io.Writer) ([32]byte, error) {
	sum, _, err := inflate.Copy(w, bytes.NewReader(stored), inflate.Options{Limit: 1 << 30})
	return sum, err
}

// klauspost is the loop with the fastest other inflater in Go. It keeps its
// reader and its buffer.
type klauspost struct {
	gzip gzip.Reader
	sha  hash.Hash
	buf  []byte
}

func (k *klauspost) hash(stored []byte, w io.Writer) (sum [32]byte, err error) {
	if k.sha == nil {
		k.sha, k.buf = sha256.New(), make([]byte, 64<<10)
	}
	k.sha.Reset()
	if err := k.gzip.Reset(bytes.NewReader(stored)); err != nil {
		return sum, err
	}
	for {
		n, err := k.gzip.Read(k.buf)
		k.sha.Write(k.buf[:n])
		if w != nil {
			if _, err := w.Write(k.buf[:n]); err != nil {
				return sum, err
			}
		}
		if err == io.EOF {
			k.sha.Sum(sum[:0])
			return sum, nil
		}
		if err != nil {
			return sum, err
		}
	}
}

// split returns a writer that counts the records of one log file.
func split(n *int) *trail.Splitter {
	return &trail.Splitter{Record: func([]byte) error { *n++; return nil }}
}
