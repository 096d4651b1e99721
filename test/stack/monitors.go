package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

func (s *stack) startAlertmanager(ctx context.Context) (err error) {
	program := installed("alertmanager", "prometheus-alertmanager")
	if program == "" {
		s.absent = append(s.absent, "Alertmanager")
		return nil
	}
	at, err := s.address(alertmanagerPort)
	if err != nil {
		return err
	}
	s.alertmanager, err = s.add(ctx, "Alertmanager", "http://"+at+"/", "http://"+at+"/-/ready", exec.Command(program,
		"--config.file", s.deployed("prometheus", "alertmanager.yml"), "--storage.path", s.path("alertmanager"),
		"--web.listen-address", at, "--cluster.listen-address="))
	return err
}

func (s *stack) startPrometheus(ctx context.Context) (err error) {
	program := installed("prometheus")
	if program == "" {
		s.absent = append(s.absent, "Prometheus")
		return nil
	}
	at, err := s.address(prometheusPort)
	if err != nil {
		return err
	}
	config, err := s.prometheusConfig()
	if err != nil {
		return err
	}
	s.prometheus, err = s.add(ctx, "Prometheus", "http://"+at+"/alerts", "http://"+at+"/-/ready", exec.Command(program,
		"--config.file", config, "--storage.tsdb.path", s.path("prometheus"), "--web.listen-address", at))
	if err == nil && !answers(ctx, s.prometheus.url) {
		s.prometheus.url = "http://" + at + "/classic/alerts" // Debian's has only the older pages
	}
	return err
}

// prometheusConfig writes the configuration of deploy/prometheus with the
// addresses of this stack in place of those of the containers.
func (s *stack) prometheusConfig() (string, error) {
	name := s.deployed("prometheus", "prometheus.yml")
	b, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	own := []string{"ingest:9090", host(s.ingest.url)}
	if s.alertmanager != nil {
		own = append(own, "alertmanager:9093", host(s.alertmanager.url))
	}
	var c map[string]any
	if err := yaml.Unmarshal([]byte(strings.NewReplacer(own...).Replace(string(b))), &c); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if s.alertmanager == nil {
		delete(c, "alerting")
	}
	files, _ := c["rule_files"].([]any)
	for i, f := range files {
		files[i] = s.deployed("prometheus", filepath.Base(fmt.Sprint(f)))
	}
	if global, ok := c["global"].(map[string]any); ok && s.every > 0 {
		global["scrape_interval"], global["evaluation_interval"] = s.every.String(), s.every.String()
		global["scrape_timeout"] = s.every.String()
	}
	if b, err = yaml.Marshal(c); err != nil {
		return "", err
	}
	return s.path("prometheus.yml"), os.WriteFile(s.path("prometheus.yml"), b, 0o644)
}

// startGrafana starts Grafana with our dashboards, for anyone to look at.
func (s *stack) startGrafana(ctx context.Context) (err error) {
	args := []string{"server"}
	program := installed("grafana")
	if program == "" {
		program, args = installed("grafana-server"), nil
	}
	if program == "" || s.prometheus == nil {
		s.absent = append(s.absent, "Grafana")
		return nil
	}
	at, err := s.address(grafanaPort)
	if err != nil {
		return err
	}
	if err := s.provision(); err != nil {
		return err
	}
	home := os.Getenv("GF_PATHS_HOME")
	if home == "" {
		home = "/usr/share/grafana" // where its packages put it
	}
	_, port, _ := strings.Cut(at, ":")
	cmd := exec.Command(program, append(args, "--homepath", home)...)
	cmd.Env = append(os.Environ(), "GF_SERVER_HTTP_ADDR=127.0.0.1", "GF_SERVER_HTTP_PORT="+port,
		"GF_PATHS_DATA="+s.path("grafana"), "GF_PATHS_LOGS="+s.path("grafana"), "GF_PATHS_PLUGINS="+s.path("grafana"),
		"GF_PATHS_PROVISIONING="+s.path("provisioning"), "GF_AUTH_ANONYMOUS_ENABLED=true", "GF_AUTH_ANONYMOUS_ORG_ROLE=Viewer",
		"GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH="+s.deployed("grafana", "dashboards", "integrity.json"),
		"GF_ANALYTICS_REPORTING_ENABLED=false", "GF_ANALYTICS_CHECK_FOR_UPDATES=false")
	_, err = s.add(ctx, "Grafana", "http://"+at+"/", "http://"+at+"/api/health", cmd)
	return err
}

// provision writes what Grafana is to load, which is that of deploy/grafana with
// the places of this stack.
func (s *stack) provision() error {
	from := s.deployed("grafana", "provisioning")
	own := strings.NewReplacer("http://prometheus:9090", "http://"+host(s.prometheus.url),
		"/var/lib/grafana/dashboards", s.deployed("grafana", "dashboards"))
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(s.path("provisioning"), strings.TrimPrefix(path, from))
		if e.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, []byte(own.Replace(string(b))), 0o644)
	})
}

// deployed is a file or folder below deploy/.
func (s *stack) deployed(names ...string) string {
	return filepath.Join(append([]string{s.root, "deploy"}, names...)...)
}

// host is the address in a URL.
func host(url string) string {
	rest := strings.TrimPrefix(url, "http://")
	at, _, _ := strings.Cut(rest, "/")
	return at
}
