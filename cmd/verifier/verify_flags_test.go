package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// request is a run of verify and what it must say.
type request struct {
	name   string
	change func(*site) // of the site that all rows begin with
	source string      // "": s3://trail-bucket
	args   []string
	want   string // lines of the report
	text   string // also on stdout
}

func (q request) run(t *testing.T) {
	t.Helper()
	s := newSite(t)
	if q.change != nil {
		q.change(s)
	}
	source := q.source
	if source == "" {
		source = "s3://trail-bucket"
	}
	got, r := s.verify(t, source, q.args...)
	if r == nil {
		t.Fatalf("no report: %+v", got)
	}
	if lines := s.lines(r); lines != q.want {
		t.Errorf("got\n%s\nwant\n%s\n%s", lines, q.want, got.out)
	}
	if !strings.Contains(got.out, q.text) {
		t.Errorf("stdout lacks %q\n%s", q.text, got.out)
	}
}

func runAll(t *testing.T, all []request) {
	t.Helper()
	for _, q := range all {
		t.Run(q.name, func(t *testing.T) {
			t.Parallel()
			q.run(t)
		})
	}
}

// plantLog puts a log file with a stamp into the folder of a day.
func plantLog(s *site, place trail.Place, stamp, day time.Time) string {
	k := trail.LogKey{Place: place, Stamp: stamp, Day: day, Unique: "abcdefghijklmnop"}.String()
	s.Put("trail-bucket", k, testtrail.Stored{Body: testtrail.Gzip(s.Log(1))})
	return k
}

// copyBucket puts all objects of the trail's bucket into another one.
func copyBucket(s *site, to string) {
	keys, _ := s.Keys("trail-bucket", "")
	for _, k := range keys {
		o, _ := s.Stored("trail-bucket", k)
		s.Put(to, k, o)
	}
}

func TestVerifyFlags(t *testing.T) {
	signIn(t)
	const (
		elsewhere = "AWSLogs/" + owner + "/CloudTrail/eu-west-1/"
		nobody    = "999999999999"
		alias     = "my-ap-aqfqprnstn7aefdfbarligizwgyfouse1a-s3alias"
		point     = "arn:aws:s3:us-east-1:" + owner + ":accesspoint"
	)
	unvalidated := func(s *site) {
		at := begin.Add(2 * time.Hour)
		plantLog(s, trail.Place{Account: owner, Region: "eu-west-1"}, at, begin)
	}
	oldFolder := trail.LogKey{
		Place: trail.Place{Account: owner, Region: "us-east-1"}, Stamp: begin.Add(2 * time.Hour),
		Day: begin.AddDate(0, -3, 0), Unique: "abcdefghijklmnop",
	}.String()
	inOldFolder := func(s *site) { plantLog(s, s.chain.Place(), begin.Add(2*time.Hour), begin.AddDate(0, -3, 0)) }
	behind := func(s *site) {
		s.aws.AccessPoints[alias], s.aws.AccessPoints["my-ap-"+owner] = "trail-bucket", "trail-bucket"
	}
	edited := func(change func(*site)) func(*site) {
		return func(s *site) {
			change(s)
			s.EditLog(s.chain.Issued[3].Logs[1], func(b []byte) []byte { return append(b, ' ') })
		}
	}
	runAll(t, []request{
		{name: "expected trail", args: []string{"--expect-trail=main"}},
		{name: "expected trail that is not there", args: []string{"--expect-trail=main", "--expect-trail=audit"},
			want: "coverage", text: "no chain matches --expect-trail audit; trails found: main"},
		{name: "expected account and region", args: []string{"--expect-account=" + owner, "--expect-region=us-east-1"}},
		{name: "expected account that is not there", args: []string{"--expect-account=" + nobody}, want: "coverage",
			text: "no chain matches --expect-account " + nobody + "; accounts found: " + owner + ", " + member},

		{name: "account", args: []string{"--account=" + owner}, text: "in 1 chain"},
		{name: "account that is not there", args: []string{"--account=" + nobody}, want: "coverage",
			text: "no chain matches --account " + nobody + "; accounts found: " + owner + ", " + member},
		{name: "region that is not there", args: []string{"--region=ap-south-1"}, want: "coverage",
			text: "no chain matches --region ap-south-1; regions found: us-east-1"},
		{name: "trail that is not there", args: []string{"--trail=audit"}, want: "coverage",
			text: "no chain matches --trail audit; trails found: main"},

		{name: "place without validation", change: unvalidated, want: "coverage", text: "is log file validation switched on?"},
		{name: "place without validation, excepted", change: unvalidated, args: []string{"--except=" + elsewhere},
			text: "not checked, as asked: everything below " + elsewhere},
		{name: "another place excepted", change: unvalidated, args: []string{"--except=AWSLogs/" + owner + "/CloudTrail/eu-west-2/"}, want: "coverage"},
		{name: "begin of a name excepted", change: unvalidated, args: []string{"--except=" + strings.TrimSuffix(elsewhere, "-1/")}, want: "coverage"},
		{name: "log folder excepted, and not the digests", args: []string{"--except=AWSLogs/" + owner + "/CloudTrail"}, text: "12/12 digests"},

		{name: "folder of another day", change: inOldFolder},
		{name: "folder of another day, all folders", change: inOldFolder, args: []string{"--all-folders"}, want: "foreign-object " + oldFolder},
		{name: "all folders", args: []string{"--all-folders"}},

		{name: "access point", change: behind, source: point + "/my-ap", text: "original bucket: trail-bucket"},
		{name: "access point with a colon", change: behind, source: point + ":my-ap", text: "12/12 digests"},
		{name: "access point with a prefix", change: behind, source: point + "/my-ap/AWSLogs/" + owner, text: "6/6 digests"},
		{name: "alias", change: behind, source: alias, text: "12/12 digests"},
		{name: "alias as bucket", change: behind, source: "s3://" + alias, text: "12/12 digests"},
		{name: "planted name behind an alias", change: func(s *site) {
			behind(s)
			keys, _ := s.Keys("trail-bucket", "AWSLogs/"+member+"/")
			for _, k := range keys {
				s.Delete("trail-bucket", k)
			}
			plantDigest(s, s.chain.Now().Add(30*time.Minute))
		}, source: alias,
			want: "digest-corrupt AWSLogs/" + owner + "/CloudTrail-Digest/us-east-1/2026/03/01/" + owner + "_CloudTrail-Digest_us-east-1_main_us-east-1_20260301T063811Z.json.gz"},
		{name: "edited behind an alias", change: edited(behind), source: alias, want: "log-modified l3.1"},
		{name: "edited behind an access point", change: edited(behind), source: point + "/my-ap", want: "log-modified l3.1"},
	})
}

