package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/dir"
	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/ended"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/verify"
	"github.com/trailseal/trailseal/internal/when"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// verifySource is the command verify: its flags.
type verifySource struct {
	Source string `arg:""`

	StartTime string
	EndTime   string `default:"0h"`

	Account []string
	Region  []string
	Trail   []string

	ExpectAccount []string
	ExpectRegion  []string
	ExpectTrail   []string
	Ended         string
	WriteEnded    string
	Grace         time.Duration `default:"2h"`

	Keys              string `default:"auto"`
	OriginalBucket    string
	ManagementAccount string
	Except            []string `sep:"none"`

	Report               []string `sep:"none"`
	MaxFindings          int      `default:"10000"`
	MaxFindingsPerFolder int      `default:"1000"`
	Concurrency          int      `default:"160"`
	MaxDigest            int64    `name:"max-digest-mib" default:"64"`

	NoLogs       bool
	NoUnlisted   bool
	AllFolders   bool
	StayInSource bool

	Profile             string
	ExpectedBucketOwner string
}

// defaultStart is how far back the asked range begins where no --start-time is
// given.
const defaultStart = "24h"

// Validate is called by kong: everything that can be known to be wrong before
// the work starts.
func (v *verifySource) Validate() error {
	for _, a := range slices.Concat(v.Account, v.ExpectAccount) {
		if !trail.ValidAccount(a) {
			return fmt.Errorf("account %q: not 12 digits", a)
		}
	}
	for _, r := range slices.Concat(v.Region, v.ExpectRegion) {
		if !trail.ValidRegion(r) {
			return fmt.Errorf("region %q: not a region's name", r)
		}
	}
	for _, t := range slices.Concat(v.Trail, v.ExpectTrail) {
		if !trail.ValidName(t) {
			return fmt.Errorf("trail %q: not a trail's name (the last part of its ARN)", t)
		}
	}
	for _, folder := range v.Except {
		if strings.Trim(folder, "/") == "" || strings.HasPrefix(folder, "/") || strings.Contains(folder, "://") {
			return fmt.Errorf(
				"--except %q: must name a folder of SOURCE, such as AWSLogs/111122223333/CloudTrail/eu-west-1/",
				folder,
			)
		}
	}
	switch {
	case v.Concurrency < 1 || v.Concurrency > 1024:
		return fmt.Errorf("--concurrency %d: not from 1 to 1024", v.Concurrency)
	case v.MaxDigest < 1 || v.MaxDigest > 4096:
		return fmt.Errorf("--max-digest-mib %d: not from 1 to 4096", v.MaxDigest)
	case v.Grace < 0:
		return errors.New("--grace: must not be negative")
	case v.ManagementAccount != "" && !trail.ValidAccount(v.ManagementAccount):
		return fmt.Errorf("--management-account %q: must be 12 digits", v.ManagementAccount)
	case v.MaxFindings < 1 || v.MaxFindingsPerFolder < 1:
		return errors.New("--max-findings, --max-findings-per-folder: must be positive")
	case v.Source == "":
		return errors.New("SOURCE is empty")
	}
	return nil
}

// Run is the command.
func (v *verifySource) Run(ctx context.Context, a *app) error {
	began := a.now()
	c, err := v.config(began)
	if err != nil {
		return &exitError{code: exitUsage, err: err, hint: "verifier verify -h lists the flags"}
	}
	files, err := openReports(v.Report)
	if err != nil {
		return &exitError{
			code: exitUsage,
			err:  err,
			hint: "--report names a file to write, ending in .json or .txt, in a folder that is there",
		}
	}
	defer func() { files.discard() }()
	if v.WriteEnded != "" {
		f := reportFile{name: v.WriteEnded, write: writeEnded}
		if f.tmp, err = openBeside(f.name); err != nil {
			return &exitError{
				code: exitUsage,
				err:  fmt.Errorf("--write-ended %s: %w", f.name, err),
				hint: "--write-ended names a file to write, in a folder that is there",
			}
		}
		files = append(files, f)
	}
	done, err := v.connect(ctx, a.aws, &c)
	if err != nil {
		return err
	}
	defer done()
	stop := a.showProgress(c.Progress)
	r, err := verify.Run(ctx, c)
	stop()
	if err != nil {
		return verifyError(ctx, err)
	}
	r.Tool, r.Elapsed = report.Tool{Name: "trailseal verifier", Version: programVersion()}, a.now().Sub(began).Seconds()
	if err := errors.Join(r.Text(a.stdout), files.write(r)); err != nil {
		e := &exitError{code: exitIncomplete, err: err}
		if r.Verdict == report.Findings {
			e.code = exitFindings // a full disk hides nothing
		}
		return e
	}
	return verdict(r)
}

