package main

import (
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/digest"
)

// backfill adds a backfill chain of n hours with one log file each, which
// begins without a starting digest of its own.
func backfill(n int, tamper func(*scene, *testtrail.Chain)) func(*scene) {
	return func(s *scene) {
		b := s.chain.Backfill(begin)
		for range n {
			b.Hour(s.Log(1))
		}
		if tamper != nil {
			tamper(s, b)
		}
	}
}

// Rows about backfill digests.
var backfillRows = []parity{
	{name: "backfill", tamper: backfill(3, nil)},
	{name: "backfill, not verbose", tamper: backfill(3, nil), drop: []string{"--verbose"}},
	{name: "backfill only", tamper: func(s *scene) {
		backfill(3, nil)(s)
		for i := range 5 {
			s.deleteDigest(i)
		}
	}},
	{name: "backfill digest deleted", tamper: backfill(3, func(s *scene, b *testtrail.Chain) { s.Delete(b.Issued[1].Bucket, b.Issued[1].Key) })},
	{name: "backfill digest deleted, not verbose", tamper: backfill(3, func(s *scene, b *testtrail.Chain) { s.Delete(b.Issued[1].Bucket, b.Issued[1].Key) }), drop: []string{"--verbose"}},
	{name: "all backfill digests bad", tamper: backfill(2, func(s *scene, b *testtrail.Chain) {
		for _, d := range b.Issued {
			s.Edit(d.Bucket, d.Key, func(o *testtrail.Stored) { o.Body = nil })
		}
	})},
	{name: "backfill log modified", tamper: backfill(2, func(s *scene, b *testtrail.Chain) {
		s.EditLog(b.Issued[0].Logs[0], func(b []byte) []byte { return append(b, ' ') })
	})},
	{name: "backfill log deleted", tamper: backfill(2, func(s *scene, b *testtrail.Chain) { s.Delete("trail-bucket", b.Issued[0].Logs[0].Key) })},
	{name: "backfill gap", tamper: backfill(2, func(s *scene, b *testtrail.Chain) { b.Skip(time.Hour); b.Hour(s.Log(1)) })},
	{name: "backfill digest unsigned", tamper: backfillMeta(func(m map[string]string) { delete(m, digest.MetaSignature) })},
	{name: "backfill digest signed wrongly", tamper: backfillMeta(func(m map[string]string) { m[digest.MetaSignature] = strings.Repeat("0", 512) })},
	{name: "backfill without its time", tamper: backfillMeta(func(m map[string]string) { delete(m, digest.MetaBackfillGenerated) })},
	{name: "backfill with no time for its time", tamper: backfillMeta(func(m map[string]string) { m[digest.MetaBackfillGenerated] = "yesterday noon" })},
	{name: "backfill with another form of time", tamper: backfillMeta(func(m map[string]string) { m[digest.MetaBackfillGenerated] = "20260301T020000Z" })},
	{name: "newest backfill with no time for its time", tamper: backfill(2, func(s *scene, b *testtrail.Chain) {
		s.Edit("trail-bucket", b.Issued[1].Key, func(o *testtrail.Stored) { o.Meta[digest.MetaBackfillGenerated] = "yesterday" })
	})},
	{name: "backfill generated when there were no keys", tamper: func(s *scene) {
		all := s.digest(1).Doc.Fingerprint
		backfill(2, func(s *scene, b *testtrail.Chain) {
			s.Edit("trail-bucket", b.Issued[1].Key, func(o *testtrail.Stored) { o.Meta[digest.MetaBackfillGenerated] = "2016-02-03T04:05:06Z" })
		})(s)
		s.EditKeys = func(k []digest.Key) []digest.Key {
			if len(k) == 0 || k[0].Fingerprint != all && k[len(k)-1].Fingerprint != all || k[0].From.Year() < 2020 {
				return nil
			}
			return k
		}
	}},
	{name: "backfill of another key", tamper: backfill(2, func(s *scene, b *testtrail.Chain) {
		s.Edit("trail-bucket", b.Issued[1].Key, func(o *testtrail.Stored) { o.Meta[digest.MetaBackfillGenerated] = "2026-06-15T12:00:00Z" })
	})},
	{name: "backfill moved", tamper: backfill(2, func(s *scene, b *testtrail.Chain) {
		o, _ := s.Stored("trail-bucket", b.Issued[0].Key)
		s.Put("trail-bucket", b.Issued[1].Key, o)
	})},
	{name: "backfill keys denied", tamper: func(s *scene) {
		backfill(2, nil)(s)
		f := testaws.Denied().On("ListPublicKeys", "", "")
		f.Skip = 1
		s.aws.Fail(f)
	}, ours: func(s *scene) said {
		key := func(i int) string {
			return strings.TrimSuffix(s.uri(i), ".json.gz") + "_backfill.json.gz"
		}
		out := s.summary("04:08:11", "5/5 digest files valid\n0/2 backfill digest files valid, 2/2 backfill digest files UNVERIFIED", "8/8 log files valid")
		return said{out, "(backfill) Digest file\t" + key(2) + "\tUNVERIFIED: access-denied\n\n(backfill) Digest file\t" + key(1) + "\tUNVERIFIED: access-denied\n\n" +
			"error: 2 files could not be checked, the first: public keys of us-east-1: list public keys of us-east-1: AccessDeniedException: " + testaws.Denied().Message + "\n", 255}
	}, why: "keys that cannot be had for some digests do not end the run"},
}

