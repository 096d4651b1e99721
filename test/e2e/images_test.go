package e2e

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
)

// The environment variables that name images.
const (
	imageEnv     = "TRAILSEAL_IMAGE"
	s3Env        = "TRAILSEAL_S3_IMAGE"
	motoEnv      = "TRAILSEAL_MOTO_IMAGE"
	toxiproxyEnv = "TRAILSEAL_TOXIPROXY_IMAGE"
)

const buildTime = 8 * time.Minute // less than go test gives a package

// errAbsent is an image that is neither here nor can be had.
var errAbsent = errors.New("neither here nor to be pulled")

// The images, each got once.
var (
	ours      = sync.OnceValues(func() (string, error) { return named(imageEnv, buildOurs) })
	versitygw = sync.OnceValues(func() (string, error) {
		return named(s3Env, func(ctx context.Context) (string, error) {
			return buildTool(ctx, "versitygw", "github.com/versity/versitygw/cmd/versitygw", os.Getenv("TRAILSEAL_VERSITYGW"))
		})
	})
	toxiproxy = sync.OnceValues(func() (string, error) {
		return named(toxiproxyEnv, func(ctx context.Context) (string, error) {
			return buildTool(ctx, "toxiproxy", "github.com/Shopify/toxiproxy/v2/cmd/server", "")
		})
	})
	moto = sync.OnceValues(func() (string, error) {
		return named(motoEnv, func(ctx context.Context) (string, error) {
			const public = "motoserver/moto:5.2.1"
			return public, present(ctx, public)
		})
	})
)

// image returns an image's name, and ends the test where it cannot be had.
func image(t *testing.T, get func() (string, error)) string {
	t.Helper()
	engine(t)
	name, err := get()
	if errors.Is(err, errAbsent) {
		absent(t, "an image", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// named returns the image that a variable names, or what build makes.
func named(variable string, build func(context.Context) (string, error)) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), buildTime)
	defer cancel()
	if name := os.Getenv(variable); name != "" {
		if err := present(ctx, name); err != nil {
			return "", fmt.Errorf("%s: %w", variable, err)
		}
		return name, nil
	}
	return build(ctx)
}

// present pulls an image unless it is here.
func present(ctx context.Context, name string) error {
	c, err := connected()
	if err != nil {
		return err
	}
	if _, err := c.ImageInspect(ctx, name); err == nil {
		return nil
	}
	pull, err := c.ImagePull(ctx, name, client.ImagePullOptions{})
	if err == nil {
		err = pull.Wait(ctx)
	}
	if err != nil {
		return fmt.Errorf("image %s: %w: %w", name, errAbsent, err)
	}
	return nil
}

var baseImage = regexp.MustCompile(`(?m)^ARG [A-Z]+_IMAGE=(\S+)$`)

// buildOurs builds the Dockerfile as it is. The image stays: its layers make
// the next build short.
func buildOurs(ctx context.Context) (string, error) {
	b, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		return "", err
	}
	bases := baseImage.FindAllStringSubmatch(string(b), -1)
	if len(bases) != 2 {
		return "", fmt.Errorf("Dockerfile: base images %q", bases)
	}
	for _, m := range bases {
		if err := present(ctx, m[1]); err != nil {
			return "", err
		}
	}
	version, revision := "v0.0.0-e2e", "e2e"
	return build(ctx, testcontainers.FromDockerfile{
		Context: root, Repo: "trailseal-e2e/trailseal", BuildArgs: map[string]*string{"VERSION": &version, "REVISION": &revision},
	})
}

// buildTool makes an image of nothing but a program: that of a module below
// test/ with a go.mod of its own, or a binary that is there already.
func buildTool(ctx context.Context, module, program, binary string) (string, error) {
	if binary == "" {
		dir, err := os.MkdirTemp("", "trailseal-e2e-")
		if err != nil {
			return "", err
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, module)
		cmd := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", binary, program)
		cmd.Dir = filepath.Join(root, "test", module)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOFLAGS=", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build %s: %w\n%s", program, err, out)
		}
	}
	b, err := os.ReadFile(binary)
	if err != nil {
		return "", err
	}
	// The folder that temporary files go to comes with the program.
	dockerfile := "FROM scratch\nCOPY " + module + " /" + module + "\nWORKDIR /tmp\nENTRYPOINT [\"/" + module + "\"]\n"
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, f := range []struct {
		name string
		mode int64
		body []byte
	}{{"Dockerfile", 0o644, []byte(dockerfile)}, {module, 0o755, b}} {
		err = errors.Join(err, w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.body))}))
		_, e := w.Write(f.body)
		err = errors.Join(err, e)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return "", err
	}
	return build(ctx, testcontainers.FromDockerfile{ContextArchive: bytes.NewReader(archive.Bytes()), Repo: "trailseal-e2e/" + module})
}

func build(ctx context.Context, from testcontainers.FromDockerfile) (string, error) {
	var said bytes.Buffer
	from.Tag, from.KeepImage, from.BuildLogWriter = cmp.Or(from.Tag, "latest"), true, &said
	// Go's modules come from where this machine gets them.
	from.BuildOptionsModifier = func(o *client.ImageBuildOptions) { o.NetworkMode = "host" }
	p, err := testcontainers.NewDockerProvider()
	if err != nil {
		return "", err
	}
	defer p.Close()
	name, err := p.BuildImage(ctx, &testcontainers.ContainerRequest{FromDockerfile: from})
	if err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", from.Repo, err, strings.TrimSpace(said.String()))
	}
	return name, nil
}
