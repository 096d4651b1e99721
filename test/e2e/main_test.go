// Package e2e runs the image as its users do: beside a real S3 server and an
// emulator of SQS, SNS and EventBridge, each in a container of its own, and in
// the trouble that containers meet. After each trouble every event of the trail
// is accounted for. It looks into no package of the programs: what it sees is
// what they write and serve.
//
// It needs Docker. Images are built from what lies here, or named:
//
//	TRAILSEAL_IMAGE            ours; otherwise built from the Dockerfile
//	TRAILSEAL_S3_IMAGE         versitygw; otherwise built from test/versitygw
//	TRAILSEAL_MOTO_IMAGE       motoserver/moto; pulled where it is not there
//	TRAILSEAL_TOXIPROXY_IMAGE  toxiproxy; otherwise built from test/toxiproxy
//
// With CI=true what is missing is a failure, elsewhere a skip that says so.
package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"
)

// root is the module's folder.
const root = "../.."

// patience is how long anything may take that is under way: a machine that
// runs other tests as well is slow.
const patience = 3 * time.Minute

func TestMain(m *testing.M) {
	flag.Parse()
	for name, value := range map[string]string{
		// Each test removes what it started, so no further image is needed for
		// that; a run that was killed leaves its containers to the next.
		"TESTCONTAINERS_RYUK_DISABLED": "true",
		// Ports are published there, whatever this process runs in.
		"TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1",
	} {
		if os.Getenv(name) == "" {
			fail(os.Setenv(name, value))
		}
	}
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		fail(f.Value.Set("4")) // they wait more than they work
	}
	tclog.SetDefault(silent{})
	fail(looked())
	code := m.Run()
	fail(shared.end())
	os.Exit(code)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// silent drops what testcontainers says of its progress: errors it returns.
type silent struct{}

func (silent) Printf(string, ...any) {}

// looked opens what the image is built from: the go command keeps a test's
// result until a file changes that the test has looked at.
func looked() error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == ".git" {
			return fs.SkipDir
		}
		if name := d.Name(); err == nil && (filepath.Ext(name) == ".go" || name == "go.mod" || name == "Dockerfile") {
			_, err = os.Stat(path)
		}
		return err
	})
}

// engine returns the client of the Docker engine.
func engine(t *testing.T) *testcontainers.DockerClient {
	t.Helper()
	if testing.Short() {
		t.Skip("starts containers: not with -short")
	}
	if raced {
		t.Skip("the race detector sees nothing of what runs in containers: not with -race")
	}
	c, err := connected()
	if err != nil {
		absent(t, "Docker", err)
	}
	return c
}

// absent ends a test for want of something that does not come with Go.
func absent(t *testing.T, what string, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s: %v", what, err)
	}
	t.Skipf("%s is needed (with CI=true this is a failure): %v", what, err)
}

var connected = sync.OnceValues(func() (c *testcontainers.DockerClient, err error) {
	defer func() {
		if p := recover(); p != nil { // testcontainers' way to say that it finds no socket
			err = fmt.Errorf("%v", p)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if c, err = testcontainers.NewDockerClientWithOpts(ctx); err != nil {
		return nil, err
	}
	if _, err = c.Ping(ctx, client.PingOptions{}); err != nil {
		return nil, err
	}
	return c, sweep(ctx, c)
})

// label marks our containers and networks; its value is when they were made.
const label = "org.trailseal.e2e"

// old is what no run that still goes on has made.
const old = 2 * time.Hour

// sweep removes containers and networks that a run of long ago was killed over.
func sweep(ctx context.Context, c *testcontainers.DockerClient) error {
	list, err := c.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("label", label)})
	if err != nil {
		return err
	}
	for _, left := range list.Items {
		if time.Since(time.Unix(left.Created, 0)) > old {
			_, e := c.ContainerRemove(ctx, left.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
			err = errors.Join(err, e)
		}
	}
	_, e := c.NetworkPrune(ctx, client.NetworkPruneOptions{Filters: client.Filters{}.Add("label", label).Add("until", old.String())})
	return errors.Join(err, e)
}

// eventually tries until there is no error.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	began := time.Now()
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Since(began) > patience {
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// plainName makes a name for hosts and buckets of a test's.
func plainName(t *testing.T) string {
	return strings.ToLower(strings.NewReplacer("/", "-", "_", "-", " ", "-").Replace(strings.TrimPrefix(t.Name(), "Test")))
}
