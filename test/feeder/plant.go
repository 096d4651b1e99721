package main

import (
	"context"
	"fmt"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
)

// plant is something that someone did to a trail. Each happens in the past of
// an account of its own, whose history then comes in at once: a digest that is
// missing is waited for until it is older than the worker's grace, and hours
// without logging take hours.
type plant struct {
	name  string
	does  string
	found finding.Class // by the verifier
	alert string        // that the worker's finding fires; "": it finds nothing
	story func(f *feeder, c *testtrail.Chain)
	// lag is how long ago the history ends, beside the delay.
	lag time.Duration
}

// plantBack is how far back the history of a planted account begins, and
// plantHours how many hours of it pass until something happens.
const (
	plantBack  = 12 * time.Hour
	plantHours = 3
)

func plants() []plant {
	return []plant{
		{name: "log-modified", does: "a log file is edited after it was signed", found: finding.LogModified, alert: "TrailsealTamperingFound", story: editLog},
		{name: "stop", does: "logging is switched off for two hours", found: finding.Gap, alert: "TrailsealGapFound", story: stopLogging},
		{name: "digest-missing", does: "a digest is deleted", found: finding.DigestMissing, alert: "TrailsealTamperingFound", story: deleteDigest},
		{name: "late", does: "no digest comes any more since four hours", found: finding.Coverage, alert: "TrailsealHoursUncovered", lag: 4 * time.Hour},
		{name: "log-planted", does: "a log file is put in that no digest lists: the worker never reads it, the verifier tells", found: finding.LogUnlisted, story: plantLog},
	}
}

func plantNames() (names []string) {
	for _, p := range plants() {
		names = append(names, p.name)
	}
	return names
}

func plantNamed(name string) (plant, bool) {
	for _, p := range plants() {
		if p.name == name {
			return p, true
		}
	}
	return plant{}, false
}

func editLog(f *feeder, c *testtrail.Chain) { f.world.HideMallory(c.SecretHour().Logs[0]) }

func stopLogging(_ *feeder, c *testtrail.Chain) {
	c.StopHour()
	c.Skip(2 * time.Hour)
	c.Restart(c.Now())
	c.StartHour()
}

func deleteDigest(f *feeder, c *testtrail.Chain) {
	d := c.SecretHour()
	f.world.Delete(d.Bucket, d.Key)
}

// plantLog delivers a log file in the middle of an hour whose digest does not
// list it.
func plantLog(f *feeder, c *testtrail.Chain) {
	c.Deliver(c.Now().Add(30*time.Minute), f.world.Log(2))
}

// plant delivers the history of a new account in which p happens, and returns
// the account.
func (f *feeder) plant(ctx context.Context, p plant) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.planted
	f.planted++
	name := account(900 + n)
	// Their hours end between those of the other chains.
	offset := time.Duration(n%30) * 2 * time.Minute
	c := f.chain(name, regions()[n%len(regions())], plantBack+p.lag, offset+41*time.Second)
	for range plantHours {
		f.hour(c)
	}
	if p.story != nil {
		p.story(f, c)
	}
	for !f.due(c).Add(p.lag).After(f.now()) {
		f.hour(c)
	}
	objects, err := f.deliver(ctx, c)
	if err != nil {
		return "", fmt.Errorf("plant %s: %w", p.name, err)
	}
	if err := f.to.Announce(ctx, objects[len(objects)-1:]); err != nil { // the newest digest: the rest is found from there
		return "", fmt.Errorf("plant %s: %w", p.name, err)
	}
	f.log.Info("planted", "what", p.name, "account", name, "region", c.Place().Region)
	if p.lag == 0 {
		f.chains = append(f.chains, c)
		select {
		case f.woken <- struct{}{}:
		default: // it is woken already
		}
	}
	return name, nil
}
