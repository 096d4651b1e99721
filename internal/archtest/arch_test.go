package archtest

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const top = "../.."

func load(t *testing.T, dir string) *Tree {
	t.Helper()
	tree, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestRules(t *testing.T) {
	tree := load(t, top)
	if len(tree.Files) < 40 || len(tree.Deps["cmd/verifier"]) < 50 {
		t.Fatalf("%d files, cmd/verifier links %d packages: something was not found", len(tree.Files), len(tree.Deps["cmd/verifier"]))
	}
	for _, bad := range slices.Concat(tree.Imports(), tree.House(), Structs(tree, exceptions)) {
		t.Error(bad)
	}
}

// The checker can fail: a module with one violation of each rule beside
// innocent code. Each line "want: text" in it is a violation whose text must
// be reported for that file, and nothing else may be.
func TestRulesFindThePlanted(t *testing.T) {
	dir := filepath.Join("testdata", "planted")
	tree := load(t, dir)
	found := slices.Concat(tree.Imports(), tree.House(), Structs(tree, map[string]string{
		"pkg/structs.plain embeds inner":                "a plain value",
		"pkg/structs.many has 17 methods, more than 15": "there were more",
		"pkg/structs.gone embeds inner":                 "is there no more",
	}))
	want := regexp.MustCompile(`want: (.*)`)
	for _, f := range tree.Files {
		b, err := os.ReadFile(filepath.Join(dir, f.Path))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range want.FindAllSubmatch(b, -1) {
			if !take(&found, f, string(m[1])) {
				t.Errorf("%s: not found: %s", f.Path, m[1])
			}
		}
	}
	for _, bad := range found {
		t.Errorf("innocent: %s", bad)
	}
}

func take(found *[]string, f File, text string) bool {
	for i, bad := range *found {
		isOf := strings.HasPrefix(bad, f.Path) || strings.HasPrefix(bad, f.Dir()+" ") || strings.HasPrefix(bad, f.Dir()+".")
		if isOf && strings.Contains(bad, text) {
			*found = append((*found)[:i:i], (*found)[i+1:]...)
			return true
		}
	}
	return false
}

func TestSizes(t *testing.T) {
	tree := load(t, filepath.Join("testdata", "planted"))
	for i := range tree.Files {
		if tree.Files[i].Path == "pkg/good/good.go" {
			tree.Files[i].Lines = maxLines + 1
			for range maxFiles {
				tree.Files = append(tree.Files, tree.Files[i])
			}
			break
		}
	}
	text := strings.Join(tree.House(), "\n")
	for _, want := range []string{"pkg/good/good.go has 601 lines", "pkg/good has 19 files"} {
		if !strings.Contains(text, want) {
			t.Errorf("not found: %s", want)
		}
	}
}

// Every module that the code names has its line of reason, and no other has.
func TestDependenciesAreExplained(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join(top, "docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	tree := load(t, top)
	for _, m := range requirements(t) {
		named := bytes.Contains(doc, []byte("| `"+m.Path+"` |"))
		switch direct := !m.Indirect || tree.imports(m.Path); {
		case direct && !named:
			t.Errorf("%s: no line in docs/dependencies.md", m.Path)
		case !direct && named:
			t.Errorf("%s: a line in docs/dependencies.md, and no import", m.Path)
		}
	}
}

type requirement struct {
	Path     string
	Indirect bool
}

func requirements(t *testing.T) []requirement {
	t.Helper()
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = top
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct{ Require []requirement }
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	if len(mod.Require) == 0 {
		t.Fatal("go.mod requires nothing")
	}
	return mod.Require
}

// imports reports whether a file of the module itself names the module. Below
// test/ may be modules of their own.
func (t *Tree) imports(module string) bool {
	for _, f := range t.Files {
		if _, err := os.Stat(filepath.Join(t.Root, f.Dir(), "go.mod")); err == nil && f.Dir() != "." {
			continue
		}
		for _, p := range f.Imports {
			if within(p, module) {
				return true
			}
		}
	}
	return false
}
