package deploy

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	disruption "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// manifests are what kustomize builds, decoded strictly: a field that its type
// does not have, or one that is there twice, is an error.
type manifests struct {
	kinds       []string
	namespaces  map[string]string // by kind
	account     core.ServiceAccount
	settings    core.ConfigMap
	state       core.PersistentVolumeClaim
	deployment  apps.Deployment
	service     core.Service
	disruption  disruption.PodDisruptionBudget
	network     networking.NetworkPolicy
	namespace   core.Namespace
	monitor     monitoring.PodMonitor
	scaled      map[string]any // of KEDA: held to its schema
	credentials map[string]any
}

func rendered(t *testing.T, dir string) *manifests {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(root, "deploy/kubernetes", dir))
	if err != nil {
		t.Fatalf("kustomize build %s: %v", dir, err)
	}
	m := &manifests{namespaces: map[string]string{}}
	into := map[string]any{
		"v1 ServiceAccount": &m.account, "v1 ConfigMap": &m.settings, "v1 PersistentVolumeClaim": &m.state, "apps/v1 Deployment": &m.deployment,
		"v1 Service": &m.service, "policy/v1 PodDisruptionBudget": &m.disruption, "networking.k8s.io/v1 NetworkPolicy": &m.network,
		"v1 Namespace": &m.namespace, "monitoring.coreos.com/v1 PodMonitor": &m.monitor,
		"keda.sh/v1alpha1 ScaledObject": &m.scaled, "keda.sh/v1alpha1 TriggerAuthentication": &m.credentials,
	}
	for _, r := range built.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		name := r.GetApiVersion() + " " + r.GetKind()
		if into[name] == nil {
			t.Fatalf("%s: nobody knows a %s, or there are two", dir, name)
		}
		if err := yaml.UnmarshalStrict(text, into[name]); err != nil {
			t.Errorf("%s, %s: %v", dir, name, err)
		}
		delete(into, name)
		m.kinds = append(m.kinds, r.GetKind())
		m.namespaces[r.GetKind()] = r.GetNamespace()
	}
	slices.Sort(m.kinds)
	return m
}

func TestKustomizations(t *testing.T) {
	base := []string{"ConfigMap", "Deployment", "NetworkPolicy", "PersistentVolumeClaim", "PodDisruptionBudget", "Service", "ServiceAccount"}
	for dir, kinds := range map[string][]string{
		"base":    base,
		"example": slices.Concat(base, []string{"Namespace", "PodMonitor", "ScaledObject", "TriggerAuthentication"}),
	} {
		t.Run(dir, func(t *testing.T) {
			m := rendered(t, dir)
			same(t, "kinds", m.kinds, kinds)
			for kind, namespace := range m.namespaces {
				if dir == "example" && kind != "Namespace" && namespace != "trailseal" {
					t.Errorf("%s is in namespace %q", kind, namespace)
				}
			}
			checkSelectors(t, m)
			checkOnePod(t, m)
			checkPod(t, m)
		})
	}
}

// checkSelectors demands that everything that selects pods selects these, and
// not simply all of the namespace.
func checkSelectors(t *testing.T, m *manifests) {
	t.Helper()
	pod := labels.Set(m.deployment.Spec.Template.Labels)
	selectors := map[string]map[string]string{ // kustomize completes only those that are there
		"Deployment": m.deployment.Spec.Selector.MatchLabels, "Service": m.service.Spec.Selector,
		"NetworkPolicy": m.network.Spec.PodSelector.MatchLabels,
	}
	if m.disruption.Spec.Selector != nil {
		selectors["PodDisruptionBudget"] = m.disruption.Spec.Selector.MatchLabels
	} else {
		t.Error("PodDisruptionBudget selects nothing")
	}
	if slices.Contains(m.kinds, "PodMonitor") {
		selectors["PodMonitor"] = m.monitor.Spec.Selector.MatchLabels
		if job := pod[m.monitor.Spec.JobLabel]; job != "trailseal" {
			t.Errorf("job %q, which the rules of deploy/prometheus do not ask for", job)
		}
		if port := m.monitor.Spec.PodMetricsEndpoints[0].Port; port == nil || *port != "metrics" {
			t.Error("PodMonitor does not scrape the port metrics")
		}
	}
	for kind, selector := range selectors {
		if len(selector) == 0 || !labels.SelectorFromSet(selector).Matches(pod) {
			t.Errorf("%s selects %v, the pod has %v", kind, selector, pod)
		}
	}
}

// checkOnePod demands that two pods never share the state.
func checkOnePod(t *testing.T, m *manifests) {
	t.Helper()
	spec := m.deployment.Spec
	if spec.Strategy.Type != apps.RecreateDeploymentStrategyType || !slices.Equal(m.state.Spec.AccessModes, []core.PersistentVolumeAccessMode{core.ReadWriteOncePod}) {
		t.Errorf("strategy %s, volume %v", spec.Strategy.Type, m.state.Spec.AccessModes)
	}
	if slices.Contains(m.kinds, "ScaledObject") {
		if spec.Replicas != nil {
			t.Errorf("%d replicas beside a ScaledObject", *spec.Replicas)
		}
		if most := at(t, m.scaled, "spec", "maxReplicaCount"); most != float64(1) {
			t.Errorf("scaled to %v", most)
		}
		if target := at(t, m.scaled, "spec", "scaleTargetRef", "name"); target != m.deployment.Name {
			t.Errorf("scales %v", target)
		}
	} else if spec.Replicas == nil || *spec.Replicas != 1 {
		t.Error("not one replica")
	}
}

