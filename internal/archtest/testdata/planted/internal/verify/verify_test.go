package verify

import (
	"net/http"
	"os"

	_ "example.com/planted/internal/testtrail"
)

var _, _ = os.Getenv("X"), http.DefaultClient
