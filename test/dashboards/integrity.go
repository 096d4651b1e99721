package dashboards

// Where a chain is in time. CloudTrail delivers a digest half an hour after its
// hour has ended, so a chain that is followed is up to about 100 minutes
// behind; by default the worker calls it late at three hours.
const (
	behindWorth = 2 * 3600
	behindLate  = 3 * 3600
)

const (
	chains   = `{instance=~"$instance", account=~"$account", region=~"$region"}`
	verified = `max by (account, region, trail) (trailseal_chain_verified_until_timestamp_seconds` + chains + `)`
	behind   = `(time() - ` + verified + `)`
)

// lag colors how far a chain is behind.
func lag() []Step { return []Step{{Color: "green"}, {"yellow", behindWorth}, {"red", behindLate}} }

// none colors what there should be none of.
func none() []Step { return []Step{{Color: "green"}, {"red", 1}} }

// some colors what there may be some of for a while.
func some() []Step { return []Step{{Color: "green"}, {"yellow", 1}} }

// Integrity is the page that says what is proven and what is wrong.
func Integrity() Dashboard {
	return Dashboard{
		UID: "trailseal-integrity", Title: "trailseal: integrity",
		Help: "What is proven, how far, and what is wrong. Accounts and regions choose chains; findings and results are counted for whole workers.",
		Rows: []Row{
			{"Verdict", verdict()},
			{"Chains", chainPanels()},
			{"Findings", findingPanels()},
			{"Evidence", evidencePanels()},
		},
	}
}

func tile(title, help, unit, expr, section string, steps []Step) Panel {
	return Panel{Kind: Stat, Title: title, Help: help, Width: 3, Height: 4, Unit: unit, Queries: []Query{{expr, ""}}, Steps: steps, Section: section}
}

func verdict() []Panel {
	count := func(title, help, classes, section string, steps []Step) Panel {
		return tile(title, help+" Counted since the workers started, within the chosen time: what was found before it still shows while its worker runs.", "none",
			`sum(max_over_time(trailseal_findings_total{instance=~"$instance", class`+classes+`}[$__range]))`, section, steps)
	}
	return []Panel{
		count("Tampering", "Findings that say that something which CloudTrail signed was changed, removed or replaced.", `!~"gap|coverage|foreign-object"`, "trailsealtamperingfound", none()),
		count("Gap findings", "Findings that say that logging or validation was switched off.", `="gap"`, "trailsealgapfound", none()),
		count("Uncovered hours", "Findings that say that nobody vouches for hours or a region: digests are late, or there are none.", `="coverage"`, "trailsealhoursuncovered", some()),
		count("Foreign objects", "Objects in digest folders that CloudTrail did not put there. They are not read as evidence.", `="foreign-object"`, "trailsealforeignobject", some()),
		tile("Chains that wait", "Chains in which something cannot be checked at present, such as for want of access: neither valid nor invalid. It is tried again. In a copy, the newest digest waits for its successor.",
			"none", `sum(trailseal_chains{instance=~"$instance", state=~"waiting|unsigned"})`, "trailsealchainwaits", some()),
		tile("Chains late", "Chains whose newest proven digest ended longer ago than its hour and the grace (--grace) allow.",
			"none", `count(`+behind+` > scalar(max(trailseal_grace_seconds{instance=~"$instance"})) + 3600) or 0 * count(`+verified+`)`, "trailsealchainlate", none()),
		tile("Furthest behind", "How long ago the newest proven digest of the slowest chain ended. Up to about 100 minutes is CloudTrail's own delay.",
			"s", `max(`+behind+`)`, "trailsealchainlate", lag()),
		unaccounted(),
	}
}

func unaccounted() Panel {
	return tile("Unaccounted", "Messages, log files and events that came in and have neither an outcome nor are in flight. Anything but 0 is an error of the program.",
		"none", `max(abs(trailseal_unaccounted{instance=~"$instance"}))`, "trailsealunaccounted", none())
}

func chainPanels() []Panel {
	only := func(variable, other string) string {
		return "/d/trailseal-integrity?${__url_time_range}&${datasource:queryparam}&${instance:queryparam}&${" + other + ":queryparam}&var-" + variable + "=${__value.raw}"
	}
	return []Panel{
		{
			Kind: Table, Title: "Verified until", Width: 12, Height: 10, Section: "trailsealchainlate", SortBy: "Behind", Unit: "none",
			Help: "Each chain, the one furthest behind first. Everything before the time shown is proven, or reported as a finding.",
			Queries: []Query{
				{verified + ` * 1000`, ""},
				{behind, ""},
				{`max by (account, region, trail) (trailseal_chain_gaps` + chains + `)`, ""},
			},
			Columns: []Column{
				{Field: "account", Title: "Account", Link: only("account", "region")},
				{Field: "region", Title: "Region", Link: only("region", "account")},
				{Field: "trail", Title: "Trail"},
				{Field: "Value #A", Title: "Verified until", Unit: "dateTimeAsIso", Width: 170},
				{Field: "Value #B", Title: "Behind", Unit: "s", Width: 100, Steps: lag()},
				{Field: "Value #C", Title: "Gaps", Unit: "none", Width: 70, Steps: none()},
			},
		},
		{
			Kind: Timeline, Title: "Behind, the worst 20 chains", Width: 12, Height: 10, Section: "trailsealchainlate", Unit: "s", Steps: lag(),
			Help:    "Green: not further behind than CloudTrail delivers. Yellow: more than two hours. Red: more than three.",
			Queries: []Query{{`sort_desc(topk(20, ` + behind + `))`, "{{account}} {{region}} {{trail}}"}},
		},
		behindPanel(),
		{
			Kind: Series, Title: "Chains by state", Width: 8, Height: 7, Section: "trailsealchainwaits", Unit: "none", Stacked: true,
			Help:    "current: all that is known is dealt with; behind: there is more to do; waiting: the last try failed; unsigned: a copy's newest digest waits for its successor; late: no digest came within the grace.",
			Queries: []Query{{`sum by (state) (trailseal_chains{instance=~"$instance"})`, "{{state}}"}},
		},
		{
			Kind: Series, Title: "Gaps by chain", Width: 8, Height: 7, Section: "trailsealgapfound", Unit: "none",
			Help:    "Gaps found since the worker started. Each is a time for which nobody vouches; its finding names the call that caused it where a proven event tells.",
			Queries: []Query{{`max by (account, region, trail) (trailseal_chain_gaps` + chains + `)`, "{{account}} {{region}} {{trail}}"}},
		},
	}
}