func backfillMeta(change func(map[string]string)) func(*scene) {
	return backfill(3, func(s *scene, b *testtrail.Chain) {
		s.Edit("trail-bucket", b.Issued[1].Key, func(o *testtrail.Stored) { change(o.Meta) })
	})
}

// Rows about the command line and the calls that begin a run.
var commandRows = []parity{
	{name: "described", drop: []string{"--s3-bucket"}},
	{name: "described with a prefix", options: testtrail.Options{Prefix: "a/b", Bucket: "other-bucket", Name: "x_us-east-1_y"}, drop: []string{"--s3-bucket"}},
	{name: "described in another region", tamper: func(s *scene) { s.trail.Chain(owner, "eu-west-1", begin).Hours(2) }, args: []string{"--region=eu-west-1"}, drop: []string{"--s3-bucket"}},
	{name: "a given prefix without a bucket", args: []string{"--s3-prefix=x"}, drop: []string{"--s3-bucket"}},
	{name: "unknown trail", args: []string{"--trail-arn=arn:aws:cloudtrail:us-east-1:111122223333:trail/none"}, drop: []string{"--s3-bucket"}},
	{name: "describing denied", tamper: func(s *scene) { s.aws.Fail(testaws.Denied().On("DescribeTrails", "", "")) }, drop: []string{"--s3-bucket"}, anyText: true},
	{name: "organization", options: testtrail.Options{Organization: "o-0123456789"}, args: []string{"--account-id=" + member}, drop: []string{"--s3-bucket"}},
	{name: "organization, log deleted", options: testtrail.Options{Organization: "o-0123456789"}, tamper: func(s *scene) { s.deleteLog(2, 0) }, args: []string{"--account-id=" + member}, drop: []string{"--s3-bucket"}},
	{name: "organization without an account", options: testtrail.Options{Organization: "o-0123456789"}, drop: []string{"--s3-bucket"}},
	{name: "organization with a given bucket", options: testtrail.Options{Organization: "o-0123456789"}, args: []string{"--account-id=" + member}},
	{name: "organization denied", options: testtrail.Options{Organization: "o-0123456789"}, tamper: func(s *scene) { s.aws.Organization = "" },
		args: []string{"--account-id=" + member}, drop: []string{"--s3-bucket"}, anyText: true},

	{name: "no ARN", args: []string{"--trail-arn=main"}},
	{name: "ARN of something else", args: []string{"--trail-arn=arn:aws:s3:us-east-1:111122223333:trail/main"}},
	{name: "ARN with a short account", args: []string{"--trail-arn=arn:aws:cloudtrail:us-east-1:1111:trail/main"}},
	{name: "ARN of another partition", args: []string{"--trail-arn=arn:aws-cn:cloudtrail:us-east-1:111122223333:trail/main"}},
	{name: "ARN with more after the name", args: []string{"--trail-arn=arn:aws:cloudtrail:us-east-1:111122223333:trail/x/main"}},
	{name: "start no date", args: []string{"--start-time=soon"}},
	{name: "end no date", args: []string{"--end-time=later"}},
	{name: "start no date and end neither", args: []string{"--start-time=soon", "--end-time=later"}},
	{name: "start after end", args: []string{"--start-time=2026-03-02T00:00:00Z"}},
	{name: "start after end and no ARN", args: []string{"--trail-arn=main", "--start-time=2026-03-02T00:00:00Z"}},
	{name: "start in the future", args: []string{"--start-time=2126-03-02T00:00:00Z"}, drop: []string{"--end-time"}},

	{name: "dates without a zone", args: []string{"--start-time=2026-03-01 01:02:03", "--end-time=2026-03-01T03:04:05"}},
	{name: "dates alone", args: []string{"--start-time=2026-03-01", "--end-time=2026-03-02"}},
	{name: "no end", drop: []string{"--end-time"}, anyText: true}, // now is another one for each
	{name: "dates in words", args: []string{"--start-time=March 1, 2026 01:00:00 UTC", "--end-time=2 Mar 2026"}},
	{name: "dates of letters", args: []string{"--start-time=Sun, 01 Mar 2026 01:00:00 GMT", "--end-time=Mon Mar  2 05:06:07 UTC 2026"}},
	{name: "dates with slashes", args: []string{"--start-time=2026/03/01", "--end-time=03/02/2026 3:04 PM"}},
	{name: "dates compact", args: []string{"--start-time=20260301T010203Z", "--end-time=20260302"}},
	{name: "dates with fractions", args: []string{"--start-time=2026-03-01T01:02:03.456Z", "--end-time=2026-03-01T03:04:05.999999Z"}},
	{name: "dates with an offset", args: []string{"--start-time=2026-03-01T01:00:00+01:00"},
		ours: func(s *scene) said {
			return said{out: s.summary("04:08:11", "5/5 digest files valid", "8/8 log files valid")}
		},
		why: "the reference drops the offset and validates another hour"},

	{name: "no trail ARN", drop: []string{"--trail-arn"}, ours: usageSaid("missing flags: --trail-arn=STRING"), why: whyUsage},
	{name: "no start", drop: []string{"--start-time"}, ours: usageSaid("missing flags: --start-time=STRING"), why: whyUsage},
	{name: "unknown flag", args: []string{"--bogus=1"}, ours: usageSaid("unknown flag --bogus"), why: whyUsage},

	{name: "region of the environment is another", tamper: func(s *scene) {
		s.env = []string{"AWS_REGION=eu-west-1", "AWS_DEFAULT_REGION=eu-west-1"}
	}, drop: []string{"--region"}, ours: func(s *scene) said {
		return said{out: s.summary("04:08:11", "5/5 digest files valid", "8/8 log files valid")}
	},
		why: "the reference then walks the home region and asks the other one for its keys: all is INVALID to it"},
	{name: "no region", tamper: func(s *scene) { s.env = []string{"AWS_REGION=", "AWS_DEFAULT_REGION="} }, drop: []string{"--region"},
		ours: func(s *scene) said {
			return said{out: s.summary("04:08:11", "5/5 digest files valid", "8/8 log files valid")}
		},
		why: "the reference asks for a region, though it would walk the home region"},
	{name: "region of the environment", drop: []string{"--region"}},
	{name: "unknown profile", args: []string{"--profile=nobody"}, ours: func(s *scene) said {
		return said{err: "error: load AWS configuration: no such AWS profile: nobody\nhint: aws configure list-profiles lists the profiles\n", exit: 255}
	}, why: "the words are ours; the exit code is the same"},
}

const whyUsage = "version 1 of the AWS CLI exits 2 or 255 here, version 2 exits 252; the words are ours"

func usageSaid(message string) func(*scene) said {
	return func(*scene) said {
		return said{err: "error: " + message + "\nhint: verifier validate-logs -h lists the flags\n", exit: 252}
	}
}
