package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
)

// parity is one row of the comparison with `aws cloudtrail validate-logs`.
type parity struct {
	name    string
	options testtrail.Options
	tamper  func(*scene)
	args    []string // more flags; one that is there already is replaced
	drop    []string // flags to leave out

	// ours is what our program prints instead, on purpose, and why says why.
	// Without it both must print the same bytes and exit alike.
	ours func(*scene) said
	why  string
	// anyText: the reference's text is Python's or argparse's. Its exit code and
	// whether a stream is empty are compared, not the words.
	anyText bool
}

// said is what a program left behind.
type said struct {
	out, err string
	exit     int
}

// scene is a world with five digests of trail main in us-east-1, ending from
// 00:08:11 to 04:08:11, with two log files in each but the first, which is a
// starting digest.
type scene struct {
	*testtrail.World
	trail *testtrail.Trail
	chain *testtrail.Chain
	aws   *testaws.Server
	env   []string // more of it
}

func newScene(t *testing.T, o testtrail.Options) *scene {
	s := &scene{World: testtrail.New()}
	s.trail = s.World.Trail(o)
	account := owner
	if o.Organization != "" {
		account = member
	}
	s.chain = s.trail.Chain(account, "us-east-1", begin)
	s.chain.Hours(4)
	s.aws = testaws.New(t, s.World)
	s.aws.Organization = "o-0123456789"
	s.aws.Trails = []testaws.Trail{testaws.Describe(s.trail, owner)}
	return s
}

const member = "444455556666"

func (s *scene) digest(i int) *testtrail.Issued { return s.chain.Issued[i] }

// editDigest changes the stored object of the i-th digest.
func (s *scene) editDigest(i int, change func(*testtrail.Stored)) {
	s.Edit(s.digest(i).Bucket, s.digest(i).Key, change)
}

// editLog changes the stored object of log j of digest i.
func (s *scene) editLog(i, j int, change func(*testtrail.Stored)) {
	o := s.digest(i).Logs[j]
	s.Edit(o.Bucket, o.Key, change)
}

func (s *scene) deleteDigest(i int)  { s.Delete(s.digest(i).Bucket, s.digest(i).Key) }
func (s *scene) deleteLog(i, j int)  { o := s.digest(i).Logs[j]; s.Delete(o.Bucket, o.Key) }
func (s *scene) uri(i int) string    { return "s3://" + s.digest(i).Bucket + "/" + s.digest(i).Key }
func (s *scene) log(i, j int) string { return s.digest(i).Logs[j].String() }

// summary is what our program prints on stdout without --verbose.
func (s *scene) summary(found, digests, logs string) string {
	text := "Validating log files for trail " + s.trail.ARN(owner).String() + " between 2026-03-01T00:00:00Z and 2026-03-01T06:00:00Z\n\n" +
		"Results requested for 2026-03-01T00:00:00Z to 2026-03-01T06:00:00Z\n"
	if found != "" {
		found = "Results found for 2026-03-01T00:00:00Z to 2026-03-01T" + found + "Z:"
	} else {
		found = "No valid digests found in range"
	}
	text += found + "\n\n" + digests
	if logs != "" {
		text += "\n" + logs
	}
	return text + "\n"
}

func (p parity) flags(s *scene) []string {
	flags := []string{
		"--trail-arn=" + s.trail.ARN(owner).String(), "--start-time=2026-03-01T00:00:00Z", "--end-time=2026-03-01T06:00:00Z",
		"--s3-bucket=trail-bucket", "--region=us-east-1",
	}
	if p.ours == nil {
		flags = append(flags, "--verbose")
	}
	for _, more := range p.args {
		name, _, _ := strings.Cut(more, "=")
		flags = slices.DeleteFunc(flags, func(f string) bool { return strings.HasPrefix(f, name+"=") })
		flags = append(flags, more)
	}
	return slices.DeleteFunc(flags, func(f string) bool {
		return slices.ContainsFunc(p.drop, func(name string) bool { return f == name || strings.HasPrefix(f, name+"=") })
	})
}

// command runs a program in the environment of the scene and nothing else.
func (s *scene) command(t *testing.T, args ...string) said {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = slices.Concat([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, s.aws.Env(), s.env)
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Error(err)
		return said{}
	}
	return said{out.String(), diag.String(), cmd.ProcessState.ExitCode()}
}

// Both programs run over the same served world.
func TestParity(t *testing.T) {
	if raced {
		t.Skip("what takes long here is the other program, once for each row, and ours runs raced in other tests: not with -race")
	}
	if _, err := exec.LookPath("aws"); err != nil {
		if os.Getenv("TRAILSEAL_REQUIRE_AWS") == "1" {
			t.Fatal("TRAILSEAL_REQUIRE_AWS=1, but the aws command is not on the PATH")
		}
		t.Skip("the aws command is not on the PATH; TRAILSEAL_REQUIRE_AWS=1 makes this a failure")
	}
	names := map[string]bool{}
	for _, p := range slices.Concat(chainRows, digestRows, logRows, backfillRows, commandRows) {
		if names[p.name] {
			t.Errorf("two rows named %q", p.name)
		}
		names[p.name] = true
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.run(t)
		})
	}
}

func (p parity) scene(t *testing.T) *scene {
	s := newScene(t, p.options)
	if p.tamper != nil {
		p.tamper(s)
	}
	return s
}

func (p parity) run(t *testing.T) {
	// Each program has a world of its own, since faults are used up.
	s, got := p.scene(t), said{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		got = s.command(t, append([]string{"verifier", "validate-logs"}, p.flags(s)...)...)
	}()
	theirs := p.scene(t)
	reference := theirs.command(t, append([]string{"aws", "cloudtrail", "validate-logs"}, p.flags(theirs)...)...)
	<-done
	want := reference
	switch {
	case p.anyText:
		if got.exit != want.exit || (got.out == "") != (want.out == "") || (got.err == "") != (want.err == "") {
			t.Errorf("reference %+v\nours %+v", want, got)
		}
		return
	case p.ours != nil:
		if p.why == "" {
			t.Fatal("a difference without a reason")
		}
		want = p.ours(s)
		if reference == want {
			t.Error("no difference from the reference is left in this row")
		}
	}
	if got != want {
		t.Errorf("%s", differences(want, got, reference))
	}
}

func differences(want, got, reference said) string {
	var b strings.Builder
	if want.exit != got.exit {
		fmt.Fprintf(&b, "exit: want %d, got %d\n", want.exit, got.exit)
	}
	if want.out != got.out {
		fmt.Fprintf(&b, "stdout: want\n%q\ngot\n%q\n", want.out, got.out)
	}
	if want.err != got.err {
		fmt.Fprintf(&b, "stderr: want\n%q\ngot\n%q\n", want.err, got.err)
	}
	if reference != want {
		fmt.Fprintf(&b, "reference: %d\n%q\n%q\n", reference.exit, reference.out, reference.err)
	}
	return b.String()
}
