package deploy

import (
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// template is a CloudFormation template with values for its parameters.
type template struct {
	t          *testing.T
	doc        map[string]any    // all of it
	parameters map[string]string // with the defaults
	conditions map[string]any
	resources  map[string]any
	outputs    map[string]any
	attributes map[string]string // what GetAtt gives, by RESOURCE.ATTRIBUTE
}

// noValue is what removes a member or an entry.
type noValue struct{}

// pseudo are the parameters that every stack has.
var pseudo = map[string]string{
	"AWS::Partition": "aws", "AWS::AccountId": account, "AWS::Region": region, "AWS::StackName": stack,
}

const (
	account = "111122223333"
	region  = "us-east-1"
	stack   = "trailseal"
)

func templates(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob(root + "/deploy/aws/cloudformation/*.yaml")
	if err != nil || len(names) != 3 {
		t.Fatalf("templates %v, %v", names, err)
	}
	return names
}

func load(t *testing.T, name string, parameters map[string]string) *template {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal(read(t, "deploy/aws/cloudformation/"+name), &doc); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	top := plain(t, doc.Content[0]).(map[string]any)
	c := &template{
		t: t, doc: top, parameters: maps.Clone(pseudo), resources: section(top, "Resources"), outputs: section(top, "Outputs"),
		conditions: section(top, "Conditions"), attributes: map[string]string{},
	}
	declared := section(top, "Parameters")
	for p, v := range declared {
		c.parameters[p] = "(" + p + ")"
		if d, ok := v.(map[string]any)["Default"]; ok {
			c.parameters[p] = fmt.Sprint(d)
		}
	}
	for p, v := range parameters {
		if _, ok := declared[p]; !ok {
			t.Fatalf("%s has no parameter %s", name, p)
		}
		c.parameters[p] = v
	}
	return c
}

func section(top map[string]any, name string) map[string]any {
	s, _ := top[name].(map[string]any)
	return s
}

// plain turns YAML into values, with the short forms of functions written out.
func plain(t *testing.T, n *yaml.Node) any {
	var v any
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			m[n.Content[i].Value] = plain(t, n.Content[i+1])
		}
		v = m
	case yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			list = append(list, plain(t, c))
		}
		v = list
	default:
		v = n.Value
		if !strings.HasPrefix(n.Tag, "!") || strings.HasPrefix(n.Tag, "!!") {
			if err := n.Decode(&v); err != nil {
				t.Fatal(err)
			}
		}
	}
	if name, ok := strings.CutPrefix(n.Tag, "!"); ok && !strings.HasPrefix(name, "!") {
		if name != "Ref" {
			name = "Fn::" + name
		}
		if s, ok := v.(string); ok && name == "Fn::GetAtt" {
			of, attribute, _ := strings.Cut(s, ".")
			v = []any{of, attribute}
		}
		return map[string]any{name: v}
	}
	return v
}

// eval computes the functions in v.
func (c *template) eval(v any) any {
	switch v := v.(type) {
	case []any:
		list := []any{}
		for _, e := range v {
			if e := c.eval(e); e != (noValue{}) {
				list = append(list, e)
			}
		}
		return list
	case map[string]any:
		if len(v) == 1 {
			for name, arg := range v {
				if name == "Ref" || strings.HasPrefix(name, "Fn::") {
					return c.function(name, arg)
				}
			}
		}
		m := map[string]any{}
		for k, e := range v {
			if e := c.eval(e); e != (noValue{}) {
				m[k] = e
			}
		}
		return m
	}
	return v
}

func (c *template) function(name string, arg any) any {
	switch name {
	case "Ref":
		return c.ref(arg.(string))
	case "Fn::Sub":
		return c.sub(arg)
	case "Fn::If":
		list := arg.([]any)
		if c.holds(list[0].(string)) {
			return c.eval(list[1])
		}
		return c.eval(list[2])
	}
	args, _ := c.eval(arg).([]any)
	switch name {
	case "Fn::GetAtt":
		return c.attribute(args[0].(string) + "." + args[1].(string))
	case "Fn::Equals":
		return args[0] == args[1]
	case "Fn::Not":
		return args[0] == false
	case "Fn::Split":
		list := []any{}
		for _, part := range strings.Split(args[1].(string), args[0].(string)) {
			list = append(list, part)
		}
		return list
	case "Fn::Select":
		return args[1].([]any)[args[0].(int)]
	}
	c.t.Fatalf("function %s is not known to this test", name)
	return nil
}

// holds computes a condition.
func (c *template) holds(name string) bool {
	v, ok := c.conditions[name]
	if !ok {
		c.t.Fatalf("no condition %s", name)
	}
	return c.eval(v) == true
}

func (c *template) ref(name string) any {
	if name == "AWS::NoValue" {
		return noValue{}
	}
	if v, ok := c.parameters[name]; ok {
		return v
	}
	return c.attribute(name)
}

