package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/testaws"
)

// dueLogs are the logs of owner that are due, told by their hour.
const dueLogs = "UNVERIFIED no-signature l1.0\nUNVERIFIED no-signature l2.0\nUNVERIFIED no-signature l3.0\n" +
	"UNVERIFIED no-signature l4.0\nUNVERIFIED no-signature l5.0"

// What AWS and the network do, beside the run without a fault. Where something
// could not be read, the exit is 3 and nothing is a finding.
func TestVerifyFaults(t *testing.T) {
	signIn(t)
	log := func(f testaws.Fault) func(*site) {
		return func(s *site) { o := s.chain.Issued[3].Logs[1]; s.aws.Fail(f.On("GetObject", o.Bucket, o.Key)) }
	}
	digest := func(i int, f testaws.Fault) func(*site) {
		return func(s *site) { d := s.chain.Issued[i]; s.aws.Fail(f.On("GetObject", d.Bucket, d.Key)) }
	}
	listing := func(prefix string, f testaws.Fault) func(*site) {
		return func(s *site) { s.aws.Fail(f.On("ListObjectsV2", "trail-bucket", prefix)) }
	}
	keys := func(f testaws.Fault) func(*site) {
		return func(s *site) { s.aws.Fail(f.On("ListPublicKeys", "", "")) }
	}
	everyDigest := func(reason string) string {
		var all []string
		for _, d := range []string{"d1", "d2", "d3", "d4", "d5", "d6"} {
			all = append(all, "UNVERIFIED "+reason+" "+d)
		}
		return strings.Join(all, "\n") + "\n" + strings.ReplaceAll(strings.Join(all, "\n"), " d", " m-d")
	}
	// The logs that only the third digest lists are told by their hour.
	behind := func(line string) string {
		lines := []string{line, "UNVERIFIED no-signature l3.0"}
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	// Without a listing of the digests, so are those of all hours that are due.
	unlisted := func(line string) string { return line + "\n" + dueLogs }
	const (
		oneLog    = siteLogs - 1
		oneDigest = siteDigests - 1
	)
	rows := []struct {
		name          string
		fault         func(*site)
		want          string // lines of the report
		digests, logs int    // valid ones
		text          string // also on stdout
	}{
		{"none", func(*site) {}, "", siteDigests, siteLogs, "INTACT: 12/12 digests and 24/24 log files valid in 2 chains"},

		{"log denied", log(testaws.AccessDenied()), "UNVERIFIED access-denied l3.1", siteDigests, oneLog, "AccessDenied: Access Denied"},
		{"log encrypted with a key that is denied", log(testaws.KMSDenied()), "UNVERIFIED kms-denied l3.1", siteDigests, oneLog, "kms:Decrypt"},
		{"log in Glacier", log(testaws.Archived()), "UNVERIFIED archived l3.1", siteDigests, oneLog, "InvalidObjectState"},
		{"log absent", log(testaws.NoSuchKey()), "log-missing l3.1", siteDigests, oneLog, "listed, and not there"},
		{"log 404 without a body", log(testaws.EmptyNotFound()), "UNVERIFIED network l3.1", siteDigests, oneLog, "HTTP 404"},
		{"log 403 without a body", log(testaws.Fault{Status: 403, Empty: true}), "UNVERIFIED access-denied l3.1", siteDigests, oneLog, "HTTP 403"},
		{"log 500 for ever", log(testaws.InternalError()), "UNVERIFIED network l3.1", siteDigests, oneLog, "InternalError"},
		{"log 500 twice", log(testaws.Fault{Status: 500, Empty: true, Times: 2}), "", siteDigests, siteLogs, "INTACT"},
		{"log throttled for ever", log(testaws.SlowDown()), "UNVERIFIED throttled l3.1", siteDigests, oneLog, "SlowDown"},
		{"log throttled twice", log(testaws.Fault{Status: 503, Code: "SlowDown", Times: 2}), "", siteDigests, siteLogs, "INTACT"},
		{"log connection reset for ever", log(testaws.Fault{Reset: true}), "UNVERIFIED network l3.1", siteDigests, oneLog, "could not be checked"},
		{"log connection reset once", log(testaws.Fault{Reset: true, Times: 1}), "", siteDigests, siteLogs, "INTACT"},
		{"log cut short for ever", log(testaws.Fault{CutBody: 100}), "UNVERIFIED network l3.1", siteDigests, oneLog, "unexpected EOF"},
		{"log cut short in its last byte", log(testaws.Fault{CutBody: 1 << 20}), "UNVERIFIED network l3.1", siteDigests, oneLog, "unexpected EOF"},
		{"log cut short once", log(testaws.Fault{CutBody: 100, Times: 1}), "", siteDigests, siteLogs, "INTACT"},
		{"log stalls for ever", log(testaws.Fault{Stall: time.Minute}), "UNVERIFIED network l3.1", siteDigests, oneLog, "timeout"},
		{"log stalls once", log(testaws.Fault{Stall: time.Minute, Times: 1}), "", siteDigests, siteLogs, "INTACT"},

		{"digest denied", digest(3, testaws.AccessDenied()), behind("UNVERIFIED access-denied d3"), oneDigest, siteLogs - 2, "AccessDenied"},
		{"digest encrypted with a key that is denied", digest(3, testaws.KMSDenied()), behind("UNVERIFIED kms-denied d3"), oneDigest, siteLogs - 2, "kms:Decrypt"},
		{"digest in Glacier", digest(3, testaws.Archived()), behind("UNVERIFIED archived d3"), oneDigest, siteLogs - 2, ""},
		{"digest absent", digest(3, testaws.NoSuchKey()), behind("digest-missing d3"), oneDigest, siteLogs - 2, ""},
		{"digest 404 without a body", digest(3, testaws.EmptyNotFound()), behind("UNVERIFIED network d3"), oneDigest, siteLogs - 2, "HTTP 404"},
		{"digest throttled for ever", digest(3, testaws.SlowDown()), behind("UNVERIFIED throttled d3"), oneDigest, siteLogs - 2, ""},
		{"digest cut short for ever", digest(3, testaws.Fault{CutBody: 100}), behind("UNVERIFIED network d3"), oneDigest, siteLogs - 2, ""},
		{"digest cut short once", digest(3, testaws.Fault{CutBody: 100, Times: 1}), "", siteDigests, siteLogs, ""},
		{"newest digest denied", digest(6, testaws.AccessDenied()), "UNVERIFIED access-denied d6", oneDigest, siteLogs - 2, ""},
		{"oldest digest denied", digest(1, testaws.AccessDenied()), "UNVERIFIED access-denied d1\nUNVERIFIED no-signature l1.1", oneDigest, siteLogs - 2, ""},

		{"an account's digest folder denied", listing("AWSLogs/"+owner+"/CloudTrail-Digest/", testaws.AccessDenied()),
			"UNVERIFIED access-denied AWSLogs/" + owner + "/CloudTrail-Digest/", siteDigests, siteLogs, ""}, // the regions are known from the logs
		{"a region's digests denied", listing("AWSLogs/"+owner+"/CloudTrail-Digest/us-east-1/", testaws.AccessDenied()),
			unlisted("UNVERIFIED access-denied AWSLogs/" + owner + "/CloudTrail-Digest/us-east-1/"), siteDigests / 2, siteLogs / 2, ""},
		{"second page of the digests fails", listing("AWSLogs/"+owner+"/CloudTrail-Digest/us-east-1/", testaws.Fault{Status: 500, Empty: true, Skip: 1}),
			unlisted("UNVERIFIED network AWSLogs/" + owner + "/CloudTrail-Digest/us-east-1/"), siteDigests / 2, siteLogs / 2, ""},
		{"second page of the digests fails once", listing("AWSLogs/"+owner+"/CloudTrail-Digest/us-east-1/", testaws.Fault{Status: 500, Empty: true, Skip: 1, Times: 1}),
			"", siteDigests, siteLogs, ""},
		{"a page of the digests cut short for ever", listing("AWSLogs/"+owner+"/CloudTrail-Digest/us-east-1/", testaws.Fault{CutBody: 300}),
			unlisted("UNVERIFIED network AWSLogs/" + owner + "/CloudTrail-Digest/us-east-1/"), siteDigests / 2, siteLogs / 2, ""},
		{"log folder denied", listing("AWSLogs/"+owner+"/CloudTrail/us-east-1/", testaws.AccessDenied()),
			"UNVERIFIED access-denied AWSLogs/" + owner + "/CloudTrail/us-east-1/", siteDigests, siteLogs, ""},
		{"second page of the logs fails", listing("AWSLogs/"+owner+"/CloudTrail/us-east-1/", testaws.Fault{Status: 500, Empty: true, Skip: 1}),
			"UNVERIFIED network AWSLogs/" + owner + "/CloudTrail/us-east-1/", siteDigests, siteLogs, ""},

		{"keys denied", keys(testaws.Denied()), everyDigest("no-keys"), 0, 0, "AccessDenied"},
		{"keys throttled for ever", keys(testaws.Throttled()), everyDigest("no-keys"), 0, 0, "ThrottlingException"},
		{"keys throttled once", keys(testaws.Fault{Status: 400, Code: "ThrottlingException", Times: 1}), "", siteDigests, siteLogs, ""},
		{"no keys", keys(testaws.Fault{Empty: true}), everyDigest("no-keys"), 0, 0, ": no key from "},
		{"keys: no JSON", keys(testaws.Fault{Status: 200, Empty: true}), everyDigest("no-keys"), 0, 0, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.aws.PageSize = 4
			row.fault(s)
			got, r := s.verify(t, "s3://trail-bucket")
			if r == nil {
				t.Fatalf("no report: %+v", got)
			}
			if lines := s.lines(r); lines != row.want {
				t.Errorf("got\n%s\nwant\n%s", lines, row.want)
			}
			if d, l := r.Counts.Digests, r.Counts.Logs; d.Valid != row.digests || l.Valid != row.logs {
				t.Errorf("digests %+v, logs %+v valid; want %d, %d", d, l, row.digests, row.logs)
			}
			if !strings.Contains(got.out, row.text) || got.err != "" {
				t.Errorf("stdout\n%s\nstderr\n%s", got.out, got.err)
			}
			if strings.HasPrefix(row.want, "UNVERIFIED") && !strings.Contains(row.want, "missing") && r.Verdict != report.Incomplete {
				t.Errorf("verdict %s", r.Verdict)
			}
		})
	}
}

