package finding

import (
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"
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

// Two values that differ in one field compare as different, whatever the field,
// and the other way round in the other order.
func TestCompareSeesEachField(t *testing.T) {
	differ[Finding](t, "finding", Compare, func(f *Finding) any { return f })
	differ[Finding](t, "subject", Compare, func(f *Finding) any { return &f.Subject })
	differ[Finding](t, "evidence", Compare, func(f *Finding) any { return &f.Evidence })
	differ[Finding](t, "event", Compare, func(f *Finding) any {
		if f.Evidence.Event == nil {
			f.Evidence.Event = &Event{}
		}
		return f.Evidence.Event
	})
	differ[Unverified](t, "unverified", CompareUnverified, func(u *Unverified) any { return u })
	differ[Note](t, "note", CompareNotes, func(n *Note) any { return n })
}

// differ sets each field of the part of a T, one after the other.
func differ[T any](t *testing.T, name string, compare func(a, b T) int, part func(*T) any) {
	t.Helper()
	var zero T
	fields := reflect.ValueOf(part(&zero)).Elem().Type()
	if c := compare(zero, zero); c != 0 {
		t.Errorf("%s: compares with itself as %d", name, c)
	}
	for i := range fields.NumField() {
		var other T
		field := reflect.ValueOf(part(&other)).Elem().Field(i)
		switch v := field.Addr().Interface().(type) {
		case *time.Time:
			*v = time.Unix(0, 0)
		case *[]string:
			*v = []string{""}
		case **Event:
			*v = &Event{}
		case *bool:
			*v = true
		case *int:
			*v = 1
		default:
			if field.Kind() != reflect.String {
				continue // a struct, which has rows of its own
			}
			field.SetString("x")
		}
		if a, b := compare(zero, other), compare(other, zero); a != -1 || b != 1 {
			t.Errorf("%s: %s: %d, and %d in the other order", name, fields.Field(i).Name, a, b)
		}
	}
}

func TestCountOfUnverified(t *testing.T) {
	object, folder := Subject{Key: "a/b"}, Subject{Key: "a/"}
	for _, row := range []struct {
		entry  Unverified
		count  int
		folder bool
	}{
		{Unverified{Reason: Network, Subject: object}, 1, false},
		{Unverified{Reason: NoKeys}, 1, false},
		{Unverified{Reason: Network, Subject: object, Objects: 3}, 3, false},
		{Unverified{Reason: AccessDenied, Subject: folder}, 0, true},
		{Unverified{Reason: NotSearched}, 0, true},
		{Unverified{Reason: Network, Subject: folder, Objects: 3}, 3, false}, // objects of the folder
	} {
		if n, is := row.entry.Count(), row.entry.IsFolder(); n != row.count || is != row.folder {
			t.Errorf("%+v: %d objects, a folder: %t", row.entry, n, is)
		}
	}
}
