package main

import "slices"

// usage holds the text that -h prints, by command; "" is the program's.
var usage = map[string]string{
	"": `Usage: verifier COMMAND [flags]

Proves that CloudTrail's log files are complete and unaltered.

  verify         prove every trail of a bucket or of a folder
  keys           save the public keys, so that later runs need no AWS
  validate-logs  drop-in for "aws cloudtrail validate-logs"
  version        print the version

verifier COMMAND -h lists a command's flags.
`,
	"verify": `Usage: verifier verify SOURCE [flags]

Finds every digest chain below SOURCE, and checks signatures, links, coverage,
every listed log file and unlisted objects. SOURCE is s3://bucket[/prefix], the
ARN or alias of an access point, or a folder.

  --start-time TIME       first moment: RFC 3339, a date, or 24h, 30d before
                          now (default 24h). A time before now begins --grace
                          and one hour earlier, so that daily runs overlap.
  --end-time TIME         last moment (default: now)
  --grace DURATION        how long after its hour a digest may arrive before it
                          counts as late (default 2h)

  --account ID            only this account  (each of these: repeatable)
  --region REGION         only this region
  --trail NAME            only this trail
  --except FOLDER         leave out what lies below this folder of the source
  --expect-account ID     a finding if the account has no proven digests
  --expect-region REGION  a finding if an account has none for the region
  --expect-trail NAME     a finding if no chain of the trail is proven
  --ended FILE            ends of chains that are acknowledged
  --write-ended FILE      write that file: every chain that has ended

  --keys auto|FILE        public keys: asked of CloudTrail in each region, or a
                          list that "verifier keys" or the AWS CLI saved
  --original-bucket NAME  SOURCE is a replica of this bucket
  --management-account ID owner of an organization's trails (default: asked of
                          AWS Organizations, where that is permitted)
  --no-logs               check digests only
  --no-unlisted           do not list the log folders
  --all-folders           list the log folders of all days, not only of the range
  --stay-in-source        do not follow a digest into another bucket

  --report FILE           also write the report; .json or .txt  (repeatable)
  --max-findings N        findings to list (default 10000); all are counted
  --max-findings-per-folder N  of one class and folder (default 1000)
  --concurrency N         objects read at once (default 160)
  --max-digest-mib N      largest inflated digest to parse (default 64)
  --expected-bucket-owner ID  account that must own the bucket
  --profile NAME          AWS profile to use

Exit: 0 intact, 1 findings, 2 bad usage, 3 not everything could be checked and
nothing wrong was found.
`,
	"keys": `Usage: verifier keys [flags]

Saves the public keys with which CloudTrail signed the digests of some regions
and time, in the JSON of "aws cloudtrail list-public-keys".

  --region REGION    repeatable (default: the configured region)
  --start-time TIME  first moment: RFC 3339, a date, or 24h, 30d before now
                     (default 90d)
  --end-time TIME    last moment (default: now)
  -o, --output FILE  default: standard output
  --profile NAME     of the AWS configuration

Exit: 0 saved, 2 bad usage, 3 a region did not answer.
`,
	"validate-logs": `Usage: verifier validate-logs --trail-arn ARN --start-time TIME [flags]

Validates the digest and log files of a trail in one region, with the output
and exit codes of "aws cloudtrail validate-logs".

  --trail-arn ARN      the trail
  --start-time TIME    first moment: 2026-03-01T00:00:00Z, 2026-03-01, ...; UTC
                       unless it says otherwise
  --end-time TIME      last moment (default: now)
  --s3-bucket NAME     where the digests are (default: asked of CloudTrail)
  --s3-prefix PREFIX   of their keys, with --s3-bucket
  --account-id ID      the account whose files are validated; needed for an
                       organization trail (default: that of the ARN)
  --verbose            print a line for each valid file too
  --region REGION      the region whose files are validated (default: the
                       trail's home region)
  --profile NAME       of the AWS configuration
  --endpoint-url URL   of CloudTrail
  --concurrency N      log files read at once (default 160)

Exit: 0 nothing INVALID, 1 something INVALID, 252 bad usage, 255 stopped, or
something could not be read (UNVERIFIED) and nothing is INVALID.
`,
}

// help returns the text that the arguments ask for, if they do.
func help(args []string) (string, bool) {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	asked := len(args) > 0 && args[0] == "help"
	if asked {
		args = args[1:]
	}
	if !asked && !slices.Contains(args, "-h") && !slices.Contains(args, "--help") {
		return "", false
	}
	if len(args) > 0 && usage[args[0]] != "" {
		return usage[args[0]], true
	}
	return usage[""], true
}
