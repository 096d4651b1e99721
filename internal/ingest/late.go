package ingest

import (
	"context"
	"time"

	"github.com/trailseal/trailseal/internal/ended"
	"github.com/trailseal/trailseal/pkg/finding"
)

// reportLate reports, once for each head, that the chain's newest digest is later than the
// grace. It judges by a poll that listed all folders of the chain after that digest.
func (c *chainLoop) reportLate(ctx context.Context) error {
	h, w := c.entry.Head, c.worker
	if c.snapshot().isEnded && !h.Ended {
		h.Ended = true
		err := c.commit(ctx, h)
		if err == nil {
			c.showHead()
		}
		return err
	}
	now, end := w.config.Now(), h.Until()
	isLate := !end.IsZero() && !c.name.Backfill && now.Sub(end) > w.config.Grace+window
	if !isLate || h.LateTold || h.Ended || w.config.Once || !c.snapshot().polled {
		return nil
	}
	if standing, _ := w.config.Ended.Judge(c.name, end); standing == ended.Acknowledged {
		return nil
	}
	if c.mayGoOn(end) {
		return nil
	}
	switch e, err := w.ledger.Open(ctx, c.id); {
	case err != nil:
		return err
	case e.Version != c.entry.Version: // another worker has brought the chain further
		c.isOpen = false
		return nil
	}
	detail := "no digest after the one that ends at " + end.Format(time.RFC3339)
	if h.Link.Key == "" {
		detail = "no digest since the time that the chain was reset to, " + end.Add(1).Format(time.RFC3339)
	}
	err := w.report(ctx, finding.Finding{
		Class: finding.Coverage,
		Subject: finding.Subject{
			Account: c.name.Account, Region: c.name.Region, Trail: c.name.Trail, Bucket: c.feed.source.Bucket, Time: end,
		},
		Detail:   detail + ": deleted, late, or logging stopped",
		Evidence: finding.Evidence{From: end, To: now.UTC().Truncate(time.Second)},
	})
	if err != nil {
		return err
	}
	h.LateTold = true
	// It is told once, also where the worker ends now. A state that hangs does not keep the
	// worker from ending.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastCommit)
	defer cancel()
	return c.commit(last, h)
}

// mayGoOn reports whether names of a chain wait for a proof that can continue this one,
// below another organization. It does so once for each end: then the next poll decides,
// since anyone can plant such names.
func (c *chainLoop) mayGoOn(end time.Time) bool {
	if c.doubted.Equal(end) {
		return false
	}
	c.feed.mu.Lock()
	defer c.feed.mu.Unlock()
	for _, other := range c.feed.unproven {
		if other.name.Organization != c.name.Organization && other.name.Same(c.name) {
			c.doubted = end
			c.update(func(p *progress) { p.polled = false })
			return true
		}
	}
	return false
}

// lastCommit is how long the worker waits for the state while it ends.
const lastCommit = 5 * time.Second
