// Package awsapi talks to AWS: it reads buckets, public keys, trails and the
// organization. It is the only importer of aws-sdk-go-v2; no type of the SDK
// and no error of the SDK leaves it. It decides nothing about evidence: an
// answer that is not clearly the service's own is an error of the network,
// never an absent object.
package awsapi

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
	smithymw "github.com/aws/smithy-go/middleware"
)

// Defaults of Options.
const (
	DefaultConcurrency = 64
	DefaultIdleTimeout = 30 * time.Second
	DefaultMaxBackoff  = 20 * time.Second
	attempts           = 5
	connectTimeout     = 10 * time.Second
	globalRegion       = "us-east-1" // where a bucket is looked up when no region is set
)

// Options say how AWS is reached. The zero value is the SDK's default chain:
// environment, shared configuration files, container and instance roles.
type Options struct {
	Region  string
	Profile string
	// Endpoint is the URL that every service is reached at; S3 then puts the
	// bucket into the path. Without it the SDK looks at AWS_ENDPOINT_URL and
	// its siblings.
	Endpoint string
	// CloudTrailEndpoint is the URL of CloudTrail alone.
	CloudTrailEndpoint string
	// ExpectedBucketOwner is the account that buckets must belong to; S3
	// refuses others with AccessDenied.
	ExpectedBucketOwner string
	// Concurrency is how many requests are expected at once: so many idle
	// connections are kept.
	Concurrency int
	// IdleTimeout ends a connection that delivers no byte for so long, in the
	// middle of a body too.
	IdleTimeout time.Duration
	// MaxBackoff is the longest pause between two attempts.
	MaxBackoff time.Duration
	// Role, where it has an ARN, is assumed with the credentials found, and all
	// else is asked in its name.
	Role Role
	// OnRequest, unless nil, is told of each attempt of a request: the service
	// and operation as the SDK names them, and the HTTP status or throttled,
	// credentials, denied, canceled, none. It is called from many goroutines.
	OnRequest func(service, operation, code string)
}

// Role is a role to assume. ExternalID is what its trust policy may ask for.
type Role struct{ ARN, ExternalID string }

// Client is a loaded configuration. Its services share credentials.
type Client struct {
	cfg     aws.Config
	opts    Options
	patient aws.HTTPClient // its connections outlast a long poll
}

// Load reads the configuration. It asks for no credentials yet: the first
// request does, and fails with ErrCredentials where there are none.
func Load(ctx context.Context, o Options) (*Client, error) {
	o.Concurrency = cmp.Or(o.Concurrency, DefaultConcurrency)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, DefaultIdleTimeout)
	o.MaxBackoff = cmp.Or(o.MaxBackoff, DefaultMaxBackoff)
	load := []func(*config.LoadOptions) error{
		config.WithHTTPClient(httpClient(o)),
		config.WithLogger(logging.Nop{}), // what goes wrong is in our errors
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	if o.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(o.Profile))
	}
	if o.OnRequest != nil {
		load = append(load, config.WithAPIOptions([]func(*smithymw.Stack) error{observe(o.OnRequest)}))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, configError(err)
	}
	patient := cfg.HTTPClient
	if c, ok := patient.(*awshttp.BuildableClient); ok { // with AWS_CA_BUNDLE, where that is set
		patient = withPatience(c, o.IdleTimeout+MaxWait)
	}
	cfg.HTTPClient = readOnly{cfg.HTTPClient} // the timeouts are ours, whatever AWS_DEFAULTS_MODE says
	cfg.AppID = cmp.Or(cfg.AppID, "trailseal")
	if o.Endpoint != "" {
		cfg.BaseEndpoint = &o.Endpoint
	}
	if cfg.Credentials != nil {
		cfg.Credentials = credentials{cfg.Credentials}
	}
	// The SHA-256 in a signed digest is the stronger check, and S3's own
	// checksum costs as much as ours.
	cfg.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	cfg.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	cfg.Retryer = func() aws.Retryer { return retryer(o.MaxBackoff) } // AWS_MAX_ATTEMPTS still holds
	if o.Role.ARN != "" {
		cfg.Credentials = credentials{assume(cfg, o.Role)}
	}
	return &Client{cfg: cfg, opts: o, patient: readOnly{patient}}, nil
}