// What leaves nothing to report on: one line that says what is wrong, one that
// says what to do, and exit 3.
func TestVerifyStops(t *testing.T) {
	signIn(t)
	source := "s3://trail-bucket"
	rows := []struct {
		name        string
		change      func(t *testing.T, s *site)
		error, hint string
	}{
		{"bucket denied", func(t *testing.T, s *site) { s.aws.Fail(testaws.AccessDenied().On("", "trail-bucket", "")) }, "AccessDenied", "s3:ListBucket"},
		{"listing denied", func(t *testing.T, s *site) {
			s.aws.Fail(testaws.AccessDenied().On("ListObjectsV2", "trail-bucket", ""))
		}, "list s3://trail-bucket/: AccessDenied", "s3:ListBucket"},
		{"no such bucket", func(t *testing.T, s *site) { source = "s3://another" }, "NoSuchBucket", "bucket's name"},
		{"nothing below the prefix", func(t *testing.T, s *site) { source = "s3://trail-bucket/old" }, "no AWSLogs", "describe-trails"},
		{"bucket of another account", func(t *testing.T, s *site) { s.aws.Account = "999999999999" }, "AccessDenied", "s3:ListBucket"},
		{"no credentials", func(t *testing.T, s *site) {
			t.Setenv("AWS_ACCESS_KEY_ID", "")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "")
		}, "no valid AWS credentials", "AWS_PROFILE"},
		{"expired credentials", func(t *testing.T, s *site) {
			s.aws.Fail(testaws.Fault{Status: 400, Code: "ExpiredToken", Message: "The provided token has expired."})
		}, "ExpiredToken", "sign in"},
		{"listing throttled", func(t *testing.T, s *site) { s.aws.Fail(testaws.SlowDown().On("ListObjectsV2", "", "")) }, "SlowDown", ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			source = "s3://trail-bucket"
			s := newSite(t)
			row.change(t, s)
			got, r := s.verify(t, source, "--expected-bucket-owner="+owner)
			if r != nil || got.exit != exitIncomplete || got.out != "" {
				t.Errorf("%+v", got)
			}
			checkError(t, got.err, row.error, row.hint)
		})
	}
}

// checkError demands one line of error and, where there is a hint, one of it.
func checkError(t *testing.T, stderr, text, hint string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
	if !strings.HasPrefix(lines[0], "error: ") || !strings.Contains(lines[0], text) {
		t.Errorf("stderr\n%s", stderr)
	}
	switch {
	case hint == "" && len(lines) == 1:
	case len(lines) != 2 || hint == "" || !strings.HasPrefix(lines[1], "hint: ") || !strings.Contains(lines[1], hint):
		t.Errorf("stderr\n%s", stderr)
	}
}

// The configured region is not the bucket's: it is found, and the keys are
// asked of the region of the events.
func TestVerifyBucketInAnotherRegion(t *testing.T) {
	signIn(t)
	for _, configured := range []string{"us-east-1", "eu-west-1", ""} {
		t.Setenv("AWS_REGION", configured)
		s := newSite(t)
		s.aws.Regions["trail-bucket"], s.aws.StrictRegions = "eu-central-1", true
		got, r := s.verify(t, "s3://trail-bucket")
		if got.exit != exitOK || r.Counts.Digests.Valid != siteDigests {
			t.Errorf("region %q: %+v", configured, got)
		}
	}
}
