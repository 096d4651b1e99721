package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/dir"
	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/verify"
	"github.com/trailseal/trailseal/internal/when"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// verifySource is the command verify: its flags.
type verifySource struct {
	Source string `arg:""`

	StartTime string `default:"24h"`
	EndTime   string `default:"0h"`

	Account []string
	Region  []string
	Trail   []string

	ExpectAccount []string
	ExpectRegion  []string
	Grace         time.Duration `default:"2h"`

	Keys        string   `default:"auto"`
	Report      []string `sep:"none"`
	Concurrency int      `default:"160"`
	MaxDigest   int64    `name:"max-digest-mib" default:"64"`

	NoLogs       bool
	NoUnlisted   bool
	StayInSource bool

	Profile             string
	ExpectedBucketOwner string
}

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
	for _, t := range v.Trail {
		if !trail.ValidName(t) {
			return fmt.Errorf("trail %q: not a trail's name (the last part of its ARN)", t)
		}
	}
	switch {
	case v.Concurrency < 1 || v.Concurrency > 1024:
		return fmt.Errorf("--concurrency %d: not from 1 to 1024", v.Concurrency)
	case v.MaxDigest < 1 || v.MaxDigest > 4096:
		return fmt.Errorf("--max-digest-mib %d: not from 1 to 4096", v.MaxDigest)
	case v.Grace < 0:
		return fmt.Errorf("--grace %s: less than nothing", v.Grace)
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
		return &exitError{code: exitUsage, err: err, hint: "--report names a file to write, ending in .json or .txt, in a folder that is there"}
	}
	defer files.discard()
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
		ExpectAccounts: v.ExpectAccount, ExpectRegions: v.ExpectRegion,
		NoLogs: v.NoLogs, NoUnlisted: v.NoUnlisted, StayInside: v.StayInSource,
		Concurrency: v.Concurrency, KeysFrom: v.Keys, Progress: new(verify.Progress),
	}
	if c.Start, err = when.Time(v.StartTime, now); err != nil {
		return c, fmt.Errorf("--start-time: %w", err)
	}
	if c.End, err = when.Time(v.EndTime, now); err != nil {
		return c, fmt.Errorf("--end-time: %w", err)
	}
	c.Start, c.End = c.Start.Truncate(time.Second), c.End.Truncate(time.Second)
	if !c.Start.Before(c.End) {
		return c, fmt.Errorf("--start-time %s is not before --end-time %s", c.Start.Format(time.RFC3339), c.End.Format(time.RFC3339))
	}
	return c, nil
}

// connect opens the source and the keys. The function it returns closes them.
func (v *verifySource) connect(ctx context.Context, o awsapi.Options, c *verify.Config) (func(), error) {
	var client *awsapi.Client
	bucket, prefix, isS3, err := parseS3(v.Source)
	if err != nil {
		return nil, &exitError{code: exitUsage, err: err, hint: sourceHint}
	}
	if isS3 || v.Keys == "auto" {
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
	done := func() {}
	if isS3 {
		c.Source = discover.Source{Bucket: bucket, Prefix: prefix, Name: v.Source}
		c.Fetcher = fetch.New(client.S3(), v.Concurrency)
	} else {
		root, prefix := splitFolder(v.Source)
		folder, err := dir.Open(root)
		if err != nil {
			return nil, &exitError{code: exitUsage, err: err, hint: sourceHint}
		}
		done = func() { folder.Close() }
		c.Source = discover.Source{Prefix: prefix, Name: v.Source}
		c.Fetcher = fetch.New(folder, v.Concurrency)
		c.Fetcher.Plain = true
	}
	c.Fetcher.MaxDigest = v.MaxDigest << 20
	return done, nil
}

const sourceHint = "SOURCE is a folder or s3://bucket[/prefix]"

// parseS3 splits s3://bucket[/prefix]; the prefix is a folder.
func parseS3(source string) (bucket, prefix string, ok bool, err error) {
	rest, ok := strings.CutPrefix(source, "s3://")
	if !ok {
		return "", "", false, nil
	}
	bucket, prefix, _ = strings.Cut(rest, "/")
	if bucket == "" {
		return "", "", true, fmt.Errorf("%s: no bucket", source)
	}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	return bucket, prefix, true, nil
}

// splitFolder splits a folder that lies inside an AWSLogs folder there: keys
// begin above it.
func splitFolder(source string) (root, prefix string) {
	path, err := filepath.Abs(source)
	if err != nil {
		return source, ""
	}
	parts := strings.Split(filepath.ToSlash(path), "/")
	i := slices.Index(parts, "AWSLogs")
	if i < 0 {
		return source, ""
	}
	return filepath.FromSlash(strings.Join(parts[:i], "/") + "/"), strings.Join(parts[i:], "/") + "/"
}

// savedKeys is a key list from a file.
type savedKeys struct{ set digest.KeySet }

// PublicKeys implements fetch.KeySource: the whole list, whatever is asked.
func (k savedKeys) PublicKeys(context.Context, string, time.Time, time.Time) (digest.KeySet, error) {
	return k.set, nil
}

func readKeys(file string) (savedKeys, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return savedKeys{}, err
	}
	set, err := digest.ParseKeySet(b)
	if err != nil {
		return savedKeys{}, fmt.Errorf("read %s: %w", file, err)
	}
	return savedKeys{set}, nil
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
