package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// bomb returns the gzip of prefix, n times c, suffix.
func bomb(t *testing.T, prefix string, n int, c byte, suffix string) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	fill := io.LimitReader(filler(c), int64(n))
	if _, err := io.Copy(z, io.MultiReader(strings.NewReader(prefix), fill, strings.NewReader(suffix))); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type filler byte

func (f filler) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(f)
	}
	return len(p), nil
}

// mostHeap runs f and returns by how many bytes the heap in use grew at most,
// with little garbage among it.
func mostHeap(f func()) uint64 {
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, most := m.HeapInuse, m.HeapInuse
	done, sampled := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sampled)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	f()
	close(done)
	<-sampled
	return most - before
}

// Log files are never held in memory, digests of up to 64 MiB one at a time.
const (
	logMemory  = 32 << 20
	mostMemory = 200 << 20
)

// Objects that inflate to more than memory holds: each is told as what it is,
// the rest is verified, and memory stays.
func TestVerifyBombs(t *testing.T) {
	signIn(t)
	const (
		giga     = 1 << 30
		mismatch = "UNVERIFIED no-signature l3.0\nchain-mismatch d3" // a proven successor has signed for another hash
	)
	body := func(where func(*site) trail.Object, b func(*testing.T) []byte) func(*testing.T, *site) {
		return func(t *testing.T, s *site) {
			o := where(s)
			bytes := b(t)
			s.Edit(o.Bucket, o.Key, func(st *testtrail.Stored) { st.Body = bytes })
		}
	}
	log := func(s *site) trail.Object { return s.chain.Issued[3].Logs[0] }
	digest := func(i int) func(s *site) trail.Object {
		return func(s *site) trail.Object {
			return trail.Object{Bucket: s.chain.Issued[i].Bucket, Key: s.chain.Issued[i].Key}
		}
	}
	rows := []struct {
		name string
		do   func(*testing.T, *site)
		want string
	}{
		{"none", func(*testing.T, *site) {}, ""},
		{"log of zeros", body(log, func(t *testing.T) []byte { return bomb(t, "", giga, 0, "") }), "log-modified l3.0"},
		{"log that is one string", body(log, func(t *testing.T) []byte { return bomb(t, `{"Records":["`, giga, 'a', `"]}`) }), "log-modified l3.0"},
		{"digest of zeros", body(digest(3), func(t *testing.T) []byte { return bomb(t, "", giga, 0, "") }), mismatch},
		{"digest of spaces, just small enough", body(digest(3), func(t *testing.T) []byte { return bomb(t, "{", 64<<20-2, ' ', "}") }), mismatch},
		{"digest of nothing but brackets", body(digest(3), func(t *testing.T) []byte {
			return bomb(t, `{"logFiles":`, 60<<20, '[', "")
		}), mismatch},
		{"the last log before a gap is one string", func(t *testing.T, s *site) {
			s.chain.Hour(s.Log(1))
			s.chain.Skip(2 * time.Hour)
			s.chain.Restart(s.chain.Now())
			s.chain.Hour(s.Log(1))
			o := s.chain.Issued[7].Logs[0]
			b := bomb(t, `{"Records":["`, giga, 'a', `"]}`)
			s.Edit(o.Bucket, o.Key, func(st *testtrail.Stored) { st.Body = b })
			s.other.Hours(5)
			s.end, s.now = s.chain.Now(), s.chain.Now()
		}, "gap\nlog-modified l7.0"},
		{"every digest is just small enough", func(t *testing.T, s *site) {
			b := bomb(t, "{", 64<<20-2, ' ', "}")
			for _, d := range s.chain.Issued[1:] {
				s.Edit(d.Bucket, d.Key, func(st *testtrail.Stored) { st.Body = b })
			}
		}, dueLogs + "\ndigest-corrupt d1\ndigest-corrupt d2\ndigest-corrupt d3\ndigest-corrupt d4\ndigest-corrupt d5\ndigest-corrupt d6"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t)
			row.do(t, s)
			var lines string
			var got said
			grown := mostHeap(func() {
				said, r := s.verify(t, "s3://trail-bucket")
				if r != nil {
					lines = s.lines(r)
				}
				got = said
			})
			if lines != row.want {
				t.Errorf("got\n%s\nwant\n%s\n%+v", lines, row.want, got)
			}
			limit := uint64(mostMemory)
			if strings.Contains(row.name, "log") {
				limit = logMemory
			}
			if grown > limit {
				t.Errorf("the heap grew by %d MiB", grown>>20)
			}
			t.Logf("the heap grew by %d MiB", grown>>20)
		})
	}
}

