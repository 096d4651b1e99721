package dashboards

// Ingest is the page that says how the worker does.
func Ingest() Dashboard {
	return Dashboard{
		UID: "trailseal-ingest", Title: "trailseal: ingest",
		Help: "How the workers do: what they emit, how long it takes, what they wait for and what they have in hand.",
		Rows: []Row{
			{"Now", now()},
			{"Throughput", throughput()},
			{"Latency", latency()},
			{"Sinks", sinks()},
			{"Queue", queue()},
			{"Memory and processor", resources()},
			{"Trouble", trouble()},
		},
	}
}

// of returns the rate of a counter, summed by labels.
func of(counter, by string) string {
	return `sum` + by + ` (rate(` + counter + `{instance=~"$instance"}[$__rate_interval]))`
}

func outcomes(kind string) Query {
	return Query{`sum by (outcome) (rate(trailseal_outcomes_total{instance=~"$instance", kind="` + kind + `"}[$__rate_interval]))`, "{{outcome}}"}
}

func now() []Panel {
	blue := []Step{{Color: "blue"}}
	ready := tile("Ready", "Whether the last tries with all sources, sinks and queues went well.", "none",
		`min(trailseal_ready{instance=~"$instance"})`, "trailsealsourceunreadable", []Step{{Color: "red"}, {"green", 1}})
	ready.Words = map[string]string{"0": "no", "1": "yes"}
	version := tile("Version", "What runs, and how many workers of it.", "none", `count by (version) (trailseal_build_info{instance=~"$instance"})`, "trailsealrestarting", blue)
	version.Name, version.Queries[0].Legend = true, "{{version}}"
	return []Panel{
		ready,
		tile("Events", "Events that the sinks have made durable each second, over the last five minutes. With several sinks each event counts in each.", "eps",
			`sum(rate(trailseal_events_total{instance=~"$instance"}[5m]))`, "trailsealingeststuck", blue),
		tile("Verified", "Inflated bytes of proven log files each second, over the last five minutes.", "Bps",
			`sum(rate(trailseal_inflated_bytes_total{instance=~"$instance"}[5m]))`, "trailsealingeststuck", blue),
		tile("Furthest behind", "How long ago the newest proven digest of the slowest chain ended. Up to about 100 minutes is CloudTrail's own delay.", "s",
			`max(`+behind+`)`, "trailsealchainlate", lag()),
		tile("Oldest message", "Age of the oldest message in work; without a queue there is none.", "s", `max(trailseal_queue_oldest_seconds{instance=~"$instance"})`, "trailsealqueueold",
			[]Step{{Color: "green"}, {"yellow", 3600}, {"red", 7200}}),
		tile("Memory in use", "Bytes reserved for log files in flight, of the budget (--memory).", "percentunit",
			`max(trailseal_in_flight_bytes{instance=~"$instance"} / trailseal_memory_budget_bytes{instance=~"$instance"})`, "trailsealmemorynearbudget",
			[]Step{{Color: "green"}, {"yellow", 0.9}, {"red", 0.99}}),
		unaccounted(),
		version,
	}
}

func throughput() []Panel {
	return []Panel{
		{
			Kind: Series, Title: "Bytes", Width: 6, Height: 7, Unit: "Bps", Section: "trailsealingeststuck",
			Help:    "What is read from the sources, compressed, and what that is once it is inflated and proven.",
			Queries: []Query{{of("trailseal_fetched_bytes_total", ""), "fetched"}, {of("trailseal_inflated_bytes_total", ""), "inflated"}},
		},
		{
			Kind: Series, Title: "What became of log files", Width: 6, Height: 7, Unit: "ops", Section: "trailsealunaccounted",
			Help:    "Log files emitted, or quarantined with a finding. What is returned could not be dealt with and comes in again.",
			Queries: []Query{outcomes("objects")},
		},
		{
			Kind: Series, Title: "What became of events", Width: 6, Height: 7, Unit: "eps", Section: "trailsealunaccounted",
			Help:    "Events emitted, or quarantined since they are no JSON objects. What is returned belongs to a log file that comes in again.",
			Queries: []Query{outcomes("records")},
		},
		{
			Kind: Series, Title: "Digests to be dealt with", Width: 6, Height: 7, Unit: "none", Section: "trailsealingeststuck",
			Help:    "Digests that are known and not dealt with: the work ahead.",
			Queries: []Query{{`sum(trailseal_pending_digests{instance=~"$instance"})`, "pending"}},
		},
	}
}

