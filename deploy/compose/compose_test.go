// Package compose_test checks compose.yaml without an engine: that what it
// names is there, and that our programs take the settings that it gives them.
package compose_test

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const file = "compose.yaml"

type service struct {
	Image       string
	Build       struct{ Context, Dockerfile string }
	Command     []string
	Environment map[string]string
	Volumes     []string
	Ports       []string
	DependsOn   yaml.Node `yaml:"depends_on"`
}

type project struct {
	Services map[string]service
	Volumes  map[string]any
}

var variable = regexp.MustCompile(`\$\{([A-Z0-9_]+)(:-([^}]*))?\}`)

// load reads the file with the defaults of its variables.
func load(t *testing.T) (p project, variables []string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range variable.FindAllStringSubmatch(string(b), -1) {
		if m[2] == "" {
			t.Errorf("%s has no default", m[1])
		}
		variables = append(variables, m[1])
	}
	if err := yaml.Unmarshal(variable.ReplaceAll(b, []byte("$3")), &p); err != nil {
		t.Fatal(err)
	}
	return p, variables
}

func TestWhatIsNamedIsThere(t *testing.T) {
	p, variables := load(t)
	if got := slices.Sorted(maps.Keys(p.Services)); !slices.Equal(got, []string{"alertmanager", "emulator", "feeder", "grafana", "ingest", "prometheus", "s3"}) {
		t.Errorf("services %v", got)
	}
	pinned := regexp.MustCompile(`^[a-z0-9./-]+:v?\d+\.\d+\.\d+$`)
	images := 0
	for _, name := range variables {
		if strings.HasSuffix(name, "_IMAGE") {
			images++
		}
	}
	if images != len(p.Services) {
		t.Errorf("%d images of %d have a variable", images, len(p.Services))
	}
	for name, s := range p.Services {
		if s.Build.Context == "" && !pinned.MatchString(s.Image) {
			t.Errorf("%s: image %s is not pinned", name, s.Image)
		}
		if s.Build.Context != "" {
			dockerfile := s.Build.Dockerfile
			if dockerfile == "" {
				dockerfile = "Dockerfile"
			}
			there(t, name, filepath.Join(s.Build.Context, dockerfile))
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if _, named := p.Volumes[from]; named {
				continue
			}
			there(t, name, from)
			if !strings.HasSuffix(v, ":ro") {
				t.Errorf("%s can write to %s", name, from)
			}
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s: port %s is open to the network", name, port)
			}
		}
		for _, on := range dependencies(t, s.DependsOn) {
			if _, ok := p.Services[on]; !ok {
				t.Errorf("%s depends on %s", name, on)
			}
		}
	}
}

func there(t *testing.T, name, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

// dependencies reads both forms: a list, and a map with conditions.
func dependencies(t *testing.T, n yaml.Node) (names []string) {
	t.Helper()
	conditions := map[string]any{}
	var err error
	switch n.Kind {
	case yaml.SequenceNode:
		err = n.Decode(&names)
	case yaml.MappingNode:
		err = n.Decode(&conditions)
		names = slices.Collect(maps.Keys(conditions))
	}
	if err != nil {
		t.Error(err)
	}
	return names
}

// The addresses inside agree with the services that are meant, and what is
// mounted lies where its reader looks.
func TestPartsMeet(t *testing.T) {
	p, _ := load(t)
	for name, want := range map[string]string{
		"../prometheus/prometheus.yml":                        "targets: [ingest:9090]",
		"../grafana/provisioning/datasources/prometheus.yaml": "url: http://prometheus:9090",
		"../grafana/provisioning/dashboards/trailseal.yaml":   "path: /var/lib/grafana/dashboards",
		"../../Dockerfile":                                    "EXPOSE 9090",
		"../../.dockerignore":                                 "!test/feeder",
	} {
		if b, err := os.ReadFile(name); err != nil || !bytes.Contains(b, []byte(want)) {
			t.Errorf("%s has no %q: %v", name, want, err)
		}
	}
	for _, v := range []string{"../grafana/dashboards:/var/lib/grafana/dashboards:ro", "../grafana/provisioning:/etc/grafana/provisioning:ro"} {
		if !slices.Contains(p.Services["grafana"].Volumes, v) {
			t.Errorf("grafana has no %s", v)
		}
	}
	there(t, "grafana", "../grafana/dashboards/integrity.json") // where it opens
	feeder, ingest := p.Services["feeder"], p.Services["ingest"]
	for _, pair := range [][2]string{
		{"-bucket=example-trail-logs", "--source=s3://example-trail-logs"},
		{"-queue=trail", "--queue=" + feeder.Environment["AWS_ENDPOINT_URL_SQS"] + "/123456789012/trail"},
		{"-keys=/keys/keys.json", "--keys=/keys/keys.json"},
		{"-sink-bucket=proven-events", "--sink=s3://proven-events/ingest"},
	} {
		if !slices.Contains(feeder.Command, pair[0]) || !slices.Contains(ingest.Command, pair[1]) {
			t.Errorf("not both have it: %v", pair)
		}
	}
	if !maps.Equal(feeder.Environment, ingest.Environment) {
		t.Error("feeder and ingest talk to different servers")
	}
}

// Our programs know every flag that they are started with.
func TestSettingsAreKnown(t *testing.T) {
	p, _ := load(t)
	dir := t.TempDir()
	if err := filepath.WalkDir("../..", func(path string, _ os.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".go" { // go build reads them unseen by the test cache
			_, err = os.Stat(path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "./cmd/ingest", "./test/feeder")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, args := range map[string][]string{
		"ingest": append([]string{"config"}, p.Services["ingest"].Command...),
		"feeder": append(slices.Clone(p.Services["feeder"].Command), "-h"),
	} {
		if out, err := exec.Command(filepath.Join(dir, name), args...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	if err := exec.Command(filepath.Join(dir, "ingest"), "config", "--source=x", "--no-such-flag").Run(); err == nil {
		t.Error("ingest config takes any flag")
	}
	if err := exec.Command(filepath.Join(dir, "feeder"), "-no-such-flag", "-h").Run(); err == nil {
		t.Error("feeder takes any flag")
	}
}

// Compose itself reads the file, where it is installed.
func TestComposeReadsIt(t *testing.T) {
	var cmd *exec.Cmd
	for _, c := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if exec.Command(c[0], append(c[1:], "version")...).Run() == nil {
			cmd = exec.Command(c[0], append(c[1:], "-f", file, "config")...)
			break
		}
	}
	if cmd == nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("neither docker compose nor docker-compose is installed")
		}
		t.Skip("neither docker compose nor docker-compose is installed: only the rest of this package's tests looked at " + file)
	}
	p, variables := load(t)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(variables, name)
	})
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, stderr.String())
	}
	if stderr.String() != "" {
		t.Errorf("%v: %s", cmd.Args, stderr.String())
	}
	var read struct {
		Services map[string]struct{ Image string }
	} // the rest is written anew, in other forms
	if err := yaml.Unmarshal(out, &read); err != nil {
		t.Fatal(err)
	}
	for name, s := range p.Services {
		if read.Services[name].Image != s.Image {
			t.Errorf("%s: image %q, want %q", name, read.Services[name].Image, s.Image)
		}
	}
}
