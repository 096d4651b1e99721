package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
)

// isSupport reports whether a package serves tests, so that no program may link
// it: what lies below test/, and in internal what is named testX or Xtest.
func isSupport(dir string) bool {
	if within(dir, "test") {
		return true
	}
	base := path.Base(dir)
	return within(dir, "internal") && (strings.HasPrefix(base, "test") || strings.HasSuffix(base, "test"))
}

// adapters join the outside world to interfaces that others declare. They know
// neither each other nor who uses them; what they have in common is beneath.
var adapters = []string{"internal/awsapi", "internal/dir", "internal/sink", "internal/state", "internal/ops"}

// internalImports are the internal packages that each package that is no
// adapter may import. One that is new says here where it stands.
var internalImports = map[string][]string{
	"internal/durable":      {},
	"internal/ended":        {},
	"internal/source":       {"internal/fetch"},
	"internal/inflate":      {},
	"internal/notify":       {},
	"internal/sink":         {},
	"internal/budget":       {},
	"internal/when":         {},
	"internal/failure":      {"internal/inflate"},
	"internal/follow":       {"internal/failure"},
	"internal/ledger":       {"internal/follow", "internal/state"},
	"internal/findings":     {"internal/state"},
	"internal/operate":      {"internal/follow", "internal/ledger", "internal/source"},
	"internal/pipeline":     {"internal/budget", "internal/fetch", "internal/inflate", "internal/sink"},
	"internal/queue":        {"internal/notify"},
	"internal/fetch":        {"internal/inflate"},
	"internal/report":       {},
	"internal/discover":     {"internal/fetch", "internal/source"},
	"internal/preflight":    {"internal/discover", "internal/fetch", "internal/source"},
	"internal/verify":       {"internal/discover", "internal/ended", "internal/fetch", "internal/inflate", "internal/report", "internal/source"},
	"internal/validatelogs": {"internal/discover", "internal/fetch", "internal/inflate", "internal/source"},
	"internal/schedule":     {},
	"internal/judge":        {"internal/discover", "internal/fetch", "internal/follow", "internal/source"},
	"internal/logfile":      {"internal/failure", "internal/fetch", "internal/follow", "internal/pipeline", "internal/source"},
	"internal/ingest": {
		"internal/discover", "internal/ended", "internal/failure", "internal/fetch", "internal/findings", "internal/follow", "internal/judge",
		"internal/ledger", "internal/logfile", "internal/notify", "internal/operate", "internal/pipeline", "internal/schedule",
		"internal/sink", "internal/source", "internal/state",
	},
}

const (
	awsSDK = "github.com/aws/"
	jsonV2 = "github.com/go-json-experiment/json"
	sqlite = "modernc.org/sqlite"
)

// outside are the standard packages through which a program touches the world.
var outside = []string{"os", "net", "log", "syscall", "plugin", "flag", "testing", "database/sql", "io/ioutil"}

var decompressors = []string{
	"compress/gzip", "compress/flate", "compress/zlib", "compress/bzip2", "compress/lzw", "archive/zip",
	"github.com/klauspost/compress", "github.com/klauspost/pgzip",
}

// Imports checks who imports whom, and what the programs link.
func (t *Tree) Imports() []string {
	var bad []string
	for _, f := range t.Files {
		if f.IsTest() || isSupport(f.Dir()) {
			continue
		}
		for _, p := range f.Imports {
			for _, why := range t.importFaults(f, p) {
				bad = append(bad, fmt.Sprintf("%s imports %s: %s", f.Path, p, why))
			}
		}
		bad = append(bad, f.readsGzip()...)
		bad = append(bad, f.leaksSDK()...)
	}
	return slices.Sorted(slices.Values(append(bad, slices.Concat(t.places(), t.linked())...)))
}

// places finds internal packages of which nobody said what they may import.
func (t *Tree) places() (bad []string) {
	seen := map[string]bool{}
	for _, f := range t.Files {
		dir := f.Dir()
		if _, known := internalImports[dir]; known || f.IsTest() || seen[dir] || !within(dir, "internal") || within(dir, adapters...) || isSupport(dir) {
			continue
		}
		seen[dir] = true
		bad = append(bad, dir+" has no place in the design: say in internalImports what it may import")
	}
	return bad
}

