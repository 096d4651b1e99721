//go:build !race

package ingest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
)

const (
	memory   = 192 << 20 // --memory
	overhead = 128 << 20 // the program, connections, what the collector has not freed yet
)

// A log of CloudTrail's greatest size, one that inflates to a gigabyte of
// nothing, many middling ones at once, and a sink that stands still: none of
// them moves the peak.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("short: half a gigabyte is made and read")
	}
	s := &site{World: testtrail.New()}
	tr := s.Trail(testtrail.Options{})
	want := 0
	for _, account := range []string{"111122223333", "444455556666", "777788889999", "123456789012"} {
		c := tr.Chain(account, "us-east-1", begin)
		body := s.SizedLog(3 << 20)
		c.Hour(body, body, body, body, body, body, body, body)
		want += 8 * bytes.Count(body, []byte(`"eventVersion"`))
		s.chains = append(s.chains, c)
	}
	stored, sum, n := hugeLog(t, 50<<20)
	c := s.chains[0]
	c.Hour(s.Log(1))
	s.Edit(bucket, c.Issued[2].Logs[0].Key, func(o *testtrail.Stored) { o.Body = stored })
	c.Reissue(2, func(d *testtrail.Doc) { d.Logs[0].Hash = sum })
	want += n
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := io.CopyN(z, zeros{}, 1<<30); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	s.chains[1].Hour(s.Log(1))
	s.Edit(bucket, s.chains[1].Issued[2].Logs[0].Key, func(o *testtrail.Stored) { o.Body = bomb.Bytes() })

	w := newWorker(t, s.World, "")
	w.fakeAWS(t, s.World)
	cmd, output := w.command(t, "--once", "--memory", fmt.Sprint(memory), "--sink", "stdout")
	for i, a := range cmd.Args { // the file is no sink of this run
		if a == "--sink" && strings.HasPrefix(cmd.Args[i+1], "file:") {
			cmd.Args = append(cmd.Args[:i:i], cmd.Args[i+2:]...)
			break
		}
	}
	cmd.Stdout = nil
	events, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(standstill())
	got, r := 0, bufio.NewReaderSize(events, 1<<20)
	for {
		b, err := r.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			continue
		}
		if len(b) > 0 {
			got++
		}
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
		t.Fatalf("%v, want exit 1: a finding\n%s", err, output)
	}
	most := peak(cmd.ProcessState)
	t.Logf("peak %d MiB, %d events", most>>20, got)
	if most > memory+overhead {
		t.Errorf("peak of %d MiB, more than %d", most>>20, (memory+overhead)>>20)
	}
	if got != want {
		t.Errorf("%d events, want %d", got, want)
	}
	if found := lines(t, w.findings()); len(found) != 1 || !strings.Contains(found[0], `"log-modified"`) {
		t.Errorf("findings %q", found)
	}
}

// standstill is how long the sink takes nothing: minutes where nobody waits
// for the test.
func standstill() time.Duration {
	if os.Getenv("CI") == "true" {
		return 2 * time.Minute
	}
	return 4 * time.Second
}

// hugeLog makes a log file of about so many stored bytes, ten times that
// inflated, without holding it inflated.
func hugeLog(t *testing.T, size int) (stored []byte, sum string, events int) {
	t.Helper()
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.New()
	w := io.MultiWriter(z, hash)
	random := rand.New(rand.NewPCG(1, 2))
	pad := strings.Repeat(`{"key":"a rather ordinary value of a rather ordinary member"},`, 20)
	io.WriteString(w, `{"Records":[`)
	for ; out.Len() < size; events++ {
		if events > 0 {
			io.WriteString(w, ",")
		}
		fmt.Fprintf(w, `{"eventVersion":"1.11","eventID":"%016x%016x","requestID":"%016x%016x%016x","requestParameters":[%s0]}`,
			random.Uint64(), random.Uint64(), random.Uint64(), random.Uint64(), random.Uint64(), pad)
	}
	io.WriteString(w, `]}`)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), hex.EncodeToString(hash.Sum(nil)), events
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// peak returns the most resident memory that an ended process had, in bytes.
func peak(p *os.ProcessState) int64 {
	most := p.SysUsage().(*syscall.Rusage).Maxrss
	if runtime.GOOS != "darwin" {
		most <<= 10 // Linux and the BSDs count kilobytes
	}
	return most
}
