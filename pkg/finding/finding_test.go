package finding

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

// Classes and Reasons name every constant of their type.
func TestVocabularyIsComplete(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "finding.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string][]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			return true
		}
		if typ, ok := v.Type.(*ast.Ident); ok {
			text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared[typ.Name] = append(declared[typ.Name], text)
		}
		return true
	})
	named := map[string][]string{}
	for _, c := range Classes() {
		named["Class"] = append(named["Class"], string(c))
	}
	for _, r := range Reasons() {
		named["Reason"] = append(named["Reason"], string(r))
	}
	for typ, list := range declared {
		slices.Sort(list)
		slices.Sort(named[typ])
		if !slices.Equal(list, named[typ]) {
			t.Errorf("%s: declared %v, named %v", typ, list, named[typ])
		}
	}
	if len(declared) != 2 {
		t.Errorf("%v", declared)
	}
}