// A digest of 100,000 log files is read as any other.
func TestVerifyLargeDigest(t *testing.T) {
	signIn(t)
	s := newSite(t)
	const entries = 100_000
	stem := strings.TrimSuffix(s.chain.Issued[6].Logs[0].Key, ".json.gz")
	s.chain.ReissueFrom(6, func(d *testtrail.Doc) {
		for i := range entries {
			l := d.Logs[0]
			l.Object = fmt.Sprintf("%s%016d.json.gz", stem[:len(stem)-16], i)
			d.Logs = append(d.Logs, l)
		}
	})
	folder := t.TempDir()
	if err := s.WriteFolder("trail-bucket", folder, func(key string) bool { return key == s.chain.Issued[6].Key || key == s.other.Issued[6].Key }); err != nil {
		t.Fatal(err)
	}
	var got said
	var r *report.Report
	grown := mostHeap(func() { got, r = s.verify(t, folder, "--no-logs") })
	if r == nil || got.exit != exitOK || grown > mostMemory {
		t.Errorf("%+v: the heap grew by %d MiB", got, grown>>20)
	}
}

// hostileNames are parts of keys that would steer a terminal or fake lines.
var hostileNames = []string{
	"\x1b[2J\x1b[31mred", "two\nFINDINGS: 0", "tab\tand\rreturn", "bell\a\b", "\u202egnp.exe", "\u2066isolate", "nul\x00", "c1\u009b31m", "del\x7f",
	"zero\u200bwidth", "line\u2028separator", "bom\ufeff", "tag\U000E0041",
}

// checkPrintable demands that text holds nothing but printable characters and
// line ends.
func checkPrintable(t *testing.T, what, text string) {
	t.Helper()
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%s holds %U:\n%q", what, r, text)
			return
		}
	}
}

// Keys that others chose, in folders and in a signed digest, are shown quoted.
func TestVerifyHostileNames(t *testing.T) {
	signIn(t)
	s := newSite(t)
	var want []string
	for _, name := range hostileNames {
		for _, kind := range []string{trail.DigestFolder, trail.LogFolder} {
			s.Put("trail-bucket", s.chain.Place().Day(kind, begin)+name, testtrail.Stored{Body: []byte("x")})
			want = append(want, "foreign-object")
		}
		s.Put("trail-bucket", s.chain.Place().Regions(trail.LogFolder)+name+"/x", testtrail.Stored{Body: []byte("x")})
		want = append(want, "foreign-object")
	}
	s.chain.ReissueFrom(6, func(d *testtrail.Doc) {
		for _, name := range hostileNames {
			l := d.Logs[0]
			l.Object = "AWSLogs/" + owner + "/CloudTrail-Insight/" + name
			d.Logs = append(d.Logs, l)
			want = append(want, "log-missing")
			l.Bucket, l.Object = name, name
			d.Logs = append(d.Logs, l)
			want = append(want, "log-misplaced")
		}
	})
	file := filepath.Join(t.TempDir(), "r.txt")
	got, r := s.verify(t, "s3://trail-bucket", "--report", file)
	if r == nil {
		t.Fatalf("%+v", got)
	}
	count := map[string]int{}
	for _, f := range r.Findings {
		count[string(f.Class)]++
	}
	for _, class := range want {
		count[class]--
	}
	for class, n := range count {
		if n != 0 {
			t.Errorf("%+d of %s", n, class)
		}
	}
	checkPrintable(t, "stdout", got.out)
	checkPrintable(t, "stderr", got.err)
	text, err := os.ReadFile(file)
	if err != nil || string(text) != got.out {
		t.Errorf("%v, report\n%s", err, text)
	}
	checkPrintable(t, "JSON", s.json)
	if n := strings.Count(got.out, "\nFINDINGS: "); n != 1 {
		t.Errorf("%d lines FINDINGS", n)
	}
}

