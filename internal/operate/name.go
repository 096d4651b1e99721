package operate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/trailseal/trailseal/internal/ledger"
)

const (
	heads    = "chain/" // what the names of heads begin with
	backfill = "/backfill"
	maxShown = 10 // names in an error
)

// Resolve returns the name of the head that a text means, of the names that are known. A
// text is the name of a head, with or without "chain/", or ACCOUNT/REGION/TRAIL, with
// "/backfill" for a backfill chain. Errors wrap ErrUsage and list the names that may be
// meant.
func Resolve(names []string, text string) (string, error) {
	for _, name := range []string{text, heads + text} {
		if slices.Contains(names, name) {
			return name, nil
		}
	}
	var found []string
	for _, name := range names {
		if short(name) == text {
			found = append(found, name)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", usage("chain %q: is ambiguous: name one of %s", text, list(found))
	case len(names) == 0:
		return "", usage("chain %q: no chain is known", text)
	}
	return "", usage("chain %q: is not known: name one of %s", text, list(near(names, text)))
}

// Names returns for each name of a head the shortest text that Resolve takes for it.
func Names(names []string) map[string]string {
	count := map[string]int{}
	for _, name := range names {
		count[short(name)]++
	}
	all := make(map[string]string, len(names))
	for _, name := range names {
		if all[name] = name; count[short(name)] == 1 {
			all[name] = short(name)
		}
	}
	return all
}

// short returns ACCOUNT/REGION/TRAIL, with "/backfill" for a backfill chain. A text that is
// not the name of a head stays.
func short(name string) string {
	_, c, err := ledger.Parse(name)
	if err != nil {
		return name
	}
	s := c.Account + "/" + c.Region + "/" + c.Trail
	if c.Backfill {
		s += backfill
	}
	return s
}

// near returns the names that share a part with a text, and all names where none does.
func near(names []string, text string) (found []string) {
	for _, name := range names {
		parts := strings.Split(name, "/")
		isShared := func(part string) bool { return part != "" && part != "chain" && slices.Contains(parts, part) }
		if slices.ContainsFunc(strings.Split(text, "/"), isShared) {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return names
	}
	return found
}

func list(names []string) string {
	names = slices.Sorted(slices.Values(names))
	if n := len(names) - maxShown; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxShown], ", "), n)
	}
	return strings.Join(names, ", ")
}
