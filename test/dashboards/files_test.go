package dashboards

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

const (
	top     = "../.."
	grafana = top + "/deploy/grafana"
	folder  = grafana + "/dashboards"
)

var update = flag.Bool("update", false, "write the dashboards' files anew")

// The files are what the descriptions here make. To write them anew:
//
//	go test ./test/dashboards -run Files -update
func TestFiles(t *testing.T) {
	for _, d := range []Dashboard{Integrity(), Ingest()} {
		want, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(folder, d.FileName())
		if *update {
			if err := os.WriteFile(name, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what it is made from: go test ./test/dashboards -run Files -update", name)
		}
	}
}
