package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tcnetwork "github.com/testcontainers/testcontainers-go/network"
)

// box is a container that ends with its test.
type box struct {
	*testcontainers.DockerContainer
	t    *testing.T
	host string // its name in the network
}

// run starts a container in the network, under a name there, with its ports on
// 127.0.0.1.
func run(t *testing.T, image, host string, ports []string, opts ...testcontainers.ContainerCustomizer) *box {
	t.Helper()
	n, err := shared.network()
	if err != nil {
		t.Fatal(err)
	}
	opts = append([]testcontainers.ContainerCustomizer{
		tcnetwork.WithNetwork([]string{host}, n), testcontainers.WithExposedPorts(ports...),
		testcontainers.WithLabels(map[string]string{label: time.Now().UTC().Format(time.RFC3339)}),
		hosted(func(h *container.HostConfig) {
			h.PortBindings = network.PortMap{}
			for _, p := range ports {
				h.PortBindings[network.MustParsePort(p)] = []network.PortBinding{{HostIP: netip.AddrFrom4([4]byte{127, 0, 0, 1})}}
			}
		}),
	}, opts...)
	c, err := testcontainers.Run(t.Context(), image, opts...)
	b := &box{c, t, host}
	testcontainers.CleanupContainer(t, c, testcontainers.StopTimeout(0))
	t.Cleanup(func() {
		if t.Failed() && c != nil {
			t.Logf("%s (%s) said:\n%s", host, image, b.said())
		}
	})
	if err != nil {
		t.Fatalf("run %s: %v", image, err)
	}
	return b
}

// hosted changes how a container is hosted. testcontainers has room for one
// modifier, so several are joined.
func hosted(change func(*container.HostConfig)) testcontainers.CustomizeRequestOption {
	return func(r *testcontainers.GenericContainerRequest) error {
		before := r.HostConfigModifier
		r.HostConfigModifier = func(h *container.HostConfig) {
			if before != nil {
				before(h)
			}
			change(h)
		}
		return nil
	}
}

// said returns the end of what a container wrote.
func (b *box) said() string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := b.Logs(ctx)
	if err != nil {
		return err.Error()
	}
	defer r.Close()
	const most = 4 << 10
	text, err := io.ReadAll(r)
	text = text[max(0, len(text)-most):]
	if err != nil {
		return fmt.Sprintf("%s\n%v", text, err)
	}
	return string(text)
}

// url returns where a port can be reached now: after a restart it is another.
func (b *box) url(port string) string {
	b.t.Helper()
	i, err := b.Inspect(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	bindings := i.NetworkSettings.Ports[network.MustParsePort(port)]
	if len(bindings) == 0 {
		return "http://127.0.0.1:0" // it does not run
	}
	return "http://127.0.0.1:" + bindings[0].HostPort
}

// answers waits until a path of a port answers with a status.
func (b *box) answers(port, path string, status int) {
	b.t.Helper()
	eventually(b.t, b.host+" answers", func() error {
		code, _, err := get(b.url(port) + path)
		if err == nil && code != status {
			err = fmt.Errorf("HTTP %d", code)
		}
		return err
	})
}

var browser = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func get(url string) (int, []byte, error) {
	r, err := browser.Get(url)
	if err != nil {
		return 0, nil, err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return r.StatusCode, b, err
}

// kill ends the container's process at once, as kill -9 does.
func (b *box) kill() {
	b.t.Helper()
	if _, err := engine(b.t).ContainerKill(b.t.Context(), b.GetContainerID(), client.ContainerKillOptions{Signal: "SIGKILL"}); err != nil {
		b.t.Fatal(err)
	}
	b.ended(137)
}

// ended waits until the container has ended, and demands its exit code.
func (b *box) ended(code int) {
	b.t.Helper()
	eventually(b.t, b.host+" ends", func() error {
		s, err := b.State(b.t.Context())
		if err == nil && s.Running {
			err = errors.New("it runs")
		}
		if err == nil && s.ExitCode != code {
			b.t.Fatalf("%s: exit %d, want %d", b.host, s.ExitCode, code)
		}
		return err
	})
}

// start starts the container again.
func (b *box) start() {
	b.t.Helper()
	if err := b.Start(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// stop ends the container in good order.
func (b *box) stop() {
	b.t.Helper()
	most := time.Minute
	if err := b.Stop(b.t.Context(), &most); err != nil {
		b.t.Fatal(err)
	}
}

// files returns the files below a folder of the container, by their names
// there.
func (b *box) files(folder string) map[string][]byte {
	b.t.Helper()
	copied, err := engine(b.t).CopyFromContainer(b.t.Context(), b.GetContainerID(), client.CopyFromContainerOptions{SourcePath: folder})
	if err != nil {
		b.t.Fatal(err)
	}
	defer copied.Content.Close()
	all := map[string][]byte{}
	for r := tar.NewReader(copied.Content); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			b.t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if all[path.Base(h.Name)], err = io.ReadAll(r); err != nil {
			b.t.Fatal(err)
		}
	}
}

// put writes a file into a volume of the container, and may find no room for
// it.
func (b *box) put(name string, body []byte) error {
	return put(b.t.Context(), engine(b.t), b.GetContainerID(), name, body)
}

func put(ctx context.Context, c *testcontainers.DockerClient, id, name string, body []byte) error {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	err := w.WriteHeader(&tar.Header{Name: path.Base(name), Mode: 0o644, Size: int64(len(body))})
	_, e := w.Write(body)
	if err := errors.Join(err, e, w.Close()); err != nil {
		return err
	}
	_, err = c.CopyToContainer(ctx, id, client.CopyToContainerOptions{DestinationPath: path.Dir(name), Content: &archive})
	return err
}

// withFile puts a file into a volume before the container starts. Its root
// cannot be written, which testcontainers' own way needs.
func withFile(t *testing.T, name string, body []byte) testcontainers.CustomizeRequestOption {
	return testcontainers.WithAdditionalLifecycleHooks(testcontainers.ContainerLifecycleHooks{
		PostCreates: []testcontainers.ContainerHook{func(ctx context.Context, c testcontainers.Container) error {
			return put(ctx, engine(t), c.GetContainerID(), name, body)
		}},
	})
}

// commons is what all tests share: made when it is first asked for, ended when
// all tests have.
type commons struct {
	mu   sync.Mutex
	net  *testcontainers.DockerNetwork
	aws  *testcontainers.DockerContainer
	errs error // why aws could not be started
}

var shared = &commons{}

func (c *commons) network() (*testcontainers.DockerNetwork, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.networkLocked()
}

func (c *commons) networkLocked() (*testcontainers.DockerNetwork, error) {
	if c.net != nil {
		return c.net, nil
	}
	n, err := tcnetwork.New(context.Background(), tcnetwork.WithLabels(map[string]string{label: time.Now().UTC().Format(time.RFC3339)}))
	c.net = n
	return n, err
}

func (c *commons) end() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	if c.aws != nil {
		errs = append(errs, testcontainers.TerminateContainer(c.aws, testcontainers.StopTimeout(0)))
	}
	if c.net != nil {
		errs = append(errs, c.net.Remove(context.Background()))
	}
	return errors.Join(errs...)
}

// lines splits text into its lines, which must be whole.
func lines(t *testing.T, name string, text []byte) (all []string) {
	t.Helper()
	for line := range strings.Lines(string(text)) {
		if !strings.HasSuffix(line, "\n") {
			t.Fatalf("%s has a torn line: %q", name, line)
		}
		all = append(all, strings.TrimSuffix(line, "\n"))
	}
	return all
}