// config turns the flags into a question, but for what reads the source.
func (v *verifySource) config(now time.Time) (c verify.Config, err error) {
	c = verify.Config{
		Now: now.UTC(), Grace: v.Grace, Accounts: v.Account, Regions: v.Region, Trails: v.Trail,
		ExpectAccounts: v.ExpectAccount, ExpectRegions: v.ExpectRegion, ExpectTrails: v.ExpectTrail, Except: v.Except,
		NoLogs: v.NoLogs, NoUnlisted: v.NoUnlisted, AllFolders: v.AllFolders, StayInside: v.StayInSource,
		Limits:      report.Limits{PerFolder: v.MaxFindingsPerFolder, Total: v.MaxFindings},
		Concurrency: v.Concurrency, KeysFrom: v.Keys, Progress: new(verify.Progress),
	}
	if v.Ended != "" {
		if c.Ended, err = readEnded(v.Ended); err != nil {
			return c, fmt.Errorf("--ended: %w", err)
		}
	}
	start := v.StartTime
	if start == "" {
		start = defaultStart
	}
	if c.Start, err = when.Time(start, now); err != nil {
		return c, fmt.Errorf("--start-time: %w", err)
	}
	if when.Relative(start) {
		// Daily runs leave no seam: an hour that was not yet due in the last run is
		// judged in this one.
		c.Start = c.Start.Add(-v.Grace - chain.Window)
	}
	if c.End, err = when.Time(v.EndTime, now); err != nil {
		return c, fmt.Errorf("--end-time: %w", err)
	}
	c.Start, c.End = c.Start.Truncate(time.Second), c.End.Truncate(time.Second)
	if !c.Start.Before(c.End) {
		return c, fmt.Errorf(
			"--start-time %s is not before --end-time %s",
			c.Start.Format(time.RFC3339),
			c.End.Format(time.RFC3339),
		)
	}
	return c, nil
}