// A replica has another name than the one that was signed. It alone is read.
func TestVerifyReplica(t *testing.T) {
	signIn(t)
	replica := func(s *site) { copyBucket(s, "replica") }
	editedIn := func(bucket string) func(*site) {
		return func(s *site) {
			replica(s)
			o := s.chain.Issued[3].Logs[1]
			o.Bucket = bucket
			s.EditLog(o, func(b []byte) []byte { return append(b, ' ') })
		}
	}
	option := []string{"--original-bucket=trail-bucket"}
	runAll(t, []request{
		{name: "original", change: replica},
		{name: "replica", change: replica, source: "s3://replica", args: option, text: "original bucket: trail-bucket"},
		{name: "edited replica", change: editedIn("replica"), source: "s3://replica", args: option, want: "log-modified l3.1"},
		{name: "edited original", change: editedIn("trail-bucket"), source: "s3://replica", args: option},
		{name: "deleted from the replica", change: func(s *site) {
			replica(s)
			s.Delete("replica", s.chain.Issued[3].Logs[1].Key)
		}, source: "s3://replica", args: option, want: "log-missing l3.1"},
	})
	for _, args := range [][]string{nil, {"--original-bucket=another"}} {
		s := newSite(t)
		replica(s)
		got, r := s.verify(t, "s3://replica", args...)
		if n := strings.Count(s.lines(r), "digest-moved "); n != siteDigests {
			t.Errorf("%q: %d digests moved\n%s", args, n, got.out)
		}
		if hints := strings.Count(got.out, "give --original-bucket trail-bucket"); hints != 1 {
			t.Errorf("%q: %d hints\n%s", args, hints, got.out)
		}
	}
}