// checkPod demands that the pod is restricted, and that its settings are those
// of the program.
func checkPod(t *testing.T, m *manifests) {
	t.Helper()
	pod := m.deployment.Spec.Template
	all, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	if r := policy.AggregateCheckResults(all.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec)); !r.Allowed {
		t.Errorf("not restricted: %s: %s", r.ForbiddenReason(), r.ForbiddenDetail())
	}
	c := pod.Spec.Containers[0]
	if !*c.SecurityContext.ReadOnlyRootFilesystem || *pod.Spec.AutomountServiceAccountToken {
		t.Error("root is writable, or the pod has a token")
	}
	if pod.Spec.ServiceAccountName != m.account.Name || pod.Spec.Volumes[0].PersistentVolumeClaim.ClaimName != m.state.Name || pod.Spec.Volumes[1].ConfigMap.Name != m.settings.Name {
		t.Errorf("names %+v", pod.Spec)
	}
	s := settings(t, m.settings.Data["ingest.yaml"])
	if drain, err := time.ParseDuration(s["drain"].(string)); err != nil || drain >= time.Duration(*pod.Spec.TerminationGracePeriodSeconds)*time.Second {
		t.Errorf("drain %v, %v, and the pod is killed after %d s", s["drain"], err, *pod.Spec.TerminationGracePeriodSeconds)
	}
	file, ok := strings.CutPrefix(s["state"].(string), "file:")
	if !ok || filepath.Dir(file) != c.VolumeMounts[0].MountPath || c.Env[0].Value != filepath.Join(c.VolumeMounts[1].MountPath, "ingest.yaml") {
		t.Errorf("state %s, mounts %+v, environment %+v", s["state"], c.VolumeMounts, c.Env)
	}
	if _, port, _ := strings.Cut(s["listen"].(string), ":"); port != fmt.Sprint(c.Ports[0].ContainerPort) || c.LivenessProbe.HTTPGet.Port.String() != c.Ports[0].Name {
		t.Errorf("listens on %v, ports %+v", s["listen"], c.Ports)
	}
	if c.LivenessProbe.HTTPGet.Path != "/livez" || c.ReadinessProbe.HTTPGet.Path != "/readyz" {
		t.Error("probes ask something else")
	}
	memory := c.Resources.Limits.Memory().Value()
	if s["memory"] != "512MiB" || memory < (512+128)<<20 {
		t.Errorf("memory %v of a limit of %d", s["memory"], memory)
	}
}

// settings are those that the program takes from a file, with its defaults.
func settings(t *testing.T, text string) (s map[string]any) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ingest.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd, output := ingest(t, nil, "config", "--config", name)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if err := yaml.Unmarshal(output.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// The example names one queue in two places.
func TestExampleIsOfOneQueue(t *testing.T) {
	m := rendered(t, "example")
	s := settings(t, m.settings.Data["ingest.yaml"])
	queue := at(t, m.scaled, "spec", "triggers", 0, "metadata", "queueURL")
	if got := fmt.Sprint(s["queue"]); got != fmt.Sprint([]any{queue}) || !strings.Contains(got, fmt.Sprint(at(t, m.scaled, "spec", "triggers", 0, "metadata", "awsRegion"))) {
		t.Errorf("settings have %s, KEDA %s", got, queue)
	}
	if m.account.Annotations["eks.amazonaws.com/role-arn"] == "" || m.namespace.Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
		t.Errorf("account %+v, namespace %+v", m.account, m.namespace)
	}
	if !strings.HasPrefix(m.deployment.Spec.Template.Spec.Containers[0].Image, "registry.example.com/trailseal:") {
		t.Errorf("image %s", m.deployment.Spec.Template.Spec.Containers[0].Image)
	}
	ports := m.network.Spec.Ingress[0].Ports
	if len(ports) != 1 || ports[0].Port.String() != "metrics" {
		t.Errorf("ports %+v are open", ports)
	}
}

// Settings of the template's task are settings of the program.
func TestTaskSettings(t *testing.T) {
	c := load(t, "worker.yaml", allOfWorker)
	task := at(t, c.properties("Task"), "ContainerDefinitions", 0)
	known := settings(t, "")
	for _, v := range at(t, task, "Environment").([]any) {
		name, ok := strings.CutPrefix(at(t, v, "Name").(string), "TRAILSEAL_")
		if _, there := known[strings.ToLower(strings.ReplaceAll(name, "_", "-"))]; ok && !there {
			t.Errorf("no setting TRAILSEAL_%s: there are %v", name, slices.Sorted(maps.Keys(known)))
		}
	}
	drain, err := time.ParseDuration(environmentOf(t, task)["TRAILSEAL_DRAIN"])
	if err != nil || drain >= time.Duration(at(t, task, "StopTimeout").(int))*time.Second {
		t.Errorf("drain %v, %v, and the task is killed after %v s", drain, err, at(t, task, "StopTimeout"))
	}
	mount := at(t, task, "MountPoints", 0, "ContainerPath").(string)
	if state := environmentOf(t, task)["TRAILSEAL_STATE"]; state != "file:"+mount+"/trailseal.state" {
		t.Errorf("state %s, volume %s", state, mount)
	}
	image := read(t, "Dockerfile")
	for _, want := range []string{fmt.Sprint(at(t, task, "HealthCheck", "Command", 1)), mount, fmt.Sprint(at(t, task, "User"))} {
		if !bytes.Contains(image, []byte(want)) {
			t.Errorf("the Dockerfile knows no %s", want)
		}
	}
	cmd, output := ingest(t, nil, "health", "-h")
	if err := cmd.Run(); err != nil || !bytes.Contains(output.Bytes(), []byte("\n  health")) {
		t.Errorf("no command health: %v\n%s", err, output)
	}
}

func environmentOf(t *testing.T, task any) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, v := range at(t, task, "Environment").([]any) {
		all[at(t, v, "Name").(string)] = at(t, v, "Value").(string)
	}
	return all
}
