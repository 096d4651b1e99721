// Package archtest holds the rules of docs/DESIGN.md that a compiler does not
// check: who may import whom, where the process may be touched, what a struct
// may embed, how large a file or a type may grow. It reads source and the go command's answers; it is run by its
// own tests and is part of no program.
package archtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Tree is a module's source. Paths are slash-separated and relative to its
// root.
type Tree struct {
	Root   string
	Module string // its path
	Files  []File // every .go file, for whatever system it is built
	// Deps are the packages that each program below cmd/ links.
	Deps map[string][]string
}

// File is one parsed .go file.
type File struct {
	Path    string
	Lines   int
	Syntax  *ast.File
	Set     *token.FileSet
	Imports map[string]string // path by the name it has in the file
}

// Dir is the directory of the file's package.
func (f File) Dir() string { return path.Dir(f.Path) }

// IsTest reports whether the file is compiled for tests only.
func (f File) IsTest() bool { return strings.HasSuffix(f.Path, "_test.go") }

// Load reads the module at root. Each file and folder is opened, so that a
// cached test result never outlives a change.
func Load(root string) (*Tree, error) {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return nil, err
	}
	t := &Tree{Root: root, Deps: map[string][]string{}}
	first, _, _ := strings.Cut(string(mod), "\n")
	t.Module = strings.TrimSpace(strings.TrimPrefix(first, "module"))
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		name := d.Name()
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != root && (name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		f, err := parseFile(root, p)
		t.Files = append(t.Files, f)
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, t.loadDeps()
}

func parseFile(root, name string) (File, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return File{}, err
	}
	rel, err := filepath.Rel(root, name)
	if err != nil {
		return File{}, err
	}
	f := File{Path: filepath.ToSlash(rel), Lines: strings.Count(string(b), "\n"), Set: token.NewFileSet(), Imports: map[string]string{}}
	f.Syntax, err = parser.ParseFile(f.Set, name, b, parser.ParseComments)
	if err != nil {
		return f, err
	}
	for _, spec := range f.Syntax.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return f, err
		}
		f.Imports[localName(spec, p)] = p
	}
	return f, nil
}

// localName is the name that an import has in its file. Where the package's
// own name is not the last part of its path this is a guess.
func localName(spec *ast.ImportSpec, p string) string {
	if spec.Name != nil && spec.Name.Name != "_" && spec.Name.Name != "." {
		return spec.Name.Name
	}
	base := path.Base(p)
	if len(base) > 1 && base[0] == 'v' && base[1] >= '0' && base[1] <= '9' {
		base = path.Base(path.Dir(p))
	}
	return base
}

// loadDeps asks the go command what each program links.
func (t *Tree) loadDeps() error {
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Name,Deps", "./...")
	cmd.Dir, cmd.Stderr = t.Root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	d := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p struct {
			ImportPath, Name string
			Deps             []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if dir, ok := strings.CutPrefix(p.ImportPath, t.Module+"/"); ok && p.Name == "main" && within(dir, "cmd") {
			t.Deps[dir] = p.Deps
		}
	}
}

// uses calls visit for every selector pkg.Name of an imported package.
func (f File) uses(n ast.Node, visit func(importPath, name string, at token.Pos)) {
	ast.Inspect(n, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := s.X.(*ast.Ident); ok && x.Obj == nil && f.Imports[x.Name] != "" {
			visit(f.Imports[x.Name], s.Sel.Name, s.Pos())
		}
		return true
	})
}

func (f File) line(p token.Pos) int { return f.Set.Position(p).Line }

// within reports whether p is one of the folders, or below one.
func within(p string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return p == f || strings.HasPrefix(p, f+"/") })
}
