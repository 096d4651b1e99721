package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// Sizes beyond which code is to be taken apart.
const (
	maxLines    = 600 // of a file; 300 are reason enough to look
	maxFiles    = 18  // of a package, tests apart
	maxFunction = 100 // lines; 60 are reason enough to look
	maxMain     = 15  // lines of func main
)

// process are the names through which a package reaches for the process it
// runs in, or for state that all packages share. Only programs do.
var process = map[string][]string{
	"os":       {"Exit", "Getenv", "LookupEnv", "Environ", "Setenv", "Unsetenv", "Args", "Stdout", "Stderr", "Stdin", "Chdir"},
	"log":      {"Print", "Printf", "Println", "Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Default", "SetOutput"},
	"log/slog": {"Default", "SetDefault", "Debug", "Info", "Warn", "Error", "Log", "With"},
	"net/http": {"DefaultClient", "DefaultServeMux", "DefaultTransport", "Handle", "HandleFunc", "Get", "Post"},
	"github.com/prometheus/client_golang/prometheus": {"MustRegister", "Register", "DefaultRegisterer", "DefaultGatherer"},
	"github.com/prometheus/client_golang/promauto":   {"NewCounter", "NewCounterVec", "NewGauge", "NewGaugeVec", "NewHistogram"},
}

// House checks the rules for the code itself: the process, package variables,
// package comments and sizes.
func (t *Tree) House() []string {
	var bad []string
	files, comment := map[string]int{}, map[string]bool{}
	variables := t.variables()
	for _, f := range t.Files {
		if f.IsTest() {
			continue
		}
		if f.Lines > maxLines {
			bad = append(bad, fmt.Sprintf("%s has %d lines, more than %d", f.Path, f.Lines, maxLines))
		}
		if within(f.Dir(), "test") {
			continue
		}
		files[f.Dir()]++
		comment[f.Dir()] = comment[f.Dir()] || f.Syntax.Doc != nil
		bad = slices.Concat(bad, f.functions(), f.reachesForProcess(), f.changes(variables[f.Dir()]))
	}
	for dir, n := range files {
		if n > maxFiles {
			bad = append(bad, fmt.Sprintf("%s has %d files, more than %d", dir, n, maxFiles))
		}
		if !comment[dir] {
			bad = append(bad, dir+" has no package comment")
		}
	}
	slices.Sort(bad)
	return bad
}

func (f File) functions() (bad []string) {
	for _, d := range f.Syntax.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		lines, most := f.line(fn.End())-f.line(fn.Pos())+1, maxFunction
		if fn.Recv == nil && fn.Name.Name == "main" && f.Syntax.Name.Name == "main" {
			most = maxMain
		}
		if lines > most {
			bad = append(bad, fmt.Sprintf("%s:%d: func %s has %d lines, more than %d", f.Path, f.line(fn.Pos()), fn.Name.Name, lines, most))
		}
		if fn.Recv == nil && fn.Name.Name == "init" {
			bad = append(bad, fmt.Sprintf("%s:%d: func init: nothing happens before main", f.Path, f.line(fn.Pos())))
		}
	}
	return bad
}

func (f File) reachesForProcess() (bad []string) {
	if within(f.Dir(), "cmd", "examples") || isSupport(f.Dir()) {
		return nil
	}
	for _, p := range f.Imports {
		if p == "flag" || strings.HasPrefix(p, "github.com/alecthomas/kong") {
			bad = append(bad, fmt.Sprintf("%s imports %s: flags are read in cmd", f.Path, p))
		}
	}
	f.uses(f.Syntax, func(p, name string, at token.Pos) {
		if slices.Contains(process[p], name) {
			bad = append(bad, fmt.Sprintf("%s:%d uses %s.%s: the process belongs to cmd", f.Path, f.line(at), p, name))
		}
	})
	return bad
}

// variables returns the names of each package's variables.
func (t *Tree) variables() map[string]map[string]bool {
	all := map[string]map[string]bool{}
	for _, f := range t.Files {
		if f.IsTest() {
			continue
		}
		if all[f.Dir()] == nil {
			all[f.Dir()] = map[string]bool{}
		}
		f.eachVariable(func(s *ast.ValueSpec, _ bool) {
			for _, n := range s.Names {
				all[f.Dir()][n.Name] = n.Name != "_"
			}
		})
	}
	return all
}

func (f File) eachVariable(visit func(s *ast.ValueSpec, embedded bool)) {
	for _, d := range f.Syntax.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		embedded := g.Doc != nil && slices.ContainsFunc(g.Doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed") })
		for _, s := range g.Specs {
			visit(s.(*ast.ValueSpec), embedded)
		}
	}
}

// changes finds package variables that are made to be set, and code that sets
// one: a value, a field, an element, or its address taken.
func (f File) changes(variables map[string]bool) (bad []string) {
	f.eachVariable(func(s *ast.ValueSpec, embedded bool) {
		if len(s.Values) == 0 && !embedded {
			bad = append(bad, fmt.Sprintf("%s:%d: variable %s has no value: package variables do not change", f.Path, f.line(s.Pos()), s.Names[0].Name))
		}
	})
	set := func(e ast.Expr) {
		if id := root(e); id != nil && variables[id.Name] && f.isPackages(id) {
			bad = append(bad, fmt.Sprintf("%s:%d: %s is set: package variables do not change", f.Path, f.line(e.Pos()), id.Name))
		}
	}
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, l := range n.Lhs {
				if n.Tok != token.DEFINE {
					set(l)
				}
			}
		case *ast.IncDecStmt:
			set(n.X)
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				set(n.X)
			}
		case *ast.CallExpr:
			if fn, ok := n.Fun.(*ast.Ident); ok && (fn.Name == "delete" || fn.Name == "clear") {
				set(n.Args[0])
			}
		}
		return true
	})
	return bad
}

// root is the variable that x.y[z] is part of.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// isPackages tells a package's variable from a local one of its name: the parser
// resolves what its own file declares, and leaves the rest open.
func (f File) isPackages(id *ast.Ident) bool {
	return id.Obj == nil || f.Syntax.Scope.Lookup(id.Name) == id.Obj
}