// A digest in a folder names files outside it: they are never read, though
// what they hold has the signed hash.
func TestVerifyNamesOutsideTheFolder(t *testing.T) {
	signIn(t)
	s := newSite(t)
	outside := t.TempDir()
	folder := filepath.Join(outside, "in", "copy")
	secret := filepath.Join(outside, "secret")
	stored, _ := s.Stored("trail-bucket", s.chain.Issued[6].Logs[0].Key)
	if err := os.WriteFile(secret, stored.Body, 0o600); err != nil {
		t.Fatal(err)
	}
	keys := []string{
		"../../secret", secret, "/" + secret, "AWSLogs/../../../secret", "AWSLogs/../../../../" + secret, "./../../secret",
		"AWSLogs/" + owner + "/CloudTrail/us-east-1/2026/03/01/../../../../../../../../secret", "..", "", "/",
	}
	var wrong int
	s.chain.ReissueFrom(6, func(d *testtrail.Doc) {
		for _, k := range keys {
			if k == "" {
				continue
			}
			l := d.Logs[0]
			l.Object = k
			d.Logs = append(d.Logs, l)
			wrong++
		}
	})
	heads := map[string]bool{s.chain.Issued[6].Key: true, s.other.Issued[6].Key: true}
	if err := s.WriteFolder("trail-bucket", folder, func(key string) bool { return heads[key] }); err != nil {
		t.Fatal(err)
	}
	got, r := s.verify(t, folder)
	if r == nil {
		t.Fatalf("%+v", got)
	}
	missing := 0
	for _, f := range r.Findings {
		if f.Class != "log-missing" {
			t.Errorf("%+v", f)
		}
		missing++
	}
	if missing != wrong || r.Counts.Logs.Valid != siteLogs || r.Counts.Logs.Invalid != wrong || len(r.Unverified) > 0 {
		t.Errorf("%d missing, logs %+v\n%s", missing, r.Counts.Logs, got.out)
	}
}

// Digests with a time to come, and links that go in circles, end.
func TestVerifyFutureAndLoops(t *testing.T) {
	signIn(t)
	rows := []struct {
		name string
		do   func(*site)
		want string
	}{
		{"signed digests after now", func(s *site) { s.now = begin.Add(90 * time.Minute) },
			"UNVERIFIED clock d2\nUNVERIFIED clock d3\nUNVERIFIED clock d4\nUNVERIFIED clock d5\nUNVERIFIED clock d6\n" +
				"UNVERIFIED clock m-d2\nUNVERIFIED clock m-d3\nUNVERIFIED clock m-d4\nUNVERIFIED clock m-d5\nUNVERIFIED clock m-d6"},
		{"planted digest an hour after the newest", func(s *site) { plantDigest(s, s.chain.Now().Add(time.Hour)) }, ""},
		{"planted digest a day after the newest", func(s *site) { plantDigest(s, s.chain.Now().AddDate(0, 0, 1)) }, ""},
		{"planted digest of the year 9999", func(s *site) { plantDigest(s, time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)) }, ""},
		{"planted digest a minute before the end", func(s *site) { plantDigest(s, s.chain.Now().Add(-time.Minute)) },
			"digest-corrupt AWSLogs/111122223333/CloudTrail-Digest/us-east-1/2026/03/01/111122223333_CloudTrail-Digest_us-east-1_main_us-east-1_20260301T060711Z.json.gz"},
		{"names itself", func(s *site) { s.chain.Reissue(6, func(d *testtrail.Doc) { d.PrevObject = &d.Object }) }, "chain-hole d6"},
		{"names its successor", func(s *site) {
			next := s.chain.Issued[6].Key
			s.chain.ReissueFrom(5, func(d *testtrail.Doc) { d.PrevObject = &next })
		}, "chain-hole d5"},
		{"names a digest of the year 1970", func(s *site) {
			old := s.chain.Name().Digest(time.Unix(0, 0)).String()
			s.chain.ReissueFrom(6, func(d *testtrail.Doc) { d.PrevObject = &old })
		}, "chain-hole d6"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			row.do(s)
			got, r := s.verify(t, "s3://trail-bucket")
			if r == nil {
				t.Fatalf("%+v", got)
			}
			if lines := s.lines(r); lines != row.want {
				t.Errorf("got\n%s\nwant\n%s\n%s", lines, row.want, got.out)
			}
		})
	}
}

func plantDigest(s *site, end time.Time) {
	s.Put("trail-bucket", s.chain.Name().Digest(end).String(), testtrail.Stored{Body: testtrail.Gzip([]byte("{}")), Modified: end})
}