// The end of a chain is a finding until it is acknowledged.
func TestVerifyEnded(t *testing.T) {
	signIn(t)
	const third = "777788889999"
	folder := t.TempDir()
	file := filepath.Join(folder, "ended")
	old := func(s *site) *testtrail.Chain {
		c := s.trail.Chain(third, "us-east-1", begin.AddDate(0, 0, -1))
		c.Hours(3)
		return c
	}
	inside := func(s *site) { s.trail.Chain(third, "us-east-1", begin).Hours(3) }
	for _, q := range []request{
		{name: "no end", args: []string{"--write-ended=" + file}},
		{name: "inside", change: inside, args: []string{"--write-ended=" + file}, want: "coverage", text: "no digest after the one that ends at 2026-03-01T03:08:11Z"},
		{name: "inside, acknowledged", change: inside, args: []string{"--ended=" + file}, want: "coverage", text: "no digest after the one that ends at 2026-03-01T03:08:11Z"},
		{name: "earlier", change: func(s *site) { old(s) }, args: []string{"--write-ended=" + file}, want: "coverage", text: "4h51m49s uncovered, 1h8m11s not-due"},
		{name: "acknowledged", change: func(s *site) { old(s) }, args: []string{"--ended=" + file}, text: "  6h ended\n\nENDED (1)"},
		{name: "acknowledged, and earlier now", change: func(s *site) {
			d := old(s).Issued[3]
			s.Delete(d.Bucket, d.Key)
		}, args: []string{"--ended=" + file}, want: "coverage", text: "earlier than its acknowledged end 2026-02-28T03:08:11Z: digests are gone"},
		{name: "acknowledged, and went on", change: func(s *site) { old(s).Hours(3) }, args: []string{"--ended=" + file}, want: "coverage",
			text: "2026-02-28T06:08:11Z"},
	} {
		if !t.Run(q.name, q.run) {
			return // the rows use what those before them wrote
		}
	}
	b, err := os.ReadFile(file)
	if line := third + " us-east-1 main us-east-1 - 2026-02-28T03:08:11Z\n"; err != nil || !strings.HasSuffix(string(b), line) {
		t.Errorf("%v\n%s", err, b)
	}
	for name, text := range map[string]string{"odd": "who knows\n", "absent": ""} {
		bad := filepath.Join(folder, name)
		if text != "" {
			if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, _ := newSite(t).verify(t, "s3://trail-bucket", "--ended="+bad); got.exit != exitUsage || !strings.HasPrefix(got.err, "error: --ended: ") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// StopLogging explains the gap of an organization's trail only where it names the
// trail of the management account.
func TestVerifyManagementAccount(t *testing.T) {
	signIn(t)
	const org = "o-0123456789"
	for _, row := range []struct {
		name   string
		caller string // the account whose trail the call names
		byARN  bool
		asked  string // the organization that AWS tells the caller of
		args   []string
		text   string
		not    string
	}{
		{"told", owner, false, "", []string{"--management-account=" + owner}, "; StopLogging by ", "possibly"},
		{"told, by ARN", owner, true, "", []string{"--management-account=" + owner}, "; StopLogging by ", "possibly"},
		{"asked of AWS", owner, false, org, nil, "; StopLogging by ", "possibly"},
		{"unknown", owner, false, "", nil, "; possibly StopLogging by ", "; StopLogging by "},
		{"another organization", owner, false, "o-9999999999", nil, "; possibly StopLogging by ", "; StopLogging by "},
		{"a member's own trail", member, false, org, nil, "nothing was digested\n", "StopLogging"},
		{"a member's own trail, by ARN", member, true, org, nil, "nothing was digested\n", "StopLogging"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.World = testtrail.New()
			s.aws.World, s.aws.Organization = s.World, row.asked
			s.trail = s.World.Trail(testtrail.Options{Organization: org})
			s.chain, s.other = s.trail.Chain(owner, "us-east-1", begin), s.trail.Chain(member, "us-east-1", begin)
			name := "main"
			if row.byARN {
				name = s.trail.ARN(row.caller).String()
			}
			for _, c := range []*testtrail.Chain{s.chain, s.other} {
				c.Hours(2)
				if c.Place().Account == row.caller {
					call := string(s.StopLogging(c.Now().Add(30*time.Minute), name))
					call = strings.Replace(call, `"recipientAccountId":"`+owner, `"recipientAccountId":"`+row.caller, 1)
					c.Hour(testtrail.LogOf(json.RawMessage(call)))
				} else {
					c.Hours(1)
				}
				c.Skip(2 * time.Hour)
				c.Restart(c.Now())
				c.Hours(1)
			}
			got, r := s.verify(t, "s3://trail-bucket", row.args...)
			if r == nil || s.lines(r) != "gap\ngap" {
				t.Fatalf("%+v", got)
			}
			if !strings.Contains(got.out, row.text) || strings.Contains(got.out, row.not) {
				t.Errorf("want %q and not %q\n%s", row.text, row.not, got.out)
			}
		})
	}
}

// What is over a limit is counted, the same in every format.
func TestVerifyLimits(t *testing.T) {
	signIn(t)
	for _, row := range []struct {
		name   string
		args   []string
		listed int
		folder map[string]int // omitted ones, by account
	}{
		{"defaults", nil, 8, nil},
		{"per folder", []string{"--max-findings-per-folder=2"}, 4, map[string]int{owner: 3, member: 1}},
		{"in all", []string{"--max-findings=3"}, 3, map[string]int{owner: 2, member: 3}},
		{"both", []string{"--max-findings=3", "--max-findings-per-folder=2"}, 3, map[string]int{owner: 3, member: 2}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t)
			for i := range 5 {
				s.Delete("trail-bucket", s.chain.Issued[1+i].Logs[0].Key)
			}
			for i := range 3 {
				s.Delete("trail-bucket", s.other.Issued[1+i].Logs[0].Key)
			}
			got, r := s.verify(t, "s3://trail-bucket", row.args...)
			if r == nil {
				t.Fatalf("%+v", got)
			}
			if len(r.Findings) != row.listed || r.Counts.Findings != 8 || len(r.Omitted) != len(row.folder) {
				t.Errorf("%d listed, omitted %+v, counts %+v", len(r.Findings), r.Omitted, r.Counts)
			}
			for _, o := range r.Omitted {
				account := strings.Split(o.Folder, "/")[4]
				if o.Count != row.folder[account] || o.Class != "log-missing" || !strings.Contains(got.out, o.Folder) {
					t.Errorf("%+v\n%s", o, got.out)
				}
			}
			if listed := strings.Count(got.out, "\nlog-missing  s3://"); listed != row.listed || !strings.Contains(got.out, "\nFINDINGS: 8: ") {
				t.Errorf("%d in the text\n%s", listed, got.out)
			}
		})
	}
}