func latency() []Panel {
	return []Panel{
		behindPanel(),
		{
			Kind: Series, Title: "Age of events", Width: 8, Height: 7, Unit: "s", Section: "trailsealchainlate",
			Help:    "From a log file's oldest event until the file is durable downstream: what a search over the events is behind by.",
			Queries: quantiles("trailseal_event_age_seconds", "", ""),
		},
		{
			Kind: Series, Title: "Stages", Width: 8, Height: 7, Unit: "s", Section: "trailsealingeststuck",
			Help:    "Time that one log file spends in each stage: fetch reads, inflates and hashes; emit splits it into events and waits until the sinks have them.",
			Queries: quantiles("trailseal_stage_seconds", "stage", "{{stage}}"),
		},
	}
}

func sinks() []Panel {
	return []Panel{
		{
			Kind: Series, Title: "Events by sink", Width: 6, Height: 7, Unit: "eps", Section: "trailsealsinkfailing",
			Help:    "Events that each sink has made durable. Repeats after a crash or a retry count, too.",
			Queries: []Query{{of("trailseal_events_total", " by (sink)"), "{{sink}}"}},
		},
		{
			Kind: Series, Title: "Time for a batch", Width: 6, Height: 7, Unit: "s", Section: "trailsealsinkfailing",
			Help:    "Time that a sink takes for a batch, its own retries included.",
			Queries: quantiles("trailseal_sink_seconds", "sink", "{{sink}}"),
		},
		{
			Kind: Series, Title: "Oldest batch", Width: 6, Height: 7, Unit: "s", Section: "trailsealsinkfailing",
			Help:    "How long the oldest batch waits for a sink to take it. A sink that hangs shows here first.",
			Queries: []Query{{`max by (sink) (trailseal_sink_oldest_seconds{instance=~"$instance"})`, "{{sink}}"}},
		},
		{
			Kind: Series, Title: "Refused", Width: 6, Height: 7, Unit: "none", Bars: true, Section: "trailsealeventsrefused",
			Help: "Attempts that a sink failed, which are made again, and events that it refused for their content, which are dead letters.",
			Queries: []Query{
				{`sum by (sink) (increase(trailseal_sink_errors_total{instance=~"$instance"}[$__rate_interval]))`, "{{sink}} batches"},
				{`sum by (sink) (increase(trailseal_refused_events_total{instance=~"$instance"}[$__rate_interval]))`, "{{sink}} events"},
			},
		},
	}
}

func queue() []Panel {
	return []Panel{
		{
			Kind: Series, Title: "Age", Width: 6, Height: 7, Unit: "s", Section: "trailsealqueueold",
			Help:    "Age of the oldest message in work. Without a queue there is none: the sources are polled.",
			Queries: []Query{{`max(trailseal_queue_oldest_seconds{instance=~"$instance"})`, "oldest"}},
		},
		{
			Kind: Series, Title: "Depth", Width: 6, Height: 7, Unit: "none", Section: "trailsealqueueold",
			Help: "Messages in work here, and about how many the queue holds, as SQS says: visible ones can be received, in flight are those that any worker has received.",
			Queries: []Query{
				{`sum(trailseal_messages_in_flight{instance=~"$instance"})`, "in work"},
				{`max by (state) (trailseal_queue_messages{instance=~"$instance"})`, "{{state}}"},
			},
		},
		{
			Kind: Series, Title: "Messages", Width: 6, Height: 7, Unit: "mps", Section: "trailsealmessagesrefused",
			Help: "Deliveries received, and how they ended, by the format of their body. What is not understood is left to the queue's redrive policy.",
			Queries: []Query{
				{of("trailseal_messages_received_total", ""), "received"},
				{of("trailseal_messages_total", " by (format, outcome)"), "{{format}} {{outcome}}"},
			},
		},
		{
			Kind: Series, Title: "Announced objects", Width: 6, Height: 7, Unit: "ops", Section: "trailsealmessagesrefused",
			Help: "Objects that messages name. Digests are followed; logs are skipped, since their digest brings them; what belongs to no source is refused.",
			Queries: []Query{
				{of("trailseal_announced_total", " by (result)"), "{{result}}"},
				{of("trailseal_removals_announced_total", ""), "removal"},
			},
		},
	}
}

