package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
)

const (
	owner  = "111122223333"
	member = "444455556666"
)

var begin = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// site is a world with six hours of trail main in two accounts, and a server for
// it.
type site struct {
	*testtrail.World
	trail  *testtrail.Trail
	chains []*testtrail.Chain // of owner and of member
	aws    *testaws.Server
}

// siteEvents is how many events a site has: two log files in each hour of each
// chain.
const siteEvents = 2 * 6 * 5

func newSite(t *testing.T, o testtrail.Options) *site {
	t.Helper()
	s := &site{World: testtrail.New()}
	s.trail = s.World.Trail(o)
	s.aws = testaws.New(t, s.World)
	for _, account := range []string{owner, member} {
		s.chains = append(s.chains, s.trail.Chain(account, "us-east-1", begin))
	}
	return s
}

func (s *site) hours() *site {
	for _, c := range s.chains {
		c.Hours(6)
	}
	return s
}

// said is what a run left behind.
type said struct {
	out, err         string
	events, findings int
	exit             int
}

// once runs the program over all hours of a source.
func (s *site) once(t *testing.T, source string, args ...string) said {
	t.Helper()
	t.Setenv("AWS_PROFILE", "")
	for _, pair := range s.aws.Env() {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
	args = append([]string{"--once", "--state=memory", "--since=2026-03-01T00:08:11Z", "--source", source}, args...)
	var out, diag shared
	code := run(t.Context(), args, &out, &diag)
	return said{
		out.String(), diag.String(), strings.Count("\n"+out.String(), "\n{\"trailseal\""), strings.Count("\n"+diag.String(), "\n{\"class\":"), code,
	}
}

// shared is a buffer that several write to, as diagnostics and findings do to
// stderr.
type shared struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *shared) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *shared) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

// request is a run and what it must say.
type request struct {
	name   string
	change func(*site)
	source string
	args   []string
	events int
	class  string // of the one finding; "": none
	text   string // also on stderr
	exit   int    // where there is no finding
}

func (q request) run(t *testing.T) {
	t.Helper()
	s := newSite(t, testtrail.Options{}).hours()
	if q.change != nil {
		q.change(s)
	}
	q.check(t, s.once(t, q.source, q.args...))
}

func (q request) check(t *testing.T, got said) {
	t.Helper()
	exit, findings := q.exit, 0
	if q.class != "" {
		exit, findings = exitFindings, 1
	}
	if got.events != q.events || got.findings != findings || got.exit != exit || !strings.Contains(got.err, q.text) ||
		!strings.Contains(got.err, `{"class":"`+q.class) && findings > 0 {
		t.Errorf("%d events, %d findings, exit %d; want %d, %q, exit %d, %q\n%s", got.events, got.findings, got.exit, q.events, q.class, exit, q.text, got.err)
	}
}

func copyBucket(s *site, to string) {
	keys, _ := s.Keys("trail-bucket", "")
	for _, k := range keys {
		o, _ := s.Stored("trail-bucket", k)
		s.Put(to, k, o)
	}
}

// Buckets under other names than the one that was signed, and filters.
func TestSources(t *testing.T) {
	const (
		alias  = "my-ap-aqfqprnstn7aefdfbarligizwgyfouse1a-s3alias"
		point  = "arn:aws:s3:us-east-1:" + owner + ":accesspoint"
		nobody = "999999999999"
	)
	replica := func(s *site) { copyBucket(s, "replica") }
	behind := func(s *site) {
		s.aws.AccessPoints[alias], s.aws.AccessPoints["my-ap-"+owner] = "trail-bucket", "trail-bucket"
	}
	// edited changes one log file, with three events.
	edited := func(change func(*site), bucket string) func(*site) {
		return func(s *site) {
			change(s)
			o := s.chains[0].Issued[3].Logs[0]
			o.Bucket = bucket
			s.EditLog(o, func(b []byte) []byte { return append(b, ' ') })
		}
	}
	const left = siteEvents - 3
	for _, q := range []request{
		{name: "bucket", source: "s3://trail-bucket", events: siteEvents},
		{name: "replica", change: replica, source: "s3://replica", args: []string{"--original-bucket=trail-bucket"}, events: siteEvents},
		{name: "replica by name", change: replica, source: "s3://replica", args: []string{"--original-bucket=replica=trail-bucket"}, events: siteEvents},
		{name: "edited replica", change: edited(replica, "replica"), source: "s3://replica", args: []string{"--original-bucket=trail-bucket"}, events: left, class: "log-modified"},
		{name: "edited original", change: edited(replica, "trail-bucket"), source: "s3://replica", args: []string{"--original-bucket=trail-bucket"}, events: siteEvents},

		{name: "access point", change: behind, source: point + "/my-ap", events: siteEvents},
		{name: "access point with a colon", change: behind, source: point + ":my-ap", events: siteEvents},
		{name: "access point with a prefix", change: behind, source: point + "/my-ap/AWSLogs/" + owner, events: siteEvents / 2},
		{name: "alias", change: behind, source: alias, events: siteEvents},
		{name: "edited behind an access point", change: edited(behind, "trail-bucket"), source: point + "/my-ap", events: left, class: "log-modified"},

		{name: "account", source: "s3://trail-bucket", args: []string{"--account=" + owner}, events: siteEvents / 2},
		{name: "account that is not there", source: "s3://trail-bucket", args: []string{"--account=" + nobody}, text: `"no chain matches --account ` + nobody + `" source=s3://trail-bucket found="` + owner + ", " + member + `"`, exit: exitIncomplete},
		{name: "another error for it", source: "s3://trail-bucket", args: []string{"--account=" + nobody}, text: "error: source s3://trail-bucket: no chain matches --account and --region; accounts found: " + owner + ", " + member + "\n", exit: exitIncomplete},
		{name: "region that is not there", source: "s3://trail-bucket", args: []string{"--region=ap-south-1"}, text: `"no chain matches --region ap-south-1" source=s3://trail-bucket found=us-east-1`, exit: exitIncomplete},
		{name: "trail that is not there", source: "s3://trail-bucket", args: []string{"--trail=audit"}, text: `"no chain matches --trail audit" source=s3://trail-bucket found=main`},
	} {
		t.Run(q.name, q.run)
	}
}

