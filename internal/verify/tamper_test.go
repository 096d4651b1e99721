package verify_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Every tampering stands beside the untouched control (TestIntact): a chain of
// a starting digest d0 and six hours d1 to d6 with the logs l<i>.0 and l<i>.1.
func TestTamper(t *testing.T) {
	log := func(s *site, i, j int) trail.Object { return s.c.Issued[i].Logs[j] }
	edit := func(s *site, key string, change func([]byte) []byte) {
		s.Edit(bucket, key, func(o *testtrail.Stored) { o.Body = change(o.Body) })
	}
	append0 := func(b []byte) []byte { return append(b, 0) }
	rows := []struct {
		name   string
		tamper func(*site)
		want   string
	}{
		{"log: one byte of content", func(s *site) {
			edit(s, log(s, 3, 1).Key, func([]byte) []byte { return testtrail.Gzip([]byte(`{"Records":[]}`)) })
		}, "log-modified l3.1"},
		{"log: gone", func(s *site) { s.Delete(bucket, log(s, 2, 0).Key) }, "log-missing l2.0"},
		{"log: empty object", func(s *site) {
			edit(s, log(s, 2, 0).Key, func([]byte) []byte { return nil })
		}, "log-corrupt l2.0"},
		{"log: not gzip", func(s *site) {
			edit(s, log(s, 2, 0).Key, func([]byte) []byte { return []byte("hello") })
		}, "log-corrupt l2.0"},
		{"log: byte after the end", func(s *site) { edit(s, log(s, 2, 0).Key, append0) }, "log-corrupt l2.0"},
		{"log: second member", func(s *site) {
			edit(s, log(s, 2, 0).Key, func(b []byte) []byte { return append(b, testtrail.Gzip([]byte("x"))...) })
		}, "log-corrupt l2.0"},
		{"log: trailer cut off", func(s *site) {
			edit(s, log(s, 2, 0).Key, func(b []byte) []byte { return b[:len(b)-3] })
		}, "log-corrupt l2.0"},
		{"log: planted", func(s *site) {
			s.c.Deliver(s.c.Issued[3].End.Add(-20*time.Minute), s.Log(1))
		}, "log-unlisted "},
		{"log: planted in the last hour, whose neighbour is not there yet", func(s *site) {
			s.c.Deliver(s.c.Issued[6].End.Add(-20*time.Minute), s.Log(1))
		}, ""},
		{"log: foreign name in a log folder", func(s *site) {
			s.Put(bucket, s.c.Place().Day(trail.LogFolder, day)+"note.txt", testtrail.Stored{Body: []byte("x")})
		}, "foreign-object " + "AWSLogs/111122223333/CloudTrail/us-east-1/2026/03/01/note.txt"},
		{"folder markers", func(s *site) {
			for _, k := range []string{"AWSLogs/", "AWSLogs/111122223333/CloudTrail/", s.c.Place().Day(trail.LogFolder, day), s.c.Place().Day(trail.DigestFolder, day)} {
				s.Put(bucket, k, testtrail.Stored{})
			}
		}, ""},

		{"digest: one byte of content", func(s *site) {
			edit(s, s.c.Issued[3].Key, func([]byte) []byte {
				return testtrail.Gzip(bytes.Replace(s.c.Issued[3].Body, []byte(`"SHA-256"`), []byte(`"SHA-256" `), 1))
			})
		}, "UNVERIFIED no-signature l3.0\nchain-mismatch d3"},
		{"digest: metadata gone", func(s *site) {
			s.Edit(bucket, s.c.Issued[3].Key, func(o *testtrail.Stored) { o.Meta = nil })
		}, "digest-signature d3"},
		{"digest: newest without metadata", func(s *site) {
			s.Edit(bucket, s.c.Issued[6].Key, func(o *testtrail.Stored) { o.Meta = nil })
		}, "digest-signature d6"},
		{"digest: signature not hex", func(s *site) {
			s.Edit(bucket, s.c.Issued[3].Key, func(o *testtrail.Stored) { o.Meta[digest.MetaSignature] = "zz" })
		}, "digest-signature d3"},
		{"digest: other algorithm", func(s *site) {
			s.Edit(bucket, s.c.Issued[3].Key, func(o *testtrail.Stored) { o.Meta[digest.MetaSignatureAlgorithm] = "none" })
		}, "digest-signature d3"},
		{"digest: gone", func(s *site) { s.Delete(bucket, s.c.Issued[3].Key) }, "UNVERIFIED no-signature l3.0\ndigest-missing d3"},
		{"digest: two neighbours gone", func(s *site) {
			s.Delete(bucket, s.c.Issued[3].Key)
			s.Delete(bucket, s.c.Issued[4].Key)
		}, "UNVERIFIED no-signature l3.0\nUNVERIFIED no-signature l4.0\ndigest-missing d3\ndigest-missing d4"},
		{"digest: newest three gone", func(s *site) {
			for i := 4; i <= 6; i++ {
				s.Delete(bucket, s.c.Issued[i].Key)
			}
		}, "coverage 03:08-05:08"}, // grace: 2 h before now, 07:08
		{"digest: oldest asked gone", func(s *site) { s.Delete(bucket, s.c.Issued[1].Key) }, "UNVERIFIED no-signature l1.1\ndigest-missing d1"},
		{"digest: all gone", func(s *site) {
			for _, d := range s.c.Issued {
				s.Delete(bucket, d.Key)
			}
		}, "coverage 00:08-06:08"},
		{"digest: truncated", func(s *site) {
			edit(s, s.c.Issued[3].Key, func(b []byte) []byte { return b[:len(b)/2] })
		}, "UNVERIFIED no-signature l3.0\ndigest-corrupt d3"},
		{"digest: trailing byte", func(s *site) { edit(s, s.c.Issued[3].Key, append0) }, "digest-corrupt d3"},
		{"digest: no JSON", func(s *site) {
			edit(s, s.c.Issued[3].Key, func([]byte) []byte { return testtrail.Gzip([]byte("[]")) })
		}, "UNVERIFIED no-signature l3.0\nchain-mismatch d3"},
		{"digest: duplicate member, signed", func(s *site) {
			d := s.c.Issued[6]
			s.c.SignBody(d, append([]byte(`{"awsAccountId":"999999999999",`), d.Body[1:]...))
		}, "digest-corrupt d6"},
		{"digest: another hour's, moved here", func(s *site) {
			o, _ := s.Stored(bucket, s.c.Issued[2].Key)
			s.Put(bucket, s.c.Issued[3].Key, o)
		}, "UNVERIFIED no-signature l3.0\nchain-mismatch d3"},
		{"digest: another account's chain, moved here", func(s *site) {
			other := s.trail.Chain("444455556666", region, day)
			other.Hours(6)
			for i, d := range other.Issued {
				o, _ := s.Stored(bucket, d.Key)
				s.Put(bucket, s.c.Issued[i].Key, o)
			}
			s.cfg.Accounts = []string{account}
		}, "coverage 00:08-06:08\ncoverage 00:08-06:08\ndigest-moved d1\ndigest-moved d2\ndigest-moved d3\ndigest-moved d4\ndigest-moved d5\ndigest-moved d6"},
		{"digest: signed for another account", func(s *site) {
			s.c.ReissueFrom(6, func(d *testtrail.Doc) { d.Account = "444455556666" })
		}, "digest-moved d6"},
		{"digest: substituted, validly signed", func(s *site) {
			s.c.Reissue(3, func(d *testtrail.Doc) { d.Logs = d.Logs[:1] })
		}, "UNVERIFIED no-signature l3.0\nchain-mismatch d3"},
		{"digest: planted key", func(s *site) {
			s.Put(bucket, s.c.Place().Day(trail.DigestFolder, day)+"111122223333_CloudTrail-Digest_us-east-1_main_us-east-1_99999999T999999Z.json.gz", testtrail.Stored{Body: []byte("x")})
		}, "foreign-object AWSLogs/111122223333/CloudTrail-Digest/us-east-1/2026/03/01/111122223333_CloudTrail-Digest_us-east-1_main_us-east-1_99999999T999999Z.json.gz"},
		{"digest: planted between two", func(s *site) {
			s.Put(bucket, s.c.Name().Digest(s.c.Issued[3].End.Add(time.Minute)).String(), testtrail.Stored{Body: testtrail.Gzip([]byte("{}"))})
		}, "digest-corrupt " + "AWSLogs/111122223333/CloudTrail-Digest/us-east-1/2026/03/01/111122223333_CloudTrail-Digest_us-east-1_main_us-east-1_20260301T030911Z.json.gz"},
		{"chain: fork", func(s *site) {
			s.c.Reissue(4, func(d *testtrail.Doc) {
				d.End = strings.Replace(d.End, ":11Z", ":12Z", 1)
				d.Object = strings.Replace(d.Object, "11Z", "12Z", 1)
			})
		}, "chain-hole AWSLogs/111122223333/CloudTrail-Digest/us-east-1/2026/03/01/111122223333_CloudTrail-Digest_us-east-1_main_us-east-1_20260301T040812Z.json.gz"},
		{"chain: loop", func(s *site) {
			s.c.Reissue(6, func(d *testtrail.Doc) { d.PrevObject = &d.Object })
		}, "chain-hole d6"},
		{"chain: windows leave a hole", func(s *site) {
			s.c.ReissueFrom(4, func(d *testtrail.Doc) { d.Start = strings.Replace(d.Start, ":08:", ":20:", 1) })
		}, "chain-hole d4"},
		{"chain: windows overlap", func(s *site) {
			s.c.ReissueFrom(4, func(d *testtrail.Doc) { d.Start = strings.Replace(d.Start, ":08:", ":01:", 1) })
		}, "chain-hole d4"},
		{"chain: predecessor of another trail", func(s *site) {
			s.c.ReissueFrom(6, func(d *testtrail.Doc) {
				o := strings.Replace(*d.PrevObject, "_main_", "_other_", 1)
				d.PrevObject = &o
			})
		}, "chain-hole d6"},
		{"key: unknown", func(s *site) {
			s.c.ReissueFrom(6, func(d *testtrail.Doc) { d.Fingerprint = strings.Repeat("ab", 16) })
		}, "digest-key-unknown d6"},
		{"key: of another region", func(s *site) {
			other := s.trail.Chain(account, "eu-west-1", day)
			fp := other.Issued[0].Doc.Fingerprint
			s.Delete(bucket, other.Issued[0].Key)
			s.c.ReissueFrom(6, func(d *testtrail.Doc) { d.Fingerprint = fp })
		}, "digest-key-unknown d6"},
		{"misplaced: log of another account", func(s *site) {
			s.c.ReissueFrom(6, func(d *testtrail.Doc) {
				d.Logs[0].Object = strings.ReplaceAll(d.Logs[0].Object, account, "444455556666")
			})
		}, "log-misplaced AWSLogs/444455556666"},
		{"misplaced: listed twice", func(s *site) {
			s.c.ReissueFrom(6, func(d *testtrail.Doc) { d.Logs = append(d.Logs, d.Logs[0]) })
		}, "log-misplaced l6.0"},
		{"misplaced: other bucket", func(s *site) {
			s.c.ReissueFrom(6, func(d *testtrail.Doc) { d.Logs[1].Bucket = "elsewhere" })
		}, "log-misplaced l6.1"},

		{"fault: log 403", func(s *site) {
			s.Fail(bucket, log(s, 2, 0).Key, &testtrail.Fault{Err: fmt.Errorf("get: %w", fs.ErrPermission)})
		}, "UNVERIFIED access-denied l2.0"},
		{"fault: log archived", func(s *site) {
			s.Fail(bucket, log(s, 2, 0).Key, &testtrail.Fault{Err: fmt.Errorf("get: %w", finding.ErrArchived)})
		}, "UNVERIFIED archived l2.0"},
		{"fault: log KMS", func(s *site) {
			s.Fail(bucket, log(s, 2, 0).Key, &testtrail.Fault{Err: fmt.Errorf("get: %w", finding.ErrKMSDenied)})
		}, "UNVERIFIED kms-denied l2.0"},
		{"fault: log body breaks off for ever", func(s *site) {
			s.Fail(bucket, log(s, 2, 0).Key, &testtrail.Fault{Err: errors.New("connection reset"), Cut: 40})
		}, "UNVERIFIED network l2.0"},
		{"fault: log body breaks off once", func(s *site) {
			s.Fail(bucket, log(s, 2, 0).Key, &testtrail.Fault{Err: errors.New("connection reset"), Cut: 40, Times: 1})
		}, ""},
		{"fault: digest throttled", func(s *site) {
			s.Fail(bucket, s.c.Issued[3].Key, &testtrail.Fault{Err: fmt.Errorf("get: %w", finding.ErrThrottled)})
		}, "UNVERIFIED no-signature l3.0\nUNVERIFIED throttled d3"},
		{"fault: no keys", func(s *site) { s.KeysErr = errors.New("timeout") },
			"UNVERIFIED no-keys d1\nUNVERIFIED no-keys d2\nUNVERIFIED no-keys d3\nUNVERIFIED no-keys d4\nUNVERIFIED no-keys d5\nUNVERIFIED no-keys d6"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(testtrail.Options{}, 6)
			row.tamper(s)
			r := s.run(t)
			if got := s.summary(r); got != row.want && !(strings.HasSuffix(row.want, "AWSLogs/444455556666") && strings.HasPrefix(got, row.want)) &&
				!(strings.HasSuffix(row.want, " ") && strings.HasPrefix(got, row.want) && !strings.Contains(got, "\n")) {
				t.Errorf("got\n%s\nwant\n%s", got, row.want)
			}
			if v := r.Verdict; (v == report.Findings) != (len(r.Findings) > 0) || (v == report.Intact) != (row.want == "") {
				t.Errorf("verdict %s", v)
			}
		})
	}
}
