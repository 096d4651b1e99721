package e2e

import (
	"math/rand/v2"
	"testing"
	"time"
)

// byQueue makes a worker hear of what is new from its queue alone.
func byQueue(url string) []string { return []string{"--queue", url, "--poll", "1h"} }

const longPoll = 22 * time.Second

// The queue cannot be reached for a minute, in which much is announced.
func TestQueueGone(t *testing.T) {
	t.Parallel()
	s, q := newSite(t, newS3(t)), newQueue(t, emulator(t))
	s.hours(2)
	s.deliver()
	p := newProxy(t)
	endpoint := p.to("sqs", "moto:5000", 5000)
	w := s.work(settings{sqs: endpoint, args: byQueue(q.inside(endpoint))})
	w.reached()
	announce := func() {
		for _, key := range s.hours(5) {
			defer q.send(s.bucket, key)
		}
		s.deliver()
	}
	announce()
	w.reached()
	p.enable("sqs", false)
	// A long poll that was cut off still takes messages, which come back only
	// when their visibility has run out: that is SQS's way, and takes long.
	time.Sleep(longPoll)
	w.notReady("queues")
	announce()
	time.Sleep(time.Minute - longPoll)
	w.notReady("queues")
	w.behind()
	announce()
	p.enable("sqs", true)
	back := time.Now()
	w.reached()
	t.Logf("at the end %s after the queue came back", time.Since(back).Round(time.Second))
	q.drained()
	t.Logf("drained %s after", time.Since(back).Round(time.Second))
	s.accountFor(w)
}

// Two workers, each with a state of its own, share a queue: together they have
// every event, and the bucket has it once.
func TestTwoWorkers(t *testing.T) {
	t.Parallel()
	s, aws := newSite(t, newS3(t)), emulator(t)
	q := newQueue(t, aws)
	s.hours(1)
	s.deliver()
	o := settings{sqs: aws.inside, args: byQueue(q.inside(aws.inside))}
	var workers []*worker
	for _, o.name = range []string{"a-", "b-"} {
		w := s.work(o)
		w.reached()
		workers = append(workers, w)
	}
	for range 5 {
		keys := s.hours(4)
		s.deliver()
		rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		for _, key := range keys {
			q.send(s.bucket, key)
		}
	}
	q.drained()
	both := tally{map[string]int{}, map[string]string{}}
	for _, w := range workers {
		n := w.end()
		t.Logf("%s: %d of %d events", w.host, len(n.lines), len(s.expected))
		for name, line := range n.lines {
			if old, again := both.lines[name]; again && old != line {
				t.Fatalf("one event, two lines:\n%s\n%s", old, line)
			}
			both.counts[name] += n.counts[name]
			both.lines[name] = line
		}
	}
	s.complete("the files of both", both)
	s.exactlyOnce()
	t.Logf("%d events twice", both.repeats())
}
