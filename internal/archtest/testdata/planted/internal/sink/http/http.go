// Package http is another sink.
package http

import _ "example.com/planted/internal/sink"
