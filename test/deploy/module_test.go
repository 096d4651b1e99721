package deploy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/dynblock"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// module is a Terraform module with values for its variables. Its provider is
// not here: of a resource only what attributes says is known.
type module struct {
	t         *testing.T
	blocks    map[string]*hclsyntax.Block // by address: var.x, output.x, data.type.name, type.name
	locals    map[string]*hclsyntax.Attribute
	scope     *hcl.EvalContext
	traversed []hcl.Traversal
}

func modules(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob(root + "/deploy/aws/terraform/*/main.tf")
	if err != nil || len(names) != 3 {
		t.Fatalf("modules %v, %v", names, err)
	}
	for i := range names {
		names[i] = filepath.Base(filepath.Dir(names[i]))
	}
	return names
}

// functions are those of Terraform that the modules use.
var functions = map[string]function.Function{
	"jsonencode": stdlib.JSONEncodeFunc, "merge": stdlib.MergeFunc, "concat": stdlib.ConcatFunc,
	"split": stdlib.SplitFunc, "length": stdlib.LengthFunc, "contains": stdlib.ContainsFunc, "regex": stdlib.RegexFunc,
}

// files parses the .tf files of a module.
func files(t *testing.T, name string) (m *module) {
	t.Helper()
	m = &module{t: t, blocks: map[string]*hclsyntax.Block{}, locals: map[string]*hclsyntax.Attribute{}}
	names, err := filepath.Glob(root + "/deploy/aws/terraform/" + name + "/*.tf")
	if err != nil || len(names) != 4 {
		t.Fatalf("files %v, %v", names, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, wrong := hclsyntax.ParseConfig(b, name, hcl.InitialPos)
		if wrong.HasErrors() {
			t.Fatal(wrong)
		}
		body := f.Body.(*hclsyntax.Body)
		if err := hclsyntax.VisitAll(body, func(n hclsyntax.Node) hcl.Diagnostics {
			if v, ok := n.(*hclsyntax.ScopeTraversalExpr); ok {
				m.traversed = append(m.traversed, v.Traversal)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for _, b := range body.Blocks {
			m.add(b)
		}
	}
	return m
}

func (m *module) add(b *hclsyntax.Block) {
	address := ""
	switch b.Type {
	case "terraform":
		return
	case "locals":
		maps.Copy(m.locals, b.Body.Attributes)
		return
	case "variable":
		address = "var." + b.Labels[0]
	case "resource":
		address = strings.Join(b.Labels, ".")
	default:
		address = strings.Join(append([]string{b.Type}, b.Labels...), ".")
	}
	if m.blocks[address] != nil {
		m.t.Fatalf("%s is there twice", address)
	}
	m.blocks[address] = b
}

// terraform returns a module with values for variables, and for attributes of
// resources by their addresses.
func terraform(t *testing.T, name string, variables map[string]cty.Value, attributes map[string]map[string]string) *module {
	t.Helper()
	m := files(t, name)
	set := map[string]cty.Value{}
	for address, b := range m.blocks {
		v, ok := strings.CutPrefix(address, "var.")
		if !ok {
			continue
		}
		if d, ok := b.Body.Attributes["default"]; ok {
			set[v] = m.value(d.Expr, &hcl.EvalContext{})
		}
	}
	for v, value := range variables {
		if m.blocks["var."+v] == nil {
			t.Fatalf("%s has no variable %s", name, v)
		}
		set[v] = value
	}
	m.scope = &hcl.EvalContext{Functions: functions, Variables: m.known(attributes)}
	m.scope.Variables["var"] = cty.ObjectVal(set)
	m.setLocals()
	return m
}

// known are the values of resources, and of data as data.type.name.
func (m *module) known(attributes map[string]map[string]string) map[string]cty.Value {
	tree := map[string]map[string]cty.Value{}
	data := map[string]map[string]cty.Value{}
	for address, of := range attributes {
		counted := strings.HasSuffix(address, "[0]")
		address = strings.TrimSuffix(address, "[0]")
		if m.blocks[address] == nil {
			m.t.Fatalf("no %s", address)
		}
		fields := map[string]cty.Value{}
		for k, v := range of {
			fields[k] = cty.StringVal(v)
		}
		value := cty.ObjectVal(fields)
		if counted {
			value = cty.TupleVal([]cty.Value{value})
		}
		to := tree
		if rest, ok := strings.CutPrefix(address, "data."); ok {
			address, to = rest, data
		}
		kind, name, _ := strings.Cut(address, ".")
		if to[kind] == nil {
			to[kind] = map[string]cty.Value{}
		}
		to[kind][name] = value
	}
	values, inData := map[string]cty.Value{}, map[string]cty.Value{}
	for kind, names := range tree {
		values[kind] = cty.ObjectVal(names)
	}
	for kind, names := range data {
		inData[kind] = cty.ObjectVal(names)
	}
	values["data"] = cty.ObjectVal(inData)
	return values
}

// setLocals computes the locals, each after those that it needs.
func (m *module) setLocals() {
	done := map[string]cty.Value{}
	for len(done) < len(m.locals) {
		before := len(done)
		m.scope.Variables["local"] = cty.ObjectVal(done)
		for name, a := range m.locals {
			if _, ok := done[name]; ok {
				continue
			}
			if v, wrong := a.Expr.Value(m.scope); !wrong.HasErrors() {
				done[name] = v
			}
		}
		if len(done) == before {
			for name, a := range m.locals {
				if _, wrong := a.Expr.Value(m.scope); wrong.HasErrors() {
					m.t.Errorf("local.%s: %v", name, wrong)
				}
			}
			m.t.FailNow()
		}
	}
	m.scope.Variables["local"] = cty.ObjectVal(done)
}

func (m *module) value(e hcl.Expression, scope *hcl.EvalContext) cty.Value {
	m.t.Helper()
	v, wrong := e.Value(scope)
	if wrong.HasErrors() {
		m.t.Fatal(wrong)
	}
	return v
}

// attribute computes an attribute of a block.
func (m *module) attribute(address, name string) cty.Value {
	m.t.Helper()
	b := m.blocks[address]
	if b == nil || b.Body.Attributes[name] == nil {
		m.t.Fatalf("no %s of %s", name, address)
	}
	return m.value(b.Body.Attributes[name].Expr, m.scope)
}

// fromJSON computes an attribute that is JSON text.
func (m *module) fromJSON(address, name string) (v any) {
	m.t.Helper()
	if err := json.Unmarshal([]byte(m.attribute(address, name).AsString()), &v); err != nil {
		m.t.Fatalf("%s.%s: %v", address, name, err)
	}
	return v
}

// policy computes the statements of a policy document.
func (m *module) policy(name string) map[string]statement {
	m.t.Helper()
	body := dynblock.Expand(m.blocks["data.aws_iam_policy_document."+name].Body, m.scope)
	content, wrong := body.Content(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "statement"}}})
	if wrong.HasErrors() {
		m.t.Fatal(wrong)
	}
	all := map[string]statement{}
	for _, b := range content.Blocks {
		sid, one := m.statement(b.Body)
		if _, twice := all[sid]; twice {
			m.t.Fatalf("two statements %q", sid)
		}
		all[sid] = one
	}
	return all
}

func (m *module) statement(body hcl.Body) (sid string, one statement) {
	attribute := func(name string) hcl.AttributeSchema { return hcl.AttributeSchema{Name: name} }
	content, wrong := body.Content(&hcl.BodySchema{
		Attributes: []hcl.AttributeSchema{attribute("sid"), attribute("effect"), attribute("actions"), attribute("resources")},
		Blocks:     []hcl.BlockHeaderSchema{{Type: "principals"}, {Type: "condition"}},
	})
	if wrong.HasErrors() {
		m.t.Fatal(wrong)
	}
	get := func(from hcl.Attributes, name string) any {
		if from[name] == nil {
			return nil
		}
		return native(m.t, m.value(from[name].Expr, m.scope))
	}
	one = statement{Effect: "Allow", Actions: words(get(content.Attributes, "actions")), Resources: words(get(content.Attributes, "resources"))}
	if effect, ok := get(content.Attributes, "effect").(string); ok {
		one.Effect = effect
	}
	for _, b := range content.Blocks {
		inner, wrong := b.Body.JustAttributes()
		if wrong.HasErrors() {
			m.t.Fatal(wrong)
		}
		if b.Type == "condition" {
			one.Conditions = append(one.Conditions, fmt.Sprint(get(inner, "test"), " ", get(inner, "variable"), " ", words(get(inner, "values"))))
			continue
		}
		for _, who := range words(get(inner, "identifiers")) {
			one.Principals = append(one.Principals, fmt.Sprint(get(inner, "type"), " ", who))
		}
	}
	slices.Sort(one.Conditions)
	slices.Sort(one.Principals)
	sid, _ = get(content.Attributes, "sid").(string)
	return sid, one
}

// native turns a value into what JSON would be decoded to.
func native(t *testing.T, v cty.Value) (out any) {
	t.Helper()
	b, err := ctyjson.Marshal(v, v.Type())
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Every name that a module uses is declared in it, and none is declared for
// nothing.
func TestModulesAreWhole(t *testing.T) {
	for _, name := range modules(t) {
		t.Run(name, func(t *testing.T) {
			m := files(t, name)
			used := map[string]bool{}
			for _, v := range m.traversed {
				address := addressOf(v)
				used[address] = true
				local, isLocal := strings.CutPrefix(address, "local.")
				if isLocal && m.locals[local] == nil || !isLocal && m.blocks[address] == nil && !isIterator(v.RootName()) {
					t.Errorf("%s names %s, which is not there", v.SourceRange(), address)
				}
			}
			for address, b := range m.blocks {
				if (b.Type == "variable" || b.Type == "data") && !used[address] {
					t.Errorf("%s is of no use", address)
				}
			}
			for local := range m.locals {
				if !used["local."+local] {
					t.Errorf("local.%s is of no use", local)
				}
			}
		})
	}
}

// isIterator reports whether a name stands for what is iterated, or begins the
// type of a variable.
func isIterator(name string) bool {
	return slices.Contains([]string{"count", "name", "value", "string", "number", "bool"}, name)
}

func addressOf(v hcl.Traversal) string {
	parts := []string{v.RootName()}
	for _, step := range v[1:] {
		if a, ok := step.(hcl.TraverseAttr); ok {
			parts = append(parts, a.Name)
		}
	}
	n := 2
	if parts[0] == "data" {
		n = 3
	}
	return strings.Join(parts[:min(n, len(parts))], ".")
}

// Files are as terraform fmt leaves them: its layout is that of hclwrite, and
// where one of the programs is there it is asked, too.
func TestModulesAreFormatted(t *testing.T) {
	names, err := filepath.Glob(root + "/deploy/aws/terraform/*/*.tf")
	if err != nil || len(names) < 12 {
		t.Fatalf("files %v, %v", names, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, hclwrite.Format(b)) {
			t.Errorf("%s is not as terraform fmt leaves it", name)
		}
	}
	for _, program := range []string{"terraform", "tofu"} {
		if path, err := exec.LookPath(program); err == nil {
			if out, err := exec.Command(path, "fmt", "-check", "-recursive", "-diff", root+"/deploy/aws/terraform").CombinedOutput(); err != nil {
				t.Errorf("%s fmt: %v\n%s", program, err, out)
			}
		}
	}
}