// assume returns the credentials of a role, made anew before they expire.
func assume(cfg aws.Config, r Role) aws.CredentialsProvider {
	client := sts.NewFromConfig(cfg, func(o *sts.Options) { o.Region = cmp.Or(o.Region, globalRegion) })
	return aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(client, r.ARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = "trailseal"
		if r.ExternalID != "" {
			o.ExternalID = &r.ExternalID
		}
	}), func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = 5 * time.Minute })
}

// Region returns the configured region, or "" where none is configured.
func (c *Client) Region() string { return c.cfg.Region }

// httpClient keeps a connection for each of many parallel small reads, and
// leaves stored bytes as they are: digest objects carry Content-Encoding gzip,
// which Go's transport would otherwise inflate on the way.
func httpClient(o Options) *awshttp.BuildableClient {
	return withPatience(awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = connectTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.DisableCompression = true
			withoutHTTP2(t)
			t.MaxIdleConns = 0 // no limit but that of each host
			t.MaxIdleConnsPerHost = o.Concurrency
			t.MaxConnsPerHost = 0 // or whose turn it is would wait for those who are early
		}), o.IdleTimeout)
}

// withoutHTTP2 speaks HTTP/1.1, as S3 does: of HTTP/2 megabytes of each answer
// that waits unread would lie in memory.
func withoutHTTP2(t *http.Transport) {
	t.ForceAttemptHTTP2 = false
	t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	if t.TLSClientConfig != nil {
		t.TLSClientConfig.NextProtos = nil // a transport that was cloned offers it already
	}
}

// withPatience returns a client that waits so long for the next byte.
func withPatience(c *awshttp.BuildableClient, most time.Duration) *awshttp.BuildableClient {
	return c.WithTransportOptions(func(t *http.Transport) {
		t.ResponseHeaderTimeout = most
		// The clock of a kept connection runs while it is idle: one that is
		// taken again must have time left for its answer.
		t.IdleConnTimeout = most / 2
	}).WithReadTimeout(most)
}

// readOnly sends request bodies without their WriteTo. That of smithy-go says
// io.EOF once the body is closed, which it is as soon as an answer begins; on a
// busy machine net/http may not have looked for its end by then, takes it for a
// failed write, and closes the connection with the rest of the answer on it.
// Messages received with that answer would have waited for their visibility to
// run out (smithy-go 1.28.8, transport/http/internal/io/safe.go).
type readOnly struct{ aws.HTTPClient }

func (c readOnly) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return c.HTTPClient.Do(r)
}

// retryer tries again what may go better. It has no budget of retries across
// requests: an object that was given up only because others failed would be
// reported as not verified.
func retryer(maxBackoff time.Duration) aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = attempts
		o.MaxBackoff = maxBackoff
		o.RateLimiter = ratelimit.None
		o.Retryables = append(o.Retryables, retry.IsErrorRetryableFunc(cutOff))
	})
}

// cutOff finds answers that broke off while they were decoded, such as a page
// of a listing.
func cutOff(err error) aws.Ternary {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return aws.TrueTernary
	}
	return aws.UnknownTernary
}

// credentials marks the errors of the provider that it wraps, so that
// translate can tell "no credentials" from an answer of the service.
type credentials struct{ aws.CredentialsProvider }

func (c credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	v, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return v, &noCredentials{err}
	}
	return v, nil
}

type noCredentials struct{ err error }

func (e *noCredentials) Error() string { return e.err.Error() }
func (e *noCredentials) Unwrap() error { return e.err }
