package main

import "slices"

// usage is what -h prints.
const usage = `Usage: ingest [COMMAND] [flags]

Follows CloudTrail's digest chains and emits only proven events.

  run      follow the chains (the default)
  check    try what the settings need: reading, keys, sinks, state, permissions
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
  --sink SINK             stdout, file:PATH, s3://bucket/prefix,
                          https://host/path or opensearch+https://host/index
                          (repeatable: an event counts when all have it; default
                          stdout)
  --format FORMAT         trailseal: a member in front of each event says where
                          it is proven; raw: the event alone (default trailseal)
  --findings WHERE        stdout, stderr or file:PATH (default stderr)
  --on-finding WHAT       quarantine what it concerns and go on, or halt
                          (default quarantine)
  --file-max SIZE         files are rotated at this size (default 256MiB)
  --file-every DURATION   ... and when UTC enters another multiple (default 1h)
  --sink-header "NAME: VALUE"  of requests to HTTP sinks  (repeatable)
  --sink-compression HOW  gzip or zstd for S3, gzip or none for HTTP (default
                          gzip)
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

Exit: 0 ended as asked, 1 findings (--once, or halted at one), 2 bad settings,
3 not everything could be dealt with (--once; check: something is missing).
health: 0 it lives, 1 no answer.
`

// asksHelp reports whether the arguments ask for the usage.
func asksHelp(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return len(args) > 0 && args[0] == "help" || slices.Contains(args, "-h") || slices.Contains(args, "--help")
}
