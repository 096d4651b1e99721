package bench

import (
	"fmt"
	"time"
)

// verified runs the built verify over a site and reports what it took.
func (s site) verified(m meter, logs bool) {
	srv := s.start(m)
	want, flags := s.digests(), []string{"--no-logs", "--no-unlisted"}
	if logs {
		want, flags = want+s.logs(), nil
	}
	run := errand{Args: append([]string{program(m, "verifier")}, s.verifyFlags(flags...)...), Env: srv.env}
	var t total
	var requests, got int
	for m.Loop() {
		before := srv.status().Requests
		t.add(run.measure(m, 0))
		after := srv.status().Requests
		requests += sum(after) - sum(before)
		got += after["GetObject"] - before["GetObject"]
	}
	if got != want*t.runs {
		m.Fatalf("%d objects read in %d runs, want %d in each", got, t.runs, want)
	}
	t.report(m, "")
	m.ReportMetric(float64(requests)/float64(t.runs), "requests")
	m.ReportMetric(t.per(want, t.wall), "objects/s")
	m.ReportMetric(1e6/t.per(want, t.cpu), "cpu-us/object")
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

// organizationRows verify a day of 50 accounts in 17 regions with four small
// log files an hour in each.
func organizationRows(full bool) []row {
	s := site{Chains: pick(full, 850, 20), Hours: pick(full, 24, 2), Logs: 4, LogSize: 1, Latency: 30 * time.Millisecond}
	return []row{
		{fmt.Sprintf("%dchains/%dlogs", s.Chains, s.logs()), func(m meter) { s.verified(m, true) }},
		{fmt.Sprintf("%dchains/digests", s.Chains), func(m meter) { s.Logs = 0; s.verified(m, true) }},
	}
}

// chainsRows verify the digests of a day of ever more chains, without latency:
// what it costs must grow as their number does. Logs would only hide it.
func chainsRows(full bool) (rows []row) {
	for _, n := range pick(full, []int{1, 10, 100, 1_000, 10_000}, []int{1, 20}) {
		s := site{Chains: n, Hours: pick(full, 24, 2)}
		rows = append(rows, row{fmt.Sprintf("%dchains/%ddigests", n, s.digests()), func(m meter) { s.verified(m, false) }})
	}
	return rows
}

// lengthRows verify one chain, of a day to ten years, digests only.
func lengthRows(full bool) (rows []row) {
	for _, hours := range pick(full, []int{24, 240, 2_400, 24_000, 87_600}, []int{2, 48}) {
		s := site{Chains: 1, Hours: hours}
		rows = append(rows, row{fmt.Sprintf("%ddigests", hours), func(m meter) { s.verified(m, false) }})
	}
	return rows
}

// concurrencyRows verify one chain and several side by side with ever more
// objects read at once.
func concurrencyRows(full bool) (rows []row) {
	for _, latency := range []time.Duration{0, 30 * time.Millisecond} {
		for _, chains := range []int{1, 8} {
			for _, n := range pick(full, []int{16, 32, 64, 128, 160, 256}, []int{160}) {
				s := site{Chains: chains, Hours: pick(full, 240, 8) / chains, Logs: 12, LogSize: 20 << 10, Latency: latency}
				rows = append(rows, row{fmt.Sprintf("%s/%dchains/concurrency=%d", latency, chains, n), func(m meter) { s.concurrent(m, n) }})
			}
		}
	}
	return rows
}

func (s site) concurrent(m meter, n int) {
	srv := s.start(m)
	run := errand{Args: append([]string{program(m, "verifier")}, s.verifyFlags("--concurrency", fmt.Sprint(n))...), Env: srv.env}
	var t total
	for m.Loop() {
		t.add(run.measure(m, 0))
	}
	t.report(m, "")
	m.ReportMetric(t.per(s.logs(), t.wall), "logs/s")
}

// collectorRows run both programs with other settings of the collector than
// their own, which is GOGC=100, and 125 of ingest.
func collectorRows(full bool) (rows []row) {
	s := site{Chains: pick(full, 40, 2), Hours: pick(full, 20, 1), Logs: 12, LogSize: 20 << 10}
	for _, name := range []string{"verifier", "ingest"} {
		for _, percent := range pick(full, []string{"50", "100", "200", "400"}, []string{"200"}) {
			rows = append(rows, row{name + "/GOGC=" + percent, func(m meter) {
				srv := s.start(m)
				run := errand{Args: append([]string{program(m, name)}, s.verifyFlags()...), Env: append(srv.env, "GOGC="+percent)}
				if name == "ingest" {
					run.Args, run.Discard = append([]string{program(m, name)}, s.ingestFlags("--state", "memory", "--once")...), true
				}
				var t total
				for m.Loop() {
					for range 3 {
						t.add(run.measure(m, 0))
					}
				}
				t.report(m, "")
			}})
		}
	}
	return rows
}
