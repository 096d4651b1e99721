// Package trail imports what it must not.
package trail

// want: imports example.com/planted/pkg/digest: pkg/trail is the standard library alone
// want: imports example.com/planted/internal/budget: pkg knows nothing of the programs
// want: imports example.com/planted/internal/budget: pkg/trail is the standard library alone
// want: imports os: pkg does no I/O of its own
// want: imports net/http: pkg does no I/O of its own
// want: imports log/slog: pkg does no I/O of its own
import (
	_ "log/slog"
	_ "net/http"
	_ "os"

	_ "example.com/planted/internal/budget"
	_ "example.com/planted/pkg/digest"
)
