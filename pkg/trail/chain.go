package trail

import (
	"strings"
	"time"
)

// Folders below an account's folder that CloudTrail writes to.
const (
	LogFolder    = "CloudTrail"
	DigestFolder = "CloudTrail-Digest"
)

// Place is the part of a bucket where one account's files of one region lie.
type Place struct {
	Prefix       string // as set on the trail: "" or a path without a slash at its ends
	Organization string // o-..., or "" for a trail of one account
	Account      string
	Region       string // the region the events are from
}

// Folder returns the place's folder of the given kind (LogFolder,
// DigestFolder), ending in a slash.
func (p Place) Folder(kind string) string { return p.Regions(kind) + p.Region + "/" }

// Regions returns the folder of the given kind that holds the folders of the
// account's regions, ending in a slash.
func (p Place) Regions(kind string) string { return p.accountFolder() + kind + "/" }

// Day returns the folder of the given kind for the UTC day of t, ending in a
// slash.
func (p Place) Day(kind string, t time.Time) string {
	return p.Folder(kind) + t.UTC().Format("2006/01/02") + "/"
}

func (p Place) accountFolder() string {
	var b strings.Builder
	if p.Prefix != "" {
		b.WriteString(p.Prefix + "/")
	}
	b.WriteString("AWSLogs/")
	if p.Organization != "" {
		b.WriteString(p.Organization + "/")
	}
	b.WriteString(p.Account + "/")
	return b.String()
}

// Chain names a digest chain. A trail writes one chain per account and
// region; backfill digests form a chain of their own.
type Chain struct {
	Place
	Trail      string // the trail's name
	HomeRegion string // the region the trail was made in
	Backfill   bool
}

// Digest returns the key of the chain's digest that ends at end.
func (c Chain) Digest(end time.Time) DigestKey { return DigestKey{Chain: c, End: end.UTC()} }

// String returns "ACCOUNT REGION TRAIL", with the home region where it
// differs and the words that tell chains of one place apart.
func (c Chain) String() string {
	s := c.Account + " " + c.Region + " " + c.Trail
	if c.HomeRegion != c.Region {
		s += " (" + c.HomeRegion + ")"
	}
	if c.Backfill {
		s += " backfill"
	}
	return s
}

// Same reports whether two names are of one chain: a trail may change its prefix
// and its organization, and keeps its account, region, name and home region.
func (c Chain) Same(o Chain) bool { return c.Identity() == o.Identity() }

// Identity returns the name without the prefix and the organization that the
// chain's files lie below.
func (c Chain) Identity() Chain {
	c.Prefix, c.Organization = "", ""
	return c
}
