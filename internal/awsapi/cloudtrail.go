package awsapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/organizations"

	"github.com/trailseal/trailseal/pkg/digest"
)

var errKeyList = errors.New("the answer is no key list")

// CloudTrail asks CloudTrail for public keys and trails. It implements
// chain.KeySource.
type CloudTrail struct {
	client *Client

	mu      sync.Mutex
	regions map[string]*cloudtrail.Client
}

// CloudTrail returns a source of keys and trails.
func (c *Client) CloudTrail() *CloudTrail {
	return &CloudTrail{client: c, regions: map[string]*cloudtrail.Client{}}
}

// PublicKeys returns the region's keys that were valid at some time from from
// to to. The set is complete for just that.
func (c *CloudTrail) PublicKeys(ctx context.Context, region string, from, to time.Time) (digest.KeySet, error) {
	op := "list public keys of " + region
	service, err := c.in(region)
	if err != nil {
		return digest.KeySet{}, fmt.Errorf("%s: %w", op, err)
	}
	set := digest.KeySet{Complete: []digest.Extent{{Region: region, From: from, To: to}}}
	in := &cloudtrail.ListPublicKeysInput{StartTime: &from, EndTime: &to}
	for {
		page, err := service.ListPublicKeys(ctx, in)
		if err != nil {
			return digest.KeySet{}, translate(ctx, op, err)
		}
		for _, k := range page.PublicKeyList {
			key, err := keyOf(region, k)
			if err != nil {
				return digest.KeySet{}, fmt.Errorf("%s: %w", op, err)
			}
			set.Keys = append(set.Keys, key)
		}
		next := aws.ToString(page.NextToken)
		if next == "" {
			return set, nil
		}
		if next == aws.ToString(in.NextToken) {
			return digest.KeySet{}, fmt.Errorf("%s: %w", op, errRepeats)
		}
		in.NextToken = &next
	}
}

func keyOf(region string, k types.PublicKey) (digest.Key, error) {
	if k.Fingerprint == nil || k.Value == nil || k.ValidityStartTime == nil || k.ValidityEndTime == nil {
		return digest.Key{}, fmt.Errorf("key %q lacks a member: %w", aws.ToString(k.Fingerprint), errKeyList)
	}
	return digest.Key{
		Region: region, Fingerprint: *k.Fingerprint, DER: k.Value,
		From: k.ValidityStartTime.UTC(), To: k.ValidityEndTime.UTC(),
	}, nil
}

// Trail is what CloudTrail says about a trail.
type Trail struct {
	ARN          string
	Bucket       string
	Prefix       string
	Organization bool // an organization trail
}

// Trail returns the trail with exactly this ARN as the region knows it, and an
// error that wraps fs.ErrNotExist where there is none.
func (c *CloudTrail) Trail(ctx context.Context, region, arn string) (Trail, error) {
	op := "describe trail " + arn
	service, err := c.in(region)
	if err != nil {
		return Trail{}, fmt.Errorf("%s: %w", op, err)
	}
	out, err := service.DescribeTrails(ctx, &cloudtrail.DescribeTrailsInput{})
	if err != nil {
		return Trail{}, translate(ctx, op, err)
	}
	for _, t := range out.TrailList {
		if aws.ToString(t.TrailARN) == arn {
			return Trail{
				ARN: arn, Bucket: aws.ToString(t.S3BucketName), Prefix: aws.ToString(t.S3KeyPrefix),
				Organization: aws.ToBool(t.IsOrganizationTrail),
			}, nil
		}
	}
	return Trail{}, fmt.Errorf("%s: %w", op, fs.ErrNotExist)
}

// Organization returns the id of the caller's organization.
func (c *CloudTrail) Organization(ctx context.Context) (string, error) {
	id, _, err := c.Management(ctx)
	return id, err
}

// Management returns the id of the caller's organization and its management
// account, which owns the organization's trails.
func (c *CloudTrail) Management(ctx context.Context) (organization, account string, err error) {
	const op = "describe organization"
	service := organizations.NewFromConfig(c.client.cfg, func(o *organizations.Options) {
		o.Region = cmp.Or(o.Region, globalRegion)
		if c.client.opts.Endpoint != "" {
			o.BaseEndpoint = &c.client.opts.Endpoint
		}
	})
	out, err := service.DescribeOrganization(ctx, &organizations.DescribeOrganizationInput{})
	if err != nil {
		return "", "", translate(ctx, op, err)
	}
	if out.Organization == nil || aws.ToString(out.Organization.Id) == "" {
		return "", "", fmt.Errorf("%s: %w", op, fs.ErrNotExist)
	}
	return *out.Organization.Id, aws.ToString(out.Organization.MasterAccountId), nil
}

// managementTimeout bounds how long a run waits for AWS Organizations.
const managementTimeout = 10 * time.Second

// ManagementAccounts returns a function that tells the management account of an
// organization, if that is the caller's own and the caller may ask, else "". AWS
// Organizations is asked at most once, when the function is first called.
func (c *CloudTrail) ManagementAccounts() func(ctx context.Context, organization string) string {
	ask := sync.OnceValues(func() (id, account string) {
		ctx, cancel := context.WithTimeout(context.Background(), managementTimeout)
		defer cancel()
		id, account, err := c.Management(ctx)
		if err != nil {
			return "", ""
		}
		return id, account
	})
	return func(_ context.Context, organization string) string {
		if id, account := ask(); id == organization {
			return account
		}
		return ""
	}
}

// in returns the client of a region.
func (c *CloudTrail) in(region string) (*cloudtrail.Client, error) {
	if region == "" {
		return nil, ErrRegion
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.regions[region]
	if s == nil {
		s = cloudtrail.NewFromConfig(c.client.cfg, func(o *cloudtrail.Options) {
			o.Region = region
			if url := cmp.Or(c.client.opts.CloudTrailEndpoint, c.client.opts.Endpoint); url != "" {
				o.BaseEndpoint = &url
			}
		})
		c.regions[region] = s
	}
	return s, nil
}
