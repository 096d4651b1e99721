package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/trailseal/trailseal/internal/report"
)

// reportFiles are the files that a report goes to. They are opened before the
// work begins, since it may take hours, and get their names when it has ended:
// an older report is never left half overwritten.
type reportFiles []reportFile

type reportFile struct {
	name  string
	tmp   *os.File
	write func(*report.Report, io.Writer) error
}

func openReports(names []string) (files reportFiles, err error) {
	for _, name := range names {
		f := reportFile{name: name}
		switch filepath.Ext(name) {
		case ".json":
			f.write = (*report.Report).JSON
		case ".txt":
			f.write = (*report.Report).Text
		default:
			err = fmt.Errorf("--report %s: must end in .json or .txt", name)
		}
		if err == nil {
			f.tmp, err = os.CreateTemp(filepath.Dir(name), ".trailseal-report-")
		}
		if err != nil {
			files.discard()
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// write writes the report and gives the files their names.
func (files reportFiles) write(r *report.Report) error {
	var errs []error
	for _, f := range files {
		err := f.write(r, f.tmp)
		if err == nil {
			err = f.tmp.Chmod(0o644)
		}
		if err = errors.Join(err, f.tmp.Close()); err == nil {
			err = os.Rename(f.tmp.Name(), f.name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// discard removes what was not written.
func (files reportFiles) discard() {
	for _, f := range files {
		f.tmp.Close()
		_ = os.Remove(f.tmp.Name())
	}
}
