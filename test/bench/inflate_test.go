package bench

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// logSizes are those of small, full and very large log files.
var logSizes = []int{20 << 10, 500 << 10, 5 << 20}

// inflateRows read a log file with internal/inflate, and with a loop that
// inflates with klauspost/compress, hashes and checks nothing. MB/s are of
// inflated data.
func inflateRows(full bool) (rows []row) {
	w := testtrail.New()
	for _, size := range pick(full, logSizes, logSizes[:1]) {
		body := w.SizedLog(size)
		for _, l := range []loop{{"ours", ours}, {"klauspost", new(klauspost).hash}} {
			stored := testtrail.Gzip(body)
			rows = append(rows, row{fmt.Sprintf("%dKB/%s", size>>10, l.name), func(m meter) {
				if sum, err := l.read(stored, nil); err != nil || sum != sha256.Sum256(body) {
					m.Fatal(sum, err)
				}
				n, began := 0, time.Now()
				for m.Loop() {
					_, _ = l.read(stored, nil)
					n++
				}
				m.ReportMetric(float64(n*len(body))/1e6/time.Since(began).Seconds(), "MB/s")
			}})
		}
	}
	return rows
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
