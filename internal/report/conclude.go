package report

import "slices"

// Conclude fills what follows from the rest: the verdict and the sums. What is
// counted and not listed weighs as much as what is listed.
func (r *Report) Conclude() {
	r.Version = Version
	c := &r.Counts
	c.Chains, c.Digests, c.Logs = len(r.Chains), c.UnprovenDigests, Count{}
	for _, chain := range r.Chains {
		c.Digests.Add(chain.Digests)
		c.Logs.Add(chain.Logs)
	}
	r.sum()
	switch {
	case c.Findings > 0:
		r.Verdict = Findings
	case c.Unverified > 0 || c.Digests.Unverified > 0 || c.Logs.Unverified > 0 || r.hasUnverifiedTime():
		r.Verdict = Incomplete
	default:
		r.Verdict = Intact
	}
	// Each object that could not be checked belongs to one entry. A chain whose
	// digest could not be read may count log files that no entry stands for.
	c.UnverifiedObjects = max(c.UnverifiedObjects, c.Digests.Unverified+c.Logs.Unverified)
}

// hasUnverifiedTime reports whether some hour of a chain was not judged.
func (r *Report) hasUnverifiedTime() bool {
	return slices.ContainsFunc(r.Chains, func(c Chain) bool {
		return slices.ContainsFunc(c.Covered, func(s Segment) bool { return s.State == Unverified })
	})
}

// sum counts the findings and the unverified entries.
func (r *Report) sum() {
	c := &r.Counts
	c.Findings, c.FindingsListed = len(r.Findings), 0
	c.Unverified, c.UnverifiedObjects, c.UnverifiedFolders = len(r.Unverified), 0, 0
	for _, u := range r.Unverified {
		c.UnverifiedObjects += u.Count()
		if u.IsFolder() {
			c.UnverifiedFolders++
		}
	}
	for _, o := range r.Omitted {
		switch {
		case o.Class != "":
			c.Findings += o.Count
			c.FindingsListed = len(r.Findings)
		case o.Reason != "":
			c.Unverified += o.Count
			c.UnverifiedObjects += o.Objects
			c.UnverifiedFolders += o.Folders
		}
	}
}