// connect opens the source and the keys. The function it returns closes them.
func (v *verifySource) connect(ctx context.Context, o awsapi.Options, c *verify.Config) (func(), error) {
	src, err := source.Parse(v.Source)
	if err != nil {
		return nil, &exitError{code: exitUsage, err: err, hint: sourceHint}
	}
	if v.OriginalBucket != "" {
		all, err := source.ParseOriginals([]string{v.OriginalBucket}, []source.Source{src})
		if err != nil {
			return nil, &exitError{code: exitUsage, err: err, hint: "verifier verify -h lists the flags"}
		}
		src = all[0]
	}
	var client *awsapi.Client
	if !src.IsCopy() || v.Keys == "auto" {
		o.Profile, o.Concurrency, o.ExpectedBucketOwner = v.Profile, v.Concurrency, v.ExpectedBucketOwner
		client, err = awsapi.Load(ctx, o)
	}
	if err != nil {
		return nil, &exitError{code: exitUsage, err: err}
	}
	if v.Keys == "auto" {
		c.Keys, c.KeysFrom = client.CloudTrail(), "cloudtrail"
	} else if c.Keys, err = readKeys(v.Keys); err != nil {
		return nil, &exitError{code: exitUsage, err: err, hint: "verifier keys saves the keys in this form"}
	}
	c.Management = v.management(client)
	done := func() {}
	if src.IsCopy() {
		root, prefix, err := source.Folder(v.Source)
		if err != nil {
			return nil, &exitError{code: exitUsage, err: err, hint: sourceHint}
		}
		folder, err := dir.Open(root)
		if err != nil {
			return nil, &exitError{code: exitUsage, err: err, hint: sourceHint}
		}
		done = func() { folder.Close() }
		src.Prefix = prefix
		c.Fetcher = fetch.New(folder, v.Concurrency)
		c.Fetcher.Plain = true
		c.Litter = folder.Litter
	} else {
		c.Fetcher = fetch.New(client.S3(), v.Concurrency)
	}
	c.Fetcher.MaxDigest = v.MaxDigest << 20
	if src.IsAccessPoint() && src.Original == "" {
		bucket, err := discover.LearnBucket(
			ctx,
			src,
			c.Fetcher.Objects,
			chain.NewKeyring(c.Keys, c.Start, c.End, time.Now),
			c.Now,
		)
		if err != nil {
			return nil, verifyError(ctx, err)
		}
		src.Learn(bucket)
	}
	c.Source = src
	return done, nil
}

const sourceHint = "SOURCE is a folder, s3://bucket[/prefix], or the ARN or alias of an access point"

// management returns who tells the management account of an organization: the flag
// or, where the caller may ask, AWS Organizations.
func (v *verifySource) management(client *awsapi.Client) func(context.Context, string) string {
	switch {
	case v.ManagementAccount != "":
		return func(context.Context, string) string { return v.ManagementAccount }
	case client == nil:
		return nil
	}
	return client.CloudTrail().ManagementAccounts()
}

// readEnded reads the file of acknowledged ends.
func readEnded(file string) (ended.List, error) {
	f, err := os.Open(file)
	if err != nil {
		return ended.List{}, err
	}
	defer f.Close()
	list, err := ended.Parse(f)
	if err != nil {
		return ended.List{}, fmt.Errorf("read %s: %w", file, err)
	}
	return list, nil
}

// writeEnded writes the file that acknowledges the chains that have ended.
func writeEnded(r *report.Report, w io.Writer) error {
	var list ended.List
	for _, e := range r.Ends {
		c := trail.Chain{
			Place:      trail.Place{Organization: e.Organization, Account: e.Account, Region: e.Region},
			Trail:      e.Trail,
			HomeRegion: e.HomeRegion,
		}
		list = append(list, ended.EntryOf(c, e.At))
	}
	return list.Write(w)
}

func readKeys(file string) (chain.Saved, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return chain.Saved{}, err
	}
	set, err := digest.ParseKeySet(b)
	if err != nil {
		return chain.Saved{}, fmt.Errorf("read %s: %w", file, err)
	}
	return chain.Saved(set), nil
}

// verifyError is for whatever ended the run before anything could be said.
func verifyError(ctx context.Context, err error) error {
	e := &exitError{code: exitIncomplete, err: err}
	switch {
	case ctx.Err() != nil:
		e.err = errors.New("interrupted: nothing can be said")
	case errors.Is(err, discover.ErrNothing):
		e.hint = "is this the trail's bucket and prefix? aws cloudtrail describe-trails names both"
	case errors.Is(err, fs.ErrNotExist):
		e.hint = "is the bucket's name right?"
	case errors.Is(err, awsapi.ErrCredentials): // hintText has more to say
	case errors.Is(err, fs.ErrPermission):
		e.hint = "the caller needs s3:ListBucket and s3:GetObject on the bucket"
	}
	return e
}

// verdict turns a report into the exit code.
func verdict(r *report.Report) error {
	switch r.Verdict {
	case report.Findings:
		return &exitError{code: exitFindings}
	case report.Incomplete:
		return &exitError{code: exitIncomplete}
	}
	return nil
}
