package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	_ "github.com/kedacore/keda/v2/version" // so that its module is here: of its types the schemas are read, since the code needs most of Kubernetes
	"sigs.k8s.io/yaml"
)

// keda returns the folder of KEDA's module.
func keda(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/kedacore/keda/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// What KEDA is given fits the schemas that it installs, and each trigger has
// only the metadata that its scaler reads.
func TestScaledObject(t *testing.T) {
	dir, m := keda(t), rendered(t, "example")
	for name, object := range map[string]map[string]any{"scaledobjects": m.scaled, "triggerauthentications": m.credentials} {
		for _, bad := range misfits(schema(t, dir, name), object, name) {
			t.Error(bad)
		}
	}
	for _, trigger := range at(t, m.scaled, "spec", "triggers").([]any) {
		kind := at(t, trigger, "type").(string)
		known := metadataOf(t, dir, kind)
		for name, v := range at(t, trigger, "metadata").(map[string]any) {
			if _, text := v.(string); !slices.Contains(known, name) || !text {
				t.Errorf("%s: %s: %v; known are %v", kind, name, v, known)
			}
		}
	}
	if ref := at(t, m.scaled, "spec", "triggers", 0, "authenticationRef", "name"); ref != at(t, m.credentials, "metadata", "name") {
		t.Errorf("no credentials %v", ref)
	}
}

// schema is what the definition of a resource says of it.
func schema(t *testing.T, dir, name string) map[string]any {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "config/crd/bases/keda.sh_"+name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var definition any
	if err := yaml.Unmarshal(b, &definition); err != nil {
		t.Fatal(err)
	}
	for _, v := range at(t, definition, "spec", "versions").([]any) {
		if at(t, v, "name") == "v1alpha1" {
			return at(t, v, "schema", "openAPIV3Schema").(map[string]any)
		}
	}
	t.Fatalf("%s has no v1alpha1", name)
	return nil
}

// misfits returns where v does not fit a schema, as far as the schemas of KEDA
// go: types, members, what is required, what is enumerated, least numbers.
func misfits(schema map[string]any, v any, where string) (bad []string) {
	wrong := func(format string, args ...any) { bad = append(bad, where+": "+fmt.Sprintf(format, args...)) }
	if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, v) {
		wrong("%v is none of %v", v, enum)
	}
	switch v := v.(type) {
	case map[string]any:
		members, _ := schema["properties"].(map[string]any)
		others, open := schema["additionalProperties"].(map[string]any)
		if schema["type"] != "object" {
			wrong("an object, want %v", schema["type"])
		}
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if _, there := v[name.(string)]; !there {
				wrong("no %v", name)
			}
		}
		for name, e := range v {
			member, ok := members[name].(map[string]any)
			switch {
			case ok:
				bad = append(bad, misfits(member, e, where+"."+name)...)
			case open:
				bad = append(bad, misfits(others, e, where+"."+name)...)
			case len(members) > 0: // one that names none takes any, as metadata
				wrong("no member %s", name)
			}
		}
		return bad
	case []any:
		items, _ := schema["items"].(map[string]any)
		if schema["type"] != "array" {
			wrong("a list, want %v", schema["type"])
		}
		for i, e := range v {
			bad = append(bad, misfits(items, e, fmt.Sprintf("%s[%d]", where, i))...)
		}
	case string:
		if schema["type"] != "string" {
			wrong("%q, want %v", v, schema["type"])
		}
	case bool:
		if schema["type"] != "boolean" {
			wrong("%v, want %v", v, schema["type"])
		}
	case float64:
		if least, ok := schema["minimum"].(float64); ok && v < least {
			wrong("%v is less than %v", v, least)
		}
		if schema["type"] != "integer" && schema["type"] != "number" {
			wrong("%v, want %v", v, schema["type"])
		}
	default:
		wrong("%v of type %T", v, v)
	}
	return bad
}

var tag = regexp.MustCompile("`keda:\"name=([A-Za-z]+),")

// metadataOf are the names that a scaler reads, as its source says.
func metadataOf(t *testing.T, dir, kind string) (names []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "pkg/scalers", strings.ReplaceAll(kind, "-", "_")+"_scaler.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range tag.FindAllStringSubmatch(string(b), -1) {
		names = append(names, m[1])
	}
	return names
}

// The reader of schemas can fail.
func TestMisfits(t *testing.T) {
	s := schema(t, keda(t), "scaledobjects")
	for text, want := range map[string]string{
		`{spec: {scaleTargetRef: {name: a}, triggers: [{type: cron, metadata: {start: "1"}}]}}`:                      "",
		`{spec: {scaleTargetRef: {name: a}, triggers: [], maxReplicas: 1}}`:                                          "no member maxReplicas",
		`{spec: {scaleTargetRef: {name: a}, triggers: [], minReplicaCount: "1"}}`:                                    "want integer",
		`{spec: {scaleTargetRef: {name: a}, triggers: [], minReplicaCount: -1}}`:                                     "less than 0",
		`{spec: {scaleTargetRef: {}, triggers: []}}`:                                                                 "no name",
		`{spec: {scaleTargetRef: {name: a}, triggers: [{type: cron, metadata: {start: 1}}]}}`:                        "want string",
		`{spec: {scaleTargetRef: {name: a}, triggers: [{type: a, metadata: {}, authenticationRef: {kind: Other}}]}}`: "is none of",
	} {
		var v map[string]any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(misfits(s, v, "it"), "; "); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