// attribute is a resource's, or with no dot what Ref of it gives.
func (c *template) attribute(name string) string {
	resource, _, _ := strings.Cut(name, ".")
	if _, ok := c.resources[resource]; !ok {
		c.t.Fatalf("no resource or parameter %s", resource)
	}
	if v, ok := c.attributes[name]; ok {
		return v
	}
	return "(" + name + ")"
}

var variable = regexp.MustCompile(`\$\{([A-Za-z0-9:.]+)\}`)

func (c *template) sub(arg any) string {
	own := map[string]any{}
	if list, ok := arg.([]any); ok {
		arg, own = list[0], c.eval(list[1]).(map[string]any)
	}
	return variable.ReplaceAllStringFunc(arg.(string), func(m string) string {
		name := m[2 : len(m)-1]
		if v, ok := own[name]; ok {
			return v.(string)
		}
		if strings.Contains(name, ".") {
			return c.attribute(name)
		}
		return c.ref(name).(string)
	})
}

// properties are those of a resource, with all functions computed, and nil
// where its condition does not hold.
func (c *template) properties(resource string) map[string]any {
	c.t.Helper()
	r, ok := c.resources[resource].(map[string]any)
	if !ok {
		c.t.Fatalf("no resource %s", resource)
	}
	if condition, ok := r["Condition"].(string); ok && !c.holds(condition) {
		return nil
	}
	return c.eval(r["Properties"]).(map[string]any)
}

// at follows members and, by number, entries.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for i, p := range path {
		var next any
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			next = m[p]
		case int:
			list, _ := v.([]any)
			if p < len(list) {
				next = list[p]
			}
		}
		if next == nil {
			t.Fatalf("%v: nothing at %v of %v", path, path[i], v)
		}
		v = next
	}
	return v
}

// entries returns v without the list entries that have no value: moto's
// CloudFormation would leave a null in place of each.
func (c *template) entries(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, e := range v {
			m[k] = c.entries(e)
		}
		return m
	case []any:
		list := []any{}
		for _, e := range v {
			m, _ := e.(map[string]any)
			if branches, ok := m["Fn::If"].([]any); ok && reflect.DeepEqual(branches[2], map[string]any{"Ref": "AWS::NoValue"}) && !c.holds(branches[0].(string)) {
				continue
			}
			list = append(list, c.entries(e))
		}
		return list
	}
	return v
}

// Every parameter, condition and resource that a template names is there, and
// none is there for nothing.
func TestTemplatesAreWhole(t *testing.T) {
	for _, name := range templates(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text := string(read(t, "deploy/aws/cloudformation/"+filepath.Base(name)))
			c := load(t, filepath.Base(name), map[string]string{})
			for condition := range c.conditions {
				if strings.Count(text, condition) < 2 {
					t.Errorf("condition %s is of no use", condition)
				}
			}
			for p := range c.parameters {
				if !strings.HasPrefix(p, "AWS::") && strings.Count(text, p) < 2 {
					t.Errorf("parameter %s is of no use", p)
				}
			}
		})
	}
}

func TestTemplatesPassLint(t *testing.T) {
	t.Parallel()
	lint, err := exec.LookPath("cfn-lint")
	if err != nil {
		absent(t, "cfn-lint", "TRAILSEAL_REQUIRE_CFNLINT")
	}
	out, err := exec.Command(lint, templates(t)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("cfn-lint: %v\n%s", err, out)
	}
}

// statements of a policy document, without the order of anything.
func statements(t *testing.T, document any) map[string]statement {
	t.Helper()
	all := map[string]statement{}
	for _, s := range at(t, document, "Statement").([]any) {
		m := s.(map[string]any)
		sid, _ := m["Sid"].(string)
		if _, twice := all[sid]; twice {
			t.Fatalf("two statements %q", sid)
		}
		one := statement{Effect: m["Effect"].(string), Actions: words(m["Action"]), Resources: words(m["Resource"]), Principals: principals(m["Principal"])}
		conditions, _ := m["Condition"].(map[string]any)
		for test, variables := range conditions {
			for name, values := range variables.(map[string]any) {
				one.Conditions = append(one.Conditions, fmt.Sprint(test, " ", name, " ", words(values)))
			}
		}
		slices.Sort(one.Conditions)
		all[sid] = one
	}
	return all
}

// statement is one of a policy; its lists are sorted.
type statement struct {
	Effect                                     string
	Actions, Resources, Principals, Conditions []string
}

func principals(v any) (all []string) {
	switch v := v.(type) {
	case string:
		all = []string{v + " " + v}
	case map[string]any:
		for kind, who := range v {
			for _, w := range words(who) {
				all = append(all, kind+" "+w)
			}
		}
	}
	slices.Sort(all)
	return all
}

// words is a string or a list of strings, sorted.
func words(v any) (all []string) {
	switch v := v.(type) {
	case nil:
	case []any:
		for _, e := range v {
			all = append(all, fmt.Sprint(e))
		}
	case float64: // of JSON
		all = []string{strconv.FormatFloat(v, 'f', -1, 64)}
	default:
		all = []string{fmt.Sprint(v)}
	}
	slices.Sort(all)
	return all
}