// What hides the bucket behind an access point is told.
func TestVerifyAccessPointWithoutBucket(t *testing.T) {
	signIn(t)
	const alias = "my-ap-aqfqprnstn7aefdfbarligizwgyfouse1a-s3alias"
	for name, row := range map[string]struct {
		change func(*site)
		text   string
	}{
		"keys denied":    {func(s *site) { s.aws.Fail(testaws.Denied().On("ListPublicKeys", "", "")) }, "AccessDenied"},
		"digests denied": {func(s *site) { s.aws.Fail(testaws.AccessDenied().On("GetObject", "", "")) }, "AccessDenied"},
		"no keys":        {func(s *site) { s.NoKeys = true }, "no key"},
		"no digests": {func(s *site) {
			s.AddBucket("empty")
			s.aws.AccessPoints[alias] = "empty"
		}, "give --original-bucket\n"},
	} {
		s := newSite(t)
		s.aws.AccessPoints[alias] = "trail-bucket"
		row.change(s)
		got, r := s.verify(t, alias)
		if r != nil || got.exit != exitIncomplete || !strings.Contains(got.err, "no proven digest names the bucket behind the access point") || !strings.Contains(got.err, row.text) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A relative time begins so much earlier that runs leave no seam: what was not yet
// due in one is judged in the next.
func TestVerifyRelativeTimes(t *testing.T) {
	signIn(t)
	s := newSite(t)
	ask := func(want string, start time.Time, args ...string) {
		t.Helper()
		s.end = s.now
		got, r := s.verify(t, "s3://trail-bucket", args...)
		if r == nil || s.lines(r) != want || !r.Requested.Start.Equal(start) {
			t.Errorf("%q from %s: %+v", want, start, got)
		}
	}
	planted := plantLog(s, s.chain.Place(), begin.Add(5*time.Hour+30*time.Minute), begin)
	ask("", begin.Add(-2*time.Hour), "--start-time=6h")
	ask("", begin, "--start-time=2026-03-01")
	// The log could be listed by the digest of 07:08:11, which is not late.
	ask("UNVERIFIED no-signature "+planted, begin.Add(-30*time.Minute), "--start-time=6h", "--grace=30m")
	s.chain.Hours(6)
	s.other.Hours(6)
	s.now = s.now.Add(6 * time.Hour)
	ask("log-unlisted "+planted, s.now.Add(-9*time.Hour), "--start-time=6h")
	ask("", s.now.Add(-6*time.Hour), "--start-time="+s.now.Add(-6*time.Hour).Format(time.RFC3339))
}
