// Package report is reached for the process and for global state.
package report

// want: imports flag: flags are read in cmd
// want: uses os.Exit
// want: uses log/slog.Info
// want: uses net/http.DefaultClient
// want: uses github.com/prometheus/client_golang/prometheus.MustRegister
import (
	"flag"
	"log/slog"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
)

// Run does what only a program may.
func Run() {
	prometheus.MustRegister()
	slog.Info("x", "client", http.DefaultClient)
	if flag.Parsed() {
		os.Exit(1)
	}
}

// Local is innocent: a variable that has a package's name.
func Local(os struct{ Exit int }) int { return os.Exit }
