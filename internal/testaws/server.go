// Package testaws is an AWS on 127.0.0.1 for tests and benchmarks: S3,
// CloudTrail, Organizations and STS over a testtrail.World, and SQS, as far as
// the programs and the aws command ask of them, with scripted faults. It checks
// no signature and takes no writes but of whole objects and to queues. No
// program links it.
package testaws

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
)

// Region is the region of Env and of every bucket without an entry in Regions.
const Region = "us-east-1"

// Account is the account that a new server has.
const Account = "111122223333"

// Server answers for a world. Its exported fields may be set until Env is
// called or a first request made; its methods may be called at any time.
type Server struct {
	URL   string
	World *testtrail.World

	Latency  time.Duration // waited for before every answer
	Account  string        // the caller's and the owner of every bucket
	PageSize int           // most entries of an S3 listing; 1000 if 0
	KeyPage  int           // keys in an answer of ListPublicKeys; all if 0
	Trails   []Trail       // of DescribeTrails

	// Organization is the id that DescribeOrganization gives. Without one the
	// account is in no organization.
	Organization string

	// AccessPoints maps aliases, and NAME-ACCOUNT of access points that have
	// one, to buckets. A request names one in its path, or in front of any host.
	AccessPoints map[string]string

	// Regions maps buckets to where they lie. With StrictRegions a request
	// that is signed for another region is sent away as S3 does.
	Regions       map[string]string
	StrictRegions bool

	server *http.Server
	done   chan error // Serve's result; one value

	mu     sync.Mutex
	faults []*Fault
	counts map[string]int

	sqs queues
}

// New starts a server for w that ends with the test.
func New(tb testing.TB, w *testtrail.World) *Server {
	tb.Helper()
	s, err := Start(w)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// Start starts a server for w. The caller closes it.
func Start(w *testtrail.World) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &Server{
		URL: "http://" + l.Addr().String(), World: w, Account: Account,
		Regions: map[string]string{}, AccessPoints: map[string]string{}, counts: map[string]int{}, done: make(chan error, 1),
		sqs: queues{byName: map[string]*Queue{}, changed: make(chan struct{})},
	}
	s.server = &http.Server{Handler: s}
	go func() { s.done <- s.server.Serve(l) }()
	return s, nil
}

// Close ends the server and drops its connections. It is called once.
func (s *Server) Close() error {
	err := s.server.Close()
	if serve := <-s.done; !errors.Is(serve, http.ErrServerClosed) {
		err = errors.Join(err, serve)
	}
	return err
}

// Env returns the environment in which the aws command and the SDKs talk to
// this server only. It is meant to be appended to one without AWS_PROFILE.
func (s *Server) Env() []string {
	// A request of another process is not ordered after the fields' writes but
	// through this.
	s.mu.Lock()
	defer s.mu.Unlock()
	return []string{
		"AWS_ENDPOINT_URL=" + s.URL,
		"AWS_ACCESS_KEY_ID=AKIATESTTESTTESTTEST",
		"AWS_SECRET_ACCESS_KEY=test",
		"AWS_REGION=" + Region,
		"AWS_DEFAULT_REGION=" + Region,
		"AWS_CONFIG_FILE=" + os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
		"AWS_EC2_METADATA_DISABLED=true",
		"AWS_RETRY_MODE=standard",
		"AWS_MAX_ATTEMPTS=3",
		"AWS_PAGER=",
		"AWS_CLI_AUTO_PROMPT=off",
		"NO_PROXY=127.0.0.1",
		"no_proxy=127.0.0.1",
	}
}

// Requests returns how many requests came in, by operation.
func (s *Server) Requests() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

// call is a request as far as faults are matched on it.
type call struct {
	op     string
	bucket string // or the name of a queue
	key    string // of an object, or the prefix of a listing
	region string // for which it is signed
	json   bool   // errors are JSON, not XML
	sqs    bool   // the service is SQS
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := s.newCall(r)
	s.mu.Lock()
	s.counts[c.op]++
	f := s.match(c)
	s.mu.Unlock()
	wait(r, s.Latency+f.Delay)
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler)
	}
	if f.After && (f.Reset || f.Status != 0 || f.Page != "") {
		s.serve(&lost{header: http.Header{}}, r, c, f)
	}
	switch {
	case f.Reset:
		reset(w)
	case f.Status != 0 || f.Page != "":
		f.answer(f.wrap(w, r), c)
	default:
		s.serve(f.wrap(w, r), r, c, f)
	}
}

// serve does what is asked.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, c call, f Fault) {
	switch {
	case c.sqs:
		s.serveSQS(w, r, c, f)
	case c.json:
		s.serveJSON(w, r, c, f)
	case c.op == "GetCallerIdentity":
		s.callerIdentity(w)
	default:
		s.serveS3(w, r, c, f)
	}
}

// newCall names what a request asks for. The operation of a request that the
// server does not know is its method and path.
func (s *Server) newCall(r *http.Request) call {
	c := call{region: signedRegion(r.Header.Get("Authorization"))}
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		// The aws command writes CloudTrail's whole package name before it, the
		// SDK for Go does not.
		c.op, c.json = target[strings.LastIndexByte(target, '.')+1:], true
		if c.sqs = strings.HasPrefix(target, "AmazonSQS."); c.sqs {
			c.bucket = queueOf(r)
		}
		return c
	}
	if r.Method == http.MethodPost && r.URL.Path == "/" {
		if c.op = r.FormValue("Action"); c.op == "" {
			c.op = "POST /"
		}
		return c
	}
	c.bucket, c.key = s.place(r)
	c.op = s3Op(r, c)
	if c.key == "" {
		c.key = r.URL.Query().Get("prefix")
	}
	return c
}

// signedRegion returns the region in the credential scope of a SigV4 header.
func signedRegion(authorization string) string {
	_, scope, _ := strings.Cut(authorization, "Credential=")
	scope, _, _ = strings.Cut(scope, ",")
	if part := strings.Split(scope, "/"); len(part) == 5 {
		return part[2]
	}
	return Region
}

func wait(r *http.Request, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-r.Context().Done():
	case <-t.C:
	}
}