func behindPanel() Panel {
	return Panel{
		Kind: Series, Title: "Behind", Width: 8, Height: 7, Section: "trailsealchainlate", Unit: "s",
		Help:    "The slowest chain, and the one in the middle. All together: the worker, its credentials or CloudTrail. One alone: look at that chain.",
		Queries: []Query{{`max(` + behind + `)`, "slowest"}, {`quantile(0.5, ` + behind + `)`, "median"}},
	}
}

func findingPanels() []Panel {
	return []Panel{
		{
			Kind: Series, Title: "Findings by class", Width: 8, Height: 8, Section: "trailsealtamperingfound", Unit: "none", Stacked: true,
			Help:    "Findings since the workers started. A step is a new finding; the line falls to 0 when a worker starts anew.",
			Queries: []Query{{`sum by (class) (trailseal_findings_total{instance=~"$instance"}) > 0`, "{{class}}"}},
		},
		{
			Kind: Table, Title: "Findings", Width: 8, Height: 8, Section: "trailsealtamperingfound", Unit: "none", SortBy: "Last",
			Help: "By class, since the workers started, within the chosen time. Each finding with its evidence stands where --findings says.",
			Queries: []Query{
				{`sum by (class) (max_over_time(trailseal_findings_total{instance=~"$instance"}[$__range])) > 0`, ""},
				{`1000 * max by (class) (max_over_time(trailseal_last_finding_timestamp_seconds{instance=~"$instance"}[$__range])) > 0`, ""},
			},
			Columns: []Column{
				{Field: "class", Title: "Class"},
				{Field: "Value #A", Title: "Findings", Unit: "none", Width: 90, Steps: none()},
				{Field: "Value #B", Title: "Last", Unit: "dateTimeAsIso", Width: 170},
			},
		},
		{
			Kind: Table, Title: "Alerts that fire", Width: 8, Height: 8, Unit: "none", SortBy: "Alerts", Section: "alerts",
			Help:    "Alerts of this project's rules that fire now, and how many of each.",
			Queries: []Query{{`sum by (alertname, severity) (ALERTS{alertname=~"Trailseal.*", alertstate="firing", instance=~"$instance|"})`, ""}}, // the absence of workers is no instance's
			Columns: []Column{
				{Field: "alertname", Title: "Alert"},
				{Field: "severity", Title: "Severity", Width: 90},
				{Field: "Value", Title: "Alerts", Unit: "none", Width: 70, Steps: none()},
			},
		},
	}
}

func evidencePanels() []Panel {
	return []Panel{
		{
			Kind: Series, Title: "Digests", Width: 6, Height: 7, Unit: "ops", Stacked: true, Section: "trailsealtamperingfound",
			Help:    "Digest files dealt with each second: valid ones, and those that failed a check and are believed in nothing.",
			Queries: []Query{{of("trailseal_digests_total", " by (result)"), "{{result}}"}},
		},
		{
			Kind: Series, Title: "Log files", Width: 6, Height: 7, Unit: "ops", Stacked: true, Section: "trailsealtamperingfound",
			Help:    "Log files dealt with each second: those with the signed hash were emitted, the others are quarantined with a finding.",
			Queries: []Query{{of("trailseal_logs_total", " by (result)"), "{{result}}"}},
		},
		{
			Kind: Series, Title: "Could not be checked", Width: 6, Height: 7, Unit: "none", Bars: true, Stacked: true, Section: "trailsealevidenceunreadable",
			Help:    "Attempts that ended without a verdict, by reason. They are tried again with growing pauses.",
			Queries: []Query{{`sum by (reason) (increase(trailseal_unverified_total{instance=~"$instance"}[$__rate_interval]))`, "{{reason}}"}},
		},
		{
			Kind: Series, Title: "Attestation delay", Width: 6, Height: 7, Unit: "s", Section: "trailsealchainlate",
			Help:    "From a digest's end until its events are durable downstream. Half an hour of it is CloudTrail's. History that is caught up with counts, too.",
			Queries: quantiles("trailseal_attestation_delay_seconds", "", ""),
		},
	}
}
