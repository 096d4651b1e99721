package bench

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// ingestS3Rows run the built ingest once over a bucket; its events go to
// /dev/null. The same number of log files lies in one chain, whose digests are
// dealt with one by one, and in many side by side; the peer reads the latter,
// x-peer is the ratio of the walls and x-peer-cpu that of processor time.
func ingestS3Rows(full bool) (rows []row) {
	for _, latency := range []time.Duration{0, 30 * time.Millisecond} {
		for _, s := range []site{
			{Chains: 1, Hours: pick(full, 400, 2), LogSize: 20 << 10},
			{Chains: pick(full, 40, 2), Hours: pick(full, 10, 1), LogSize: 20 << 10},
			{Chains: 1, Hours: pick(full, 50, 1), LogSize: 470 << 10},
			{Chains: pick(full, 10, 2), Hours: pick(full, 5, 1), LogSize: 470 << 10},
		} {
			s.Logs, s.Latency = 12, latency
			rows = append(rows, row{fmt.Sprintf("%s/%dKB/%dlogs/%dchains", latency, s.LogSize>>10, s.logs(), s.Chains), s.ingested})
		}
	}
	return rows
}

// ingestQueueRows start the built ingest with a queue in which the digests of
// all those hours wait, as the templates in deploy/ announce them: one message
// a digest. The time ends when the queue is empty.
func ingestQueueRows(full bool) []row {
	s := site{Chains: pick(full, 100, 5), Hours: pick(full, 20, 2), Logs: pick(full, 50, 4), LogSize: 1, Queue: true}
	return []row{{fmt.Sprintf("%dlogs/%dmessages", s.logs(), s.digests()), s.ingested}}
}

func (s site) ingested(m meter) {
	srv := s.start(m)
	run := errand{Env: srv.env, Discard: true, Args: []string{program(m, "ingest")}}
	if s.Queue {
		run.Args = append(run.Args, s.ingestFlags("--state", "file:"+m.TempDir()+"/state", "--listen", "", "--queue", srv.queue)...)
	} else {
		run.Args = append(run.Args, s.ingestFlags("--state", "memory", "--once")...)
	}
	peer := s.peer(m, srv)
	var t, peers total
	events := 0
	for m.Loop() {
		for range s.turns() {
			var got measured
			switch {
			case !s.Queue:
				got = run.measure(m, 0)
			case t.runs > 0:
				m.Fatal("the queue is empty after one run: use -benchtime 1x")
			default:
				got = drained(m, srv, run)
			}
			t.add(got)
			events = s.emitted(m, got)
			if peer != nil {
				peers.add(peer.measure(m, 0))
			}
		}
	}
	if read := srv.status().Requests["GetObject"]; read < (s.logs()+s.Chains*s.Hours)*t.runs {
		m.Fatalf("%d objects read in %d runs, of %d logs and their digests", read, t.runs, s.logs())
	}
	t.report(m, "")
	m.ReportMetric(t.per(s.logs(), t.wall), "logs/s")
	m.ReportMetric(t.per(events, t.wall), "events/s")
	m.ReportMetric(t.per(events, t.cpu), "events/cpu-s")
	if peer != nil {
		s.beside(m, t, peers, events)
	}
}

// turns is how often ours and the peer take turns: a single run of less than a
// second says little.
func (s site) turns() int {
	if s.Latency > 0 || s.Queue {
		return 1
	}
	return 5
}

// ingestFlags are the arguments of an ingest of the whole site.
func (s site) ingestFlags(more ...string) []string {
	return append([]string{
		"--source", "s3://" + bucket, "--sink", "stdout",
		"--since", s.begin().AddDate(0, 0, -1).Format(time.RFC3339), "--grace", fmt.Sprint(time.Since(newest) + 24*time.Hour),
	}, more...)
}

// drained runs ingest until the queue is empty. Its wall ends there.
func drained(m meter, srv *server, run errand) measured {
	run.Endless = true
	began := time.Now()
	ingest := run.start(m)
	for waiting := 1; waiting > 0; waiting = srv.status().Waiting {
		if len(ingest.over) > 0 || time.Since(began) > 10*time.Minute {
			m.Fatalf("%d messages are still in the queue\n%s", waiting, ingest.end(m, 0).Output)
		}
		time.Sleep(20 * time.Millisecond)
	}
	wall := time.Since(began)
	got := ingest.end(m, 0)
	got.Wall = wall
	return got
}

var ended = regexp.MustCompile(`msg=ended events=(\d+) findings=0 chains_waiting=0`)

// emitted returns how many events a run says that it emitted.
func (s site) emitted(m meter, got measured) int {
	m.Helper()
	end := ended.FindStringSubmatch(got.Output)
	if end == nil {
		m.Fatalf("no %s in\n%s", ended, got.Output)
	}
	n, err := strconv.Atoi(end[1])
	if want := s.logs() * s.events(); err != nil || n != want {
		m.Fatalf("%d events, want %d; %v", n, want, err)
	}
	return n
}
