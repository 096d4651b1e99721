// Package deploy holds what lies below deploy/aws and deploy/kubernetes to the
// programs and to each other: the permissions are those that the code uses, the
// Terraform modules say what the templates say, the manifests are what their
// schemas allow, and a stack made of the templates feeds the program. It is a
// module of its own, since nothing else here needs kustomize or HCL.
package deploy

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const root = "../.."

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "trailseal-deploy-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = sync.OnceValues(func() (string, error) { return build(dir) })
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// program builds ingest once.
var program func() (string, error)

func build(dir string) (string, error) {
	// The go command keeps a test's result until a file changes that the test
	// has looked at, and it does not see what go build looks at.
	if err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".go" {
			_, err = os.Stat(path)
		}
		return err
	}); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "ingest")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/ingest")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

// ingest returns the program, ready to start, without settings of this
// machine's; output is what it says.
func ingest(t *testing.T, env []string, args ...string) (cmd *exec.Cmd, output *bytes.Buffer) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd, output = exec.Command(path, args...), new(bytes.Buffer)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "TRAILSEAL_")
	}), env...)
	cmd.Dir = t.TempDir()
	cmd.Stdout, cmd.Stderr = output, output
	return cmd, output
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// absent ends a test whose peer is missing: as a failure where the environment
// variable says that it must be there.
func absent(t *testing.T, what, require string) {
	t.Helper()
	if os.Getenv(require) == "1" {
		t.Fatalf("%s=1, but %s is not there", require, what)
	}
	t.Skipf("%s is not there; %s=1 makes this a failure", what, require)
}
