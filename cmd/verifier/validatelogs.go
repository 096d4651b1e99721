package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/validatelogs"
	"github.com/trailseal/trailseal/internal/when"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Exit codes of the AWS CLI.
const (
	exitReferenceUsage   = 252
	exitReferenceStopped = 255
)

// referenceARN is what the AWS CLI takes for a trail's ARN.
var referenceARN = regexp.MustCompile(`^arn:.+:cloudtrail:.+:[0-9]{12}:trail/.+`)

// validateLogs is the drop-in for `aws cloudtrail validate-logs`: its flags.
type validateLogs struct {
	TrailARN    string `name:"trail-arn" required:""`
	StartTime   string `required:""`
	EndTime     string
	S3Bucket    string `name:"s3-bucket"`
	S3Prefix    string `name:"s3-prefix"`
	AccountID   string `name:"account-id"`
	Verbose     bool
	Region      string
	Profile     string
	EndpointURL string `name:"endpoint-url"`
	Concurrency int    `default:"160"`
}

// Validate is called by kong.
func (v *validateLogs) Validate() error {
	if v.Concurrency < 1 || v.Concurrency > 1024 {
		return fmt.Errorf("--concurrency %d: not from 1 to 1024", v.Concurrency)
	}
	return nil
}

// Run is the command.
func (v *validateLogs) Run(ctx context.Context, a *app) error {
	r, err := v.request(a.now())
	if err != nil {
		return err
	}
	client, err := awsapi.Load(ctx, awsapi.Options{
		Region: r.Chain.Region, Profile: v.Profile, CloudTrailEndpoint: v.EndpointURL, Concurrency: v.Concurrency,
	})
	if err != nil {
		return stopped(ctx, err)
	}
	cloudTrail := client.CloudTrail()
	if v.S3Bucket == "" {
		if err := v.describe(ctx, cloudTrail, &r); err != nil {
			return stopped(ctx, err)
		}
	}
	result, err := validatelogs.Run(ctx, client.S3(), cloudTrail, r, a.stdout, a.stderr)
	switch {
	case err != nil:
		return stopped(ctx, err)
	case result.Invalid() > 0:
		return &exitError{code: exitFindings} // proven, whatever else could not be read
	case result.Unverified() > 0:
		return &exitError{code: exitReferenceStopped, err: unread(result)}
	}
	return nil
}

// unread says why files are UNVERIFIED: the lines on them name only the reason.
func unread(r validatelogs.Result) error {
	if n := r.Unverified(); n > 1 {
		return fmt.Errorf("%d files could not be checked, the first: %w", n, r.Unread)
	}
	return fmt.Errorf("1 file could not be checked: %w", r.Unread)
}

// request turns the flags into a request, in the AWS CLI's order: of several
// bad values the same one is named.
func (v *validateLogs) request(now time.Time) (r validatelogs.Request, err error) {
	r = validatelogs.Request{ARN: v.TrailARN, Bucket: v.S3Bucket, End: now.UTC(), Verbose: v.Verbose, Concurrency: v.Concurrency}
	if r.Start, err = when.Date(v.StartTime); err != nil {
		return r, referenceError("Unable to parse date value: %s", v.StartTime)
	}
	if v.EndTime != "" {
		if r.End, err = when.Date(v.EndTime); err != nil {
			return r, referenceError("Unable to parse date value: %s", v.EndTime)
		}
	}
	if r.Start.After(r.End) {
		return r, referenceError("Invalid time range specified: start-time must occur before end-time")
	}
	if !referenceARN.MatchString(v.TrailARN) {
		return r, referenceError("Invalid trail ARN provided: %s", v.TrailARN)
	}
	parts := strings.Split(v.TrailARN, ":")
	r.Chain = trail.Chain{
		Place:      trail.Place{Prefix: v.S3Prefix, Account: v.AccountID, Region: v.Region},
		Trail:      v.TrailARN[strings.LastIndex(v.TrailARN, "/")+1:],
		HomeRegion: parts[3],
	}
	if r.Chain.Account == "" {
		r.Chain.Account = parts[4]
	}
	if r.Chain.Region == "" {
		r.Chain.Region = r.Chain.HomeRegion
	}
	return r, nil
}

// describe asks CloudTrail where the trail writes to.
func (v *validateLogs) describe(ctx context.Context, c *awsapi.CloudTrail, r *validatelogs.Request) error {
	described, err := c.Trail(ctx, r.Chain.Region, v.TrailARN)
	if errors.Is(err, fs.ErrNotExist) {
		return referenceError("A trail could not be found for %s", v.TrailARN)
	}
	if err != nil {
		return err
	}
	r.Bucket, r.Chain.Prefix = described.Bucket, described.Prefix
	if !described.Organization {
		return nil
	}
	if v.AccountID == "" {
		return referenceError("Missing required parameter for organization trail: '--account-id'")
	}
	r.Chain.Organization, err = c.Organization(ctx)
	return err
}

// referenceError is an error in the AWS CLI's words.
func referenceError(format string, args ...any) error {
	return &exitError{code: exitReferenceStopped, err: fmt.Errorf(format, args...), reference: true}
}

// stopped is for whatever ended the run.
func stopped(ctx context.Context, err error) error {
	var e *exitError
	var none validatelogs.NoKeysError
	switch {
	case ctx.Err() != nil:
		return &exitError{code: exitReferenceStopped, err: errors.New("interrupted")}
	case errors.As(err, &e):
		return err
	case errors.As(err, &none):
		return referenceError("%w", none)
	}
	return &exitError{code: exitReferenceStopped, err: err}
}
