package verify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/pkg/finding"
)

// report puts the result together, in an order that does not depend on timing.
func (r *run) report() *report.Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := &report.Report{
		Source: r.cfg.Source.Name, Requested: report.Range{Start: r.cfg.Start.UTC(), End: r.cfg.End.UTC()},
		Chains: []report.Chain{}, Keys: r.usedKeys(), Began: r.began, Ended: r.ended, Ends: r.ends, OriginalBucket: r.cfg.Source.Original,
	}
	for _, c := range slices.Concat(r.chains, r.unproven) {
		if !c.isSilent {
			row := r.row(c)
			r.notDue = r.notDue ||
				slices.ContainsFunc(row.Covered, func(s report.Segment) bool { return s.State == report.NotDue })
			out.Chains = append(out.Chains, row)
		}
	}
	slices.SortFunc(out.Chains, func(a, b report.Chain) int {
		return cmp.Or(
			cmp.Compare(a.Organization, b.Organization),
			cmp.Compare(a.Account, b.Account),
			cmp.Compare(a.Region, b.Region),
			cmp.Compare(a.Trail, b.Trail),
			cmp.Compare(a.HomeRegion, b.HomeRegion),
			cmp.Compare(a.Prefix, b.Prefix),
			compareBool(a.Backfill, b.Backfill),
		)
	})
	for _, list := range [][]report.ChainEnd{out.Began, out.Ended, out.Ends} {
		slices.SortFunc(list, func(a, b report.ChainEnd) int {
			return cmp.Or(
				cmp.Compare(a.Organization, b.Organization),
				cmp.Compare(a.Account, b.Account),
				cmp.Compare(a.Region, b.Region),
				cmp.Compare(a.Trail, b.Trail),
				cmp.Compare(a.HomeRegion, b.HomeRegion),
				cmp.Compare(a.Prefix, b.Prefix),
				a.At.Compare(b.At),
			)
		})
	}
	for _, folder := range slices.Sorted(maps.Keys(r.siblings)) {
		if !r.siblings[folder] {
			out.NotCovered = append(out.NotCovered, folder)
		}
	}
	out.Counts.LogsListed, out.Counts.InflatedBytes, out.Counts.UnprovenDigests = r.logObjects, r.inflated, r.more
	if r.cfg.Litter != nil {
		out.Counts.Litter = r.cfg.Litter()
	}
	out.Skipped = r.skipped()
	r.collect.Fill(out)
	r.hint(out)
	out.Conclude()
	if r.notDue || out.Counts.Unverified > 0 || out.Verdict == report.Incomplete {
		out.AskAgain = &report.Range{Start: r.cfg.Start.UTC(), End: r.cfg.End.UTC()}
		if out.Counts.Unverified == 0 && out.Verdict != report.Incomplete {
			out.AskAgain.Start = earlier(r.due(), r.cfg.End).Add(-window).UTC()
		}
	}
	return out
}

func (r *run) row(c *strands) report.Chain {
	digests, logs := c.counts()
	n := c.name
	return report.Chain{
		Account: n.Account, Region: n.Region, Trail: n.Trail, HomeRegion: n.HomeRegion, Organization: n.Organization,
		Prefix: n.Prefix, Backfill: n.Backfill, Digests: digests, Logs: logs, Covered: r.covered(c),
	}
}

// skipped says what the user left out.
func (r *run) skipped() (all []string) {
	if r.cfg.NoLogs {
		all = append(all, "the content of log files (--no-logs)")
	}
	if r.cfg.NoUnlisted {
		all = append(all, "objects that no digest lists (--no-unlisted)")
	}
	for _, prefix := range r.cfg.Except {
		all = append(all, fmt.Sprintf("everything below %s (--except)", prefix))
	}
	return all
}

// hint adds to the first digest-moved finding what a replica needs: where no
// digest lies in the bucket that it was signed for, and all were signed for one.
func (r *run) hint(out *report.Report) {
	if r.cfg.Source.IsCopy() || r.trusted.Load() || len(r.movedFrom) != 1 {
		return
	}
	i := slices.IndexFunc(out.Findings, func(f finding.Finding) bool { return f.Class == finding.DigestMoved })
	for bucket := range r.movedFrom {
		if i >= 0 {
			out.Findings[i].Detail += fmt.Sprintf(
				"; all proven digests name the bucket %s: if this bucket is a replica of it, give --original-bucket %s",
				bucket,
				bucket,
			)
		}
	}
}

func (r *run) usedKeys() []report.Key {
	keys := []report.Key{}
	for _, name := range slices.Sorted(maps.Keys(r.used)) {
		k := r.used[name]
		keys = append(
			keys,
			report.Key{
				Region:      k.Region,
				Fingerprint: k.Fingerprint,
				From:        r.cfg.KeysFrom,
				ValidFrom:   k.From,
				ValidTo:     k.To,
			},
		)
	}
	slices.SortStableFunc(keys, func(a, b report.Key) int {
		return cmp.Or(
			cmp.Compare(a.Region, b.Region),
			a.ValidFrom.Compare(b.ValidFrom),
			cmp.Compare(a.Fingerprint, b.Fingerprint),
		)
	})
	return keys
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
