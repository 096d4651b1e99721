package archtest

import (
	"fmt"
	"go/ast"
	"maps"
	"path"
	"slices"
)

// Sizes beyond which a type is to be taken apart.
const (
	maxMethods     = 15 // of a type
	maxMethodFiles = 3  // that the methods of a type lie in
)

// Structs checks the rules for types: what a struct embeds, that no struct has a field for a
// context, and how many methods a type has, in how many files. Tests and what lies below
// test/ may do as they like.
//
// The keys of exceptions are violations that are not reported, the values are the reasons.
// An exception that is not found in the code is itself a violation, so the list can only
// shrink.
func Structs(t *Tree, exceptions map[string]string) []string {
	var found []string
	for dir, files := range products(t) {
		structs := structsOf(files)
		for _, f := range files {
			found = append(found, embeds(f, structs)...)
			found = append(found, contexts(f)...)
		}
		found = append(found, methods(dir, files)...)
	}
	var bad []string
	for _, text := range found {
		if _, isKnown := exceptions[text]; !isKnown {
			bad = append(bad, text)
		}
	}
	for text := range exceptions {
		if !slices.Contains(found, text) {
			bad = append(bad, text+": is not so: remove or lower this exception")
		}
	}
	slices.Sort(bad)
	return slices.Compact(bad) // a type can be declared for each of several systems
}

// products returns the files of each package, without tests.
func products(t *Tree) map[string][]File {
	all := map[string][]File{}
	for _, f := range t.Files {
		if !f.IsTest() && !within(f.Dir(), "test") {
			all[f.Dir()] = append(all[f.Dir()], f)
		}
	}
	return all
}

// structsOf returns the names of a package's struct types.
func structsOf(files []File) map[string]bool {
	structs, named := map[string]bool{}, map[string]string{} // named: the type that a type is made of
	for _, f := range files {
		eachType(f, func(s *ast.TypeSpec) {
			if _, isStruct := s.Type.(*ast.StructType); isStruct {
				structs[s.Name.Name] = true
			} else if from, name := typeName(s.Type); from == "" {
				named[s.Name.Name] = name
			}
		})
	}
	for range named { // as long as a chain of names can be
		for name, of := range named {
			structs[name] = structs[name] || structs[of]
		}
	}
	return structs
}

// eachType calls visit for every type that has a name, also within functions.
func eachType(f File, visit func(*ast.TypeSpec)) {
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		if s, ok := n.(*ast.TypeSpec); ok {
			visit(s)
		}
		return true
	})
}

// eachField calls visit for every field of every struct, with the name of the type in which
// the struct is written, or of the function for a struct without a name.
func eachField(f File, visit func(owner string, field *ast.Field)) {
	for _, d := range f.Syntax.Decls {
		owner := "a struct"
		if fn, ok := d.(*ast.FuncDecl); ok {
			owner = fn.Name.Name
		}
		owners := []string{owner}
		ast.Inspect(d, func(n ast.Node) bool {
			if n == nil {
				owners = owners[:len(owners)-1]
				return true
			}
			owner := owners[len(owners)-1]
			switch n := n.(type) {
			case *ast.TypeSpec:
				owner = n.Name.Name
			case *ast.StructType:
				for _, field := range n.Fields.List {
					visit(owner, field)
				}
			}
			owners = append(owners, owner)
			return true
		})
	}
}

// embeds finds structs that embed another struct of their package, or a config.
func embeds(f File, structs map[string]bool) (bad []string) {
	eachField(f, func(owner string, field *ast.Field) {
		if len(field.Names) > 0 {
			return
		}
		from, name := typeName(field.Type)
		switch {
		case name == "config", name == "Config", from == "" && structs[name]:
			bad = append(bad, fmt.Sprintf("%s.%s embeds %s", f.Dir(), owner, path.Join(from, name)))
		}
	})
	return bad
}

// typeName returns the name of a type, of what it points to, or of what it is an instance
// of. The first result is the name of another package.
func typeName(t ast.Expr) (from, name string) {
	switch t := t.(type) {
	case *ast.Ident:
		return "", t.Name
	case *ast.SelectorExpr:
		if x, ok := t.X.(*ast.Ident); ok {
			return x.Name, t.Sel.Name
		}
	case *ast.StarExpr:
		return typeName(t.X)
	case *ast.ParenExpr:
		return typeName(t.X)
	case *ast.IndexExpr:
		return typeName(t.X)
	case *ast.IndexListExpr:
		return typeName(t.X)
	}
	return "", ""
}

// contexts finds structs that keep a context. A field for a function that is given one is
// not meant.
func contexts(f File) (bad []string) {
	eachField(f, func(owner string, field *ast.Field) {
		kept := false
		ast.Inspect(field.Type, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncType, *ast.InterfaceType, *ast.StructType: // eachField visits the fields of a struct
				return false
			case *ast.SelectorExpr:
				from, name := typeName(n)
				kept = kept || name == "Context" && f.Imports[from] == "context"
			}
			return true
		})
		if kept {
			bad = append(bad, fmt.Sprintf("%s.%s keeps a context", f.Dir(), owner))
		}
	})
	return bad
}

// methods finds types with too many methods, or with methods in too many files.
func methods(dir string, files []File) (bad []string) {
	names, paths := map[string]map[string]bool{}, map[string]map[string]bool{}
	for _, f := range files {
		for _, d := range f.Syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv == nil {
				continue
			}
			_, owner := typeName(fn.Recv.List[0].Type)
			if names[owner] == nil {
				names[owner], paths[owner] = map[string]bool{}, map[string]bool{}
			}
			names[owner][fn.Name.Name] = true
			paths[owner][f.Path] = true
		}
	}
	for _, owner := range slices.Sorted(maps.Keys(names)) {
		if n := len(names[owner]); n > maxMethods {
			bad = append(bad, fmt.Sprintf("%s.%s has %d methods, more than %d", dir, owner, n, maxMethods))
		}
		if n := len(paths[owner]); n > maxMethodFiles {
			bad = append(bad, fmt.Sprintf("%s.%s has methods in %d files, more than %d", dir, owner, n, maxMethodFiles))
		}
	}
	return bad
}