func (t *Tree) importFaults(f File, p string) (why []string) {
	add := func(broken bool, text string) {
		if broken {
			why = append(why, text)
		}
	}
	dir := f.Dir()
	own, isOwn := strings.CutPrefix(p, t.Module+"/")
	std := !strings.Contains(strings.Split(p, "/")[0], ".")
	if within(dir, "pkg") {
		add(isOwn && !within(own, "pkg"), "pkg knows nothing of the programs")
		add(!std && !isOwn && !within(p, jsonV2), "pkg is the standard library and strict JSON")
		add(std && within(p, outside...), "pkg does no I/O of its own")
	}
	if within(dir, "pkg/trail") {
		add(isOwn && !within(own, "pkg/trail") || !std && !isOwn, "pkg/trail is the standard library alone")
	}
	if within(dir, "examples") {
		add(isOwn && !within(own, "pkg"), "an example shows pkg alone")
	}
	add(strings.HasPrefix(p, awsSDK) && !within(dir, "internal/awsapi"), "only internal/awsapi speaks to AWS")
	add(within(p, decompressors...) && !within(dir, "internal/inflate", "internal/sink", "examples"), "only internal/inflate decompresses")
	add(isOwn && isSupport(own), "test support in a program")
	add(isOwn && within(own, "cmd"), "a program is no library")
	if within(dir, adapters...) {
		above := path.Dir(dir) // declares the interface of those below it
		add(isOwn && !within(own, "pkg", "internal/durable", dir) && own != above, "an adapter knows pkg alone")
	} else if within(dir, "internal") {
		may, known := internalImports[dir] // an unknown one is told of by places
		add(known && isOwn && within(own, "internal") && !slices.Contains(may, own), "against the direction of the design")
	}
	return why
}

// readsGzip finds readers of gzip in packages that may only write it. An example
// cannot import internal/inflate.
func (f File) readsGzip() (bad []string) {
	if within(f.Dir(), "internal/inflate", "examples") {
		return nil
	}
	f.uses(f.Syntax, func(p, name string, at token.Pos) {
		if within(p, decompressors...) && strings.Contains(name, "Reader") {
			bad = append(bad, fmt.Sprintf("%s:%d uses %s of %s: only internal/inflate decompresses", f.Path, f.line(at), name, p))
		}
	})
	return bad
}

// leaksSDK finds AWS's types in what internal/awsapi exports.
func (f File) leaksSDK() (bad []string) {
	if !within(f.Dir(), "internal/awsapi") {
		return nil
	}
	report := func(what string, n ast.Node) {
		f.uses(n, func(p, name string, at token.Pos) {
			if strings.HasPrefix(p, awsSDK) {
				bad = append(bad, fmt.Sprintf("%s:%d: %s shows %s.%s: no type of the SDK crosses this API", f.Path, f.line(at), what, p, name))
			}
		})
	}
	for _, d := range f.Syntax.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d))) {
				report(d.Name.Name, d.Type)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() {
						exportedParts(s.Type, func(n ast.Node) { report(s.Name.Name, n) })
					}
				case *ast.ValueSpec:
					if s.Names[0].IsExported() && s.Type != nil {
						report(s.Names[0].Name, s.Type)
					}
				}
			}
		}
	}
	return bad
}

// exportedParts calls visit for the parts of a type that its users see.
func exportedParts(t ast.Expr, visit func(ast.Node)) {
	s, ok := t.(*ast.StructType)
	if !ok {
		visit(t)
		return
	}
	for _, field := range s.Fields.List {
		if len(field.Names) == 0 || slices.ContainsFunc(field.Names, func(n *ast.Ident) bool { return n.IsExported() }) {
			visit(field.Type)
		}
	}
}

func receiver(d *ast.FuncDecl) string {
	t := d.Recv.List[0].Type
	if s, ok := t.(*ast.StarExpr); ok {
		t = s.X
	}
	if x, ok := t.(*ast.IndexExpr); ok {
		t = x.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

// linked checks what the programs hold in the end, by whatever way it got in.
func (t *Tree) linked() (bad []string) {
	for program, deps := range t.Deps {
		for _, p := range deps {
			own, isOwn := strings.CutPrefix(p, t.Module+"/")
			switch {
			case isOwn && isSupport(own), p == "testing":
				bad = append(bad, fmt.Sprintf("%s links %s: test support in a program", program, p))
			case program == "cmd/verifier" && strings.HasPrefix(p, "github.com/prometheus/"):
				bad = append(bad, fmt.Sprintf("%s links %s: a one-shot command exports no metrics", program, p))
			case program == "cmd/verifier" && within(p, sqlite):
				bad = append(bad, fmt.Sprintf("%s links %s: a one-shot command keeps no state", program, p))
			}
		}
	}
	return bad
}
