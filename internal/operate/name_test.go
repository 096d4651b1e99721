package operate_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/operate"
)

func TestResolve(t *testing.T) {
	backfill, inOrganization, elsewhere, odd := name, name, name, name
	backfill.Backfill, inOrganization.Organization = true, "o-0123456789"
	elsewhere.Region, odd.Account = "eu-west-1", "444455556666"
	names := []string{
		ledger.Name(source, name), ledger.Name(folder, name), ledger.Name(source, backfill),
		ledger.Name(source, elsewhere), ledger.Name(source, inOrganization), ledger.Name(source, odd),
	}
	many := make([]string, 30)
	for i := range many {
		c := name
		c.Trail = fmt.Sprintf("trail-%02d", i)
		many[i] = ledger.Name(source, c)
	}
	for _, tt := range []struct {
		name  string
		names []string
		text  string
		want  string
		fails string // what the error says
	}{
		{"whole name", names, names[0], names[0], ""},
		{"without its beginning", names, strings.TrimPrefix(names[1], "chain/"), names[1], ""},
		{"short", names, "111122223333/eu-west-1/main", names[3], ""},
		{"backfill", names, "111122223333/us-east-1/main/backfill", names[2], ""},
		{
			"ambiguous", names, "111122223333/us-east-1/main", "",
			"is ambiguous: name one of " + names[1] + ", " + names[0] + ", " + names[4],
		},
		{"unknown", names, "444455556666/us-west-2/other", "", "is not known: name one of " + names[5]},
		{"unlike any", names, "x", "", "is not known: name one of " + names[1]},
		{"of many", many, "111122223333/us-east-1/none", "", " and 20 more"},
		{"of none", nil, "x", "", "no chain is known"},
		{"empty", names, "", "", "is not known"},
	} {
		got, err := operate.Resolve(tt.names, tt.text)
		switch {
		case got != tt.want || (err != nil) != (tt.fails != ""):
			t.Errorf("%s: got %q, %v", tt.name, got, err)
		case err != nil && (!errors.Is(err, operate.ErrUsage) || !strings.Contains(err.Error(), tt.fails)):
			t.Errorf("%s: error %v, want %s", tt.name, err, tt.fails)
		}
	}
	// What is printed is taken.
	for id, text := range operate.Names(append(names, "chain/odd")) {
		if got, err := operate.Resolve(append(names, "chain/odd"), text); got != id || err != nil {
			t.Errorf("%s is printed as %s, which means %q, %v", id, text, got, err)
		}
	}
	if got := operate.Names(names)[names[5]]; got != "444455556666/us-east-1/main" {
		t.Errorf("got %s", got)
	}
}
