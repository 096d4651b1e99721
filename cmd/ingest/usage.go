package main

import (
	"slices"
	"strings"
)

// usage returns what -h prints.
func usage() string {
	kinds := new(sinkOpener).kinds()
	return strings.NewReplacer(
		"{sinks}", column(usageOf(kinds, takesEvents), usageWidth),
		"{findings}", column(usageOf(kinds, takesFindings), usageWidth),
	).Replace(usageText)
}

// The second column of the usage: where it begins, and its width.
const (
	usageIndent = 26
	usageWidth  = 54
)

// column breaks a list into lines of the second column.
func column(list string, width int) string {
	var b strings.Builder
	used := 0
	for i, word := range strings.Fields(list) {
		switch {
		case i == 0:
		case used+1+len(word) > width:
			b.WriteString("\n" + strings.Repeat(" ", usageIndent))
			used = 0
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += len(word)
	}
	return b.String()
}

const usageText = `Usage: ingest [COMMAND] [flags]

Follows CloudTrail's digest chains and emits only proven events.

  run      follow the chains (the default)
  check    try what the settings need: reading, keys, sinks, state, permissions
  chains   list the chains: how far each is proven, and why it waits
           (chains skip, chains reset, chains end: see "Chains" below)
  replay   emit the events of the proven digests of a time again, and end
  health   ask /livez of the worker that listens on --listen
  config   print the settings in effect as YAML, without secrets
  version  print the version

Where from
  --source SOURCE         s3://bucket[/prefix], the ARN or alias of an access
                          point, or a folder  (repeatable)
  --original-bucket NAME  the source is a replica of this bucket; REPLICA=NAME
                          where there are several sources  (repeatable)
  --queue URL             SQS queue that announces what is new  (repeatable)
  --account ID            only this account  (each of these: repeatable)
  --region REGION         only this region
  --trail NAME            only this trail
  --ended FILE             chains whose end is acknowledged, as verifier verify
                           --write-ended makes it
  --management-account ID  owner of an organization's trails (default: asked of
                          AWS Organizations, where that is permitted)
  --since TIME            where to begin in a chain never seen: RFC 3339, a
                          date, or 24h, 30d before now (default 24h)
  --poll DURATION         pause between two looks at a source (default 1m)
  --grace DURATION        how late a chain's newest digest may be (default 2h)
  --keys auto|FILE        public keys: asked of CloudTrail in each region, or a
                          list that "verifier keys" saved (default auto)
  --expected-bucket-owner ID  account that must own the buckets
  --profile NAME          of the AWS configuration
  --role-arn ARN, --external-id ID  role for the sources and the keys
  --queue-role-arn ARN, --queue-external-id ID  ... and for the queues

Where to
  --sink SINK             {sinks}
                          (repeatable: an event counts when all have it; default
                          stdout)
  --format FORMAT         trailseal: a member in front of each event says where
                          it is proven; raw: the event alone (default trailseal)
  --findings WHERE        {findings} (default stderr)
  --on-finding WHAT       quarantine what it concerns and go on, or halt
                          (default quarantine)
  --file-max SIZE         files are rotated at this size (default 256MiB)
  --file-every DURATION   ... and when UTC enters another multiple (default 1h)
  --sink-header "NAME: VALUE"  of requests to all HTTP sinks, before headers of
                          their own such as Content-Type  (repeatable)
  --sink-compression HOW  gzip or zstd for S3, gzip or none for HTTP (default
                          gzip)
  --sink-timeout DURATION  for one attempt: an HTTP request ends then, and any
                          sink that takes longer counts as failing (default 1m)
  --sink-patience DURATION  --once and replay give up a sink that has failed for
                          so long (default 1m)
  --dead-letters PATH     events that an HTTP sink refuses for their content;
                          without it they hold their log file back

How
  --config FILE           YAML with these settings, without the dashes
  --state STORE           where progress is kept: file:PATH, or memory, which
                          forgets it (default file:trailseal.state)
  --once                  deal with what is there and end
  --memory SIZE           most that log files in flight hold (default 512MiB)
  --concurrency N         log files in flight (default 160)
  --drain DURATION        for work in flight after SIGTERM (default 25s)

Operations
  --listen ADDRESS        of /metrics, /livez, /readyz, /statusz; empty: none
                          (default :9090; with --once none)
  --web-config FILE       TLS and basic auth, as Prometheus exporters have it
  --pprof                 serve /debug/pprof too
  --log-format FORMAT     text or json, on stderr (default text)
  --log-level LEVEL       debug, info, warn or error (default info)

Each setting can also be TRAILSEAL_NAME in the environment, as
TRAILSEAL_ON_FINDING. A flag goes before the environment, that before the file.
In the environment accounts, regions and trails are separated by commas; other
repeatable settings take one value there.

Chains
  ingest chains [--output text|json]
  ingest chains skip CHAIN DIGEST|LOG --reason TEXT
                          go on without an object that can never be read
  ingest chains reset CHAIN --since TIME --reason TEXT
                          follow the chain again from a time on, or from later
  ingest chains end CHAIN [--reason TEXT]
                          the chain has ended for good: it is not late
  ingest replay --start-time TIME --end-time TIME

CHAIN is written as "ingest chains" prints it: ACCOUNT/REGION/TRAIL, or the name
of its head. DIGEST and LOG are keys, or s3://BUCKET/KEY. These commands go by
--state: the worker that has it carries them out. Where no worker runs, they
change the state themselves, and findings go to --findings. "replay" takes the
worker's settings, and leaves its state, queues and address alone. It cannot
write to a file that the worker writes to.

Exit: 0 ended as asked, 1 findings (--once, replay, or halted at one), 2 bad
settings or arguments, 3 not everything could be processed, or the accounts of
events do not balance (--once, replay), or it could not be done (chains), or
something is missing (check).
health: 0 it lives, 1 no answer.
`

// asksHelp reports whether the arguments ask for the usage.
func asksHelp(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return len(args) > 0 && args[0] == "help" || slices.Contains(args, "-h") || slices.Contains(args, "--help")
}
