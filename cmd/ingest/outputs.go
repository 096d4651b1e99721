package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/source"
)

// output is a place that the program writes to.
type output struct {
	name           string // the setting and its value
	path           string // of a file
	bucket, prefix string // of an S3 sink; the prefix is "" or ends in a slash
}

// outputs returns the places that the settings name, apart from those that no source can
// hold.
func (c *config) outputs() (all []output) {
	add := func(setting, value string) {
		o := output{name: setting + " " + redacted(value)}
		if path, isFile := strings.CutPrefix(value, "file:"); isFile {
			o.path = path
			all = append(all, o)
		} else if rest, isS3 := strings.CutPrefix(value, "s3://"); isS3 {
			o.bucket, o.prefix, _ = strings.Cut(rest, "/")
			if o.prefix = strings.Trim(o.prefix, "/"); o.prefix != "" {
				o.prefix += "/"
			}
			all = append(all, o)
		}
	}
	for _, s := range c.Sink {
		add("sink", s)
	}
	add("findings", c.Findings)
	add("state", c.State)
	if c.DeadLetters != "" {
		add("dead-letters", "file:"+c.DeadLetters)
	}
	return all
}

// lieApart returns an error where an output lies in a source: what the program writes could
// be found there as evidence.
func lieApart(outputs []output, sources []ingest.Source) error {
	var errs []error
	for _, o := range outputs {
		for _, s := range sources {
			if err := o.apartFrom(s.Source); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", o.name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// apartFrom returns an error where o lies in a source, or a source in the prefix of o.
func (o output) apartFrom(s source.Source) error {
	switch {
	case s.IsCopy() && o.path != "":
		isInside, err := inFolder(o.path, s)
		if err != nil {
			return err
		}
		if isInside {
			return fmt.Errorf("lies in the source %s: name a path outside of that folder", s.Name)
		}
	case !s.IsCopy() && o.bucket != "" && (o.bucket == s.Bucket || o.bucket == s.Original):
		if strings.HasPrefix(o.prefix, s.Prefix) || strings.HasPrefix(s.Prefix, o.prefix) {
			return fmt.Errorf("lies in the source %s, or the source in it: name another bucket or another prefix", s.Name)
		}
	}
	return nil
}

// inFolder reports whether a file lies below a source's folder, be it there or not: the
// file itself, where it is a link what that leads to, or the folder it is in, which
// rotated files and locks share.
func inFolder(path string, s source.Source) (bool, error) {
	root, prefix, err := source.Folder(s.Name)
	if err != nil {
		return false, err
	}
	folder, err := os.Stat(filepath.Join(root, prefix))
	if err != nil {
		return false, err
	}
	for range maxLinks {
		full, err := filepath.Abs(path)
		if err != nil {
			return false, err
		}
		isInside, err := isBelow(filepath.Dir(full), folder)
		if isInside || err != nil {
			return isInside, err
		}
		target, err := os.Readlink(full)
		if err != nil {
			return false, nil // not a link, or not there
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(full), target)
		}
		path = target
	}
	return false, errors.New("too many links")
}

// maxLinks is how many links follow each other at most.
const maxLinks = 40

// isBelow reports whether a folder is top or lies below it, by what links in its path lead
// to. The last parts of the path may be absent.
func isBelow(folder string, top fs.FileInfo) (bool, error) {
	real, err := filepath.EvalSymlinks(folder)
	for errors.Is(err, fs.ErrNotExist) && folder != filepath.Dir(folder) {
		folder = filepath.Dir(folder)
		real, err = filepath.EvalSymlinks(folder)
	}
	if err != nil {
		return false, err
	}
	for {
		if info, err := os.Stat(real); err == nil && os.SameFile(info, top) {
			return true, nil
		}
		parent := filepath.Dir(real)
		if parent == real {
			return false, nil
		}
		real = parent
	}
}