// All layouts of a copy are read alike.
func TestCopies(t *testing.T) {
	for _, layout := range testtrail.Layouts() {
		t.Run(layout.Name, func(t *testing.T) {
			s, folder := newSite(t, testtrail.Options{}).hours(), t.TempDir()
			source := s.write(t, layout, folder)
			parts := 1
			if layout.Account {
				parts = 2
			}
			q := request{events: siteEvents / parts}
			q.check(t, s.once(t, source))
			n, err := testtrail.EditCopies(folder, s.chains[0].Issued[3].Logs[0].Key)
			if n == 0 || err != nil {
				t.Fatal(err)
			}
			q.class, q.events = "log-modified", siteEvents/parts-3
			if got := s.once(t, source); n == 1 {
				q.check(t, got)
			} else if got.events != q.events || got.findings != n {
				t.Errorf("%d events, %d findings, %d edited\n%s", got.events, got.findings, n, got.err)
			}
		})
	}
}

func (s *site) write(t *testing.T, l testtrail.Layout, folder string) string {
	t.Helper()
	heads := map[string]bool{}
	for _, c := range s.chains {
		for _, d := range c.Heads() {
			heads[d.Key] = true
		}
	}
	source, err := l.Write(s.Store, "trail-bucket", folder, owner, begin.Add(3*time.Hour), func(k string) bool { return heads[k] })
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// An edited second copy is a finding, and the event of the other copy comes once.
func TestSecondCopy(t *testing.T) {
	s, folder := newSite(t, testtrail.Options{}).hours(), t.TempDir()
	for _, root := range []string{"first", "second"} {
		s.write(t, testtrail.Layouts()[0], filepath.Join(folder, root))
	}
	if n, err := testtrail.EditCopies(filepath.Join(folder, "second"), s.chains[0].Issued[3].Logs[0].Key); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	request{events: siteEvents, class: "log-modified", text: "a second copy"}.check(t, s.once(t, folder))
}

// StopLogging explains the gap of an organization's trail only where it names the
// trail of the management account.
func TestManagementAccount(t *testing.T) {
	const org = "o-0123456789"
	for _, row := range []struct {
		name, caller, asked string
		args                []string
		stops               int      // findings of the call itself
		texts               []string // of the owner's gap, at least: another chain borrows what is known by then
	}{
		{"told", owner, "", []string{"--management-account=" + owner}, 1, []string{"nothing was digested; StopLogging by "}},
		{"asked of AWS", owner, org, nil, 1, []string{"nothing was digested; StopLogging by "}},
		{"unknown", owner, "", nil, 0, []string{"nothing was digested; possibly StopLogging by "}},
		{"a member's own trail", member, org, nil, 0, []string{`nothing was digested"`, `nothing was digested"`}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, testtrail.Options{Organization: org})
			s.aws.Organization = row.asked
			for _, c := range s.chains {
				c.Hours(2)
				if c.Place().Account == row.caller {
					call := string(s.StopLogging(c.Now().Add(30*time.Minute), "main"))
					call = strings.Replace(call, `"recipientAccountId":"`+owner, `"recipientAccountId":"`+row.caller, 1)
					c.Hour(testtrail.LogOf([]byte(call)))
				} else {
					c.Hours(1)
				}
				c.Skip(2 * time.Hour)
				c.Restart(c.Now())
				c.Hours(1)
			}
			got := s.once(t, "s3://trail-bucket", row.args...)
			if stops := strings.Count(got.err, "is switched off from now on"); got.exit != exitFindings || stops != row.stops || got.findings != 2+row.stops {
				t.Errorf("exit %d, %d findings, %d calls\n%s", got.exit, got.findings, stops, got.err)
			}
			rest := got.err
			for _, text := range row.texts {
				if !strings.Contains(rest, text) {
					t.Errorf("lacks %s\n%s", text, got.err)
				}
				rest = strings.Replace(rest, text, "", 1)
			}
		})
	}
}
