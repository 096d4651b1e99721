package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
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
			err = errors.New("must end in .json or .txt")
		}
		if err == nil {
			f.tmp, err = openBeside(name)
		}
		if err != nil {
			files.discard()
			return nil, fmt.Errorf("--report %s: %w", name, err)
		}
		files = append(files, f)
	}
	return files, nil
}

// openBeside opens a file that is to get the name when it is complete.
func openBeside(name string) (*os.File, error) {
	// A link or a device would be replaced, not written to.
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("is there and no regular file")
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".trailseal-")
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err // the path has a random name
	}
	return f, err
}

// settle closes a file of openBeside and gives it its name.
func settle(f *os.File, name string, err error) error {
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	return err
}

// write writes the report and gives the files their names.
func (files reportFiles) write(r *report.Report) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, settle(f.tmp, f.name, f.write(r, f.tmp)))
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
