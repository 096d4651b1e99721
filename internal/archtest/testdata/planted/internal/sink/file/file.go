// Package file knows the other sink.
package file

import (
	_ "example.com/planted/internal/sink"
	// want: imports example.com/planted/internal/sink/http: an adapter knows pkg alone
	_ "example.com/planted/internal/sink/http"
)
