package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/when"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// slack is how far before the asked range keys are asked for. After the range it
// is digest.SignedWithin, so that the list is complete for each digest that ends
// in the range. It may reach beyond now: a key that does not exist yet has not
// signed a digest that exists.
const slack = 2 * time.Hour

// saveKeys is the command keys: its flags.
type saveKeys struct {
	Region    []string
	StartTime string `default:"90d"`
	EndTime   string `default:"0h"`
	Output    string `short:"o" default:"-"`
	Profile   string
}

// Validate is called by kong.
func (k *saveKeys) Validate() error {
	for _, r := range k.Region {
		if !trail.ValidRegion(r) {
			return fmt.Errorf("region %q: not a region's name", r)
		}
	}
	return nil
}

// Run asks each region for its keys and writes them as one list.
func (k *saveKeys) Run(ctx context.Context, a *app) error {
	from, to, err := k.extent(a.now())
	if err != nil {
		return &exitError{code: exitUsage, err: err, hint: "verifier keys -h lists the flags"}
	}
	var file *os.File
	if k.Output != "-" {
		if file, err = openBeside(k.Output); err != nil {
			return &exitError{code: exitUsage, err: fmt.Errorf("--output %s: %w", k.Output, err), hint: "--output names a file to write, in a folder that is there"}
		}
		defer os.Remove(file.Name()) // gone under this name once it is written
		defer file.Close()
	}
	o := a.aws
	o.Profile = k.Profile
	client, err := awsapi.Load(ctx, o)
	if err != nil {
		return err
	}
	regions := k.Region
	if len(regions) == 0 && client.Region() != "" {
		regions = []string{client.Region()}
	}
	if len(regions) == 0 {
		return &exitError{code: exitUsage, err: awsapi.ErrRegion, hint: "name the regions with --region, as often as needed"}
	}
	var all digest.KeySet
	source := client.CloudTrail()
	for _, region := range regions {
		set, err := source.PublicKeys(ctx, region, from, to)
		if err != nil {
			return err
		}
		if len(set.Keys) == 0 {
			fmt.Fprintf(a.stderr, "warning: %s lists no key from %s to %s\n", region, from.Format(time.RFC3339), to.Format(time.RFC3339))
		}
		for _, key := range set.Keys {
			if err := key.CheckFingerprint(); err != nil {
				return fmt.Errorf("list public keys of %s: %w", region, err)
			}
		}
		all = all.Merge(set)
	}
	b, err := all.JSON()
	if err != nil {
		return err
	}
	if file == nil {
		_, err = a.stdout.Write(b)
		return err
	}
	_, err = file.Write(b)
	return settle(file, k.Output, err)
}

func (k *saveKeys) extent(now time.Time) (from, to time.Time, err error) {
	if from, err = when.Time(k.StartTime, now); err != nil {
		return from, to, fmt.Errorf("--start-time: %w", err)
	}
	if to, err = when.Time(k.EndTime, now); err != nil {
		return from, to, fmt.Errorf("--end-time: %w", err)
	}
	if to.Before(from) {
		return from, to, fmt.Errorf("--start-time %s is after --end-time %s", from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	return from.Add(-slack).Truncate(time.Second), to.Add(digest.SignedWithin).Truncate(time.Second), nil
}
