package s3server

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// BinaryEnv names a ready versitygw binary.
const BinaryEnv = "TRAILSEAL_VERSITYGW"

const versitygw = "github.com/versity/versitygw/cmd/versitygw"

// build returns the path of a versitygw binary: the one that BinaryEnv names,
// or the one of test/versitygw, built once for each version (about a minute)
// and kept in the user's cache.
func build(tb testing.TB) string {
	tb.Helper()
	if path := os.Getenv(BinaryEnv); path != "" {
		if _, err := os.Stat(path); err != nil {
			tb.Fatalf("%s: %v", BinaryEnv, err)
		}
		return path
	}
	path, err := cached()
	if err != nil {
		if os.Getenv("CI") == "true" {
			tb.Fatalf("build versitygw: %v", err)
		}
		tb.Skipf("versitygw cannot be built here (set %s to a binary): %v", BinaryEnv, err)
	}
	return path
}

func cached() (string, error) {
	module, err := moduleDir()
	if err != nil {
		return "", err
	}
	sum, err := version(module)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "trailseal")
	path := filepath.Join(dir, "versitygw-"+sum)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// Built beside its place and moved there whole: several test binaries may
	// build at once, and one may be killed.
	temp, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	built := filepath.Join(temp, "versitygw")
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", built, versitygw)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", versitygw, err, out)
	}
	return path, os.Rename(built, path)
}

// moduleDir returns test/versitygw, whose go.mod pins the version: its modules
// stay out of ours.
func moduleDir() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), "test", "versitygw"), nil
}

// version names what would be built.
func version(module string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, name := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", err
		}
		h.Write(b)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8]), nil
}
