package e2e

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/trailseal/trailseal/internal/testtrail"
)

// The image holds the two programs and nothing else that can run, says what it
// is, and runs as nobody in particular.
func TestImage(t *testing.T) {
	t.Parallel()
	name := image(t, ours)
	i, err := engine(t).ImageInspect(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if i.Config.User != "65532:65532" {
		t.Errorf("user %q", i.Config.User)
	}
	if i.Size > 100<<20 {
		t.Errorf("%d bytes", i.Size)
	}
	for _, l := range []string{"title", "description", "source", "documentation", "licenses", "version", "revision"} {
		if i.Config.Labels["org.opencontainers.image."+l] == "" {
			t.Errorf("no label %s", l)
		}
	}
	version := i.Config.Labels["org.opencontainers.image.version"]
	for program, want := range map[string]string{"ingest": "ingest " + version + "\n", "verifier": "verifier " + version + " go"} {
		b := finished(t, name, []string{program}, "version")
		if out := b.said(); !strings.HasPrefix(out, want) {
			t.Errorf("%s: %q, want %q", program, out, want)
		}
	}
	if got := executables(t, finished(t, name, nil, "--version")); !slices.Equal(got, []string{"usr/local/bin/ingest", "usr/local/bin/verifier"}) {
		t.Errorf("it holds the programs %q", got)
	}
}

// finished runs the image, as it is meant to be run, until it ends well.
func finished(t *testing.T, name string, entrypoint []string, args ...string) *box {
	t.Helper()
	opts := []testcontainers.ContainerCustomizer{testcontainers.WithCmd(args...), hosted(hardened), testcontainers.WithWaitStrategy(wait.ForExit())}
	if entrypoint != nil {
		opts = append(opts, testcontainers.WithEntrypoint(entrypoint...))
	}
	b := run(t, name, "one-shot-"+plainName(t), nil, opts...)
	b.ended(0)
	return b
}

// executables lists the files of a container that somebody may execute.
func executables(t *testing.T, b *box) (names []string) {
	t.Helper()
	root, err := engine(t).ContainerExport(t.Context(), b.GetContainerID(), client.ContainerExportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for r := tar.NewReader(root); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			slices.Sort(names)
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg && h.Size > 0 && h.Mode&0o111 != 0 { // the engine adds empty ones
			names = append(names, h.Name)
		}
	}
}

// The image's health check follows the worker's settings; a worker that does
// not listen where they say is not healthy. /metrics tells the image's version.
func TestHealth(t *testing.T) {
	t.Parallel()
	name := image(t, ours)
	i, err := engine(t).ImageInspect(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := map[string]string{"TRAILSEAL_LISTEN": ":8443", "TRAILSEAL_SINK": "file:events.ndjson"}
	secured := maps.Clone(elsewhere)
	secured["TRAILSEAL_WEB_CONFIG"] = home + "/web.yml"
	for _, tt := range []struct {
		name string
		env  map[string]string
		args []string
		want container.HealthStatus
	}{
		{"default", nil, nil, container.Healthy},
		{"elsewhere", elsewhere, nil, container.Healthy},
		{"password", secured, nil, container.Healthy},
		{"unknown to it", nil, []string{"--listen", ":8443"}, container.Unhealthy},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"--source", "/trails", "--keys", home + "/keys.json"}, tt.args...)
			w := testtrail.New()
			w.Trail(testtrail.Options{}).Chain("111122223333", region, begin)
			keys, err := w.KeySet(begin, begin).JSON()
			if err != nil {
				t.Fatal(err)
			}
			b := run(t, name, plainName(t), []string{opsPort}, testcontainers.WithCmd(args...), testcontainers.WithEnv(tt.env),
				hosted(hardened), hosted(func(h *container.HostConfig) { h.Tmpfs = map[string]string{"/trails": ""} }),
				oftenChecked, withFile(t, home+"/keys.json", keys),
				withFile(t, home+"/web.yml", []byte("basic_auth_users:\n  ops: $2a$04$0GelsNp7JmOfvN88G7cPh.Tyxg2mQ8VpgBm3swBxL38p5/ioA9tXm\n")))
			eventually(t, "health", func() error {
				s, err := b.State(t.Context())
				if err == nil && (s.Health == nil || s.Health.Status != tt.want) {
					err = errors.New("it is " + health(s))
				}
				return err
			})
			if tt.env != nil || tt.args != nil {
				return
			}
			_, text, err := get(b.url(opsPort) + "/metrics")
			version := regexp.MustCompile(`(?m)^trailseal_build_info\{.*version="([^"]*)"\} 1$`).FindSubmatch(text)
			if want := i.Config.Labels["org.opencontainers.image.version"]; err != nil || len(version) != 2 || string(version[1]) != want {
				t.Errorf("build_info has version %q, want %q; %v", version, want, err)
			}
		})
	}
}

func health(s *container.State) string {
	b, err := json.Marshal(s.Health)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