func resources() []Panel {
	return []Panel{
		{
			Kind: Series, Title: "In flight against the budget", Width: 8, Height: 7, Unit: "bytes", Section: "trailsealmemorynearbudget",
			Help: "Bytes reserved for log files in flight, and what they may reserve (--memory). At the budget the queue and the listings wait.",
			Queries: []Query{
				{`sum(trailseal_in_flight_bytes{instance=~"$instance"})`, "in flight"},
				{`sum(trailseal_memory_budget_bytes{instance=~"$instance"})`, "budget"},
			},
		},
		{
			Kind: Series, Title: "Memory of the process", Width: 8, Height: 7, Unit: "bytes", Section: "trailsealmemoryabovelimit",
			Help: "Resident memory of each worker, and the limit that it sets the collector: the budget, and 64 MiB besides.",
			Queries: []Query{
				{`process_resident_memory_bytes{instance=~"$instance"}`, "{{instance}}"},
				{`max(go_gc_gomemlimit_bytes{instance=~"$instance"})`, "limit"},
			},
		},
		{
			Kind: Series, Title: "Processor", Width: 8, Height: 7, Unit: "none", Section: "trailsealingeststuck",
			Help:    "Cores in use by each worker. Half of the work is inflating.",
			Queries: []Query{{`rate(process_cpu_seconds_total{instance=~"$instance"}[$__rate_interval])`, "{{instance}}"}},
		},
	}
}

func trouble() []Panel {
	count := func(counter, name string) Query {
		return Query{`sum(increase(` + counter + `{instance=~"$instance"}[$__rate_interval]))`, name}
	}
	return []Panel{
		{
			Kind: Series, Title: "AWS calls", Width: 8, Height: 7, Unit: "reqps", Section: "trailsealcredentialsfailing",
			Help:    "Attempts of requests to AWS by service and operation: a request that went well the third time is three.",
			Queries: []Query{{of("trailseal_aws_requests_total", " by (service, operation)"), "{{service}} {{operation}}"}},
		},
		{
			Kind: Series, Title: "AWS calls that failed or were throttled", Width: 8, Height: 7, Unit: "reqps", Stacked: true, Section: "trailsealaccessdenied",
			Help:    "Attempts whose answer was no success, by service and code: throttled, credentials, denied, another HTTP status, or none where no answer came.",
			Queries: []Query{{`sum by (service, code) (rate(trailseal_aws_requests_total{instance=~"$instance", code!~"2..|canceled"}[$__rate_interval]))`, "{{service}} {{code}}"}},
		},
		{
			Kind: Series, Title: "Retries and conflicts", Width: 8, Height: 7, Unit: "none", Bars: true, Section: "trailsealstateconflict",
			Help: "Batches and findings that their sinks refused; heads of chains that somebody else had changed (two workers on one store) or that could not be stored; records of proven files that are no events.",
			Queries: []Query{
				count("trailseal_sink_retries_total", "batches"),
				count("trailseal_finding_retries_total", "findings"),
				count("trailseal_state_conflicts_total", "state conflicts"),
				count("trailseal_state_errors_total", "state errors"),
				count("trailseal_refused_events_total", "dead letters"),
				count("trailseal_dropped_names_total", "names without room"),
			},
		},
	}
}
