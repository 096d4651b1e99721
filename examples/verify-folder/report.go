package main

import (
	"fmt"
	"io"

	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// report prints what is wrong and what could not be checked, and counts both.
type report struct {
	w                      io.Writer
	proven, wrong, unknown int
}

// step reports a digest. isApart says that no signed link leads to it from the
// newer digests of its chain.
func (r *report) step(s chain.Step, isApart bool) {
	r.verdictOn(s.At, s.Verdict)
	for _, c := range s.Copies {
		r.verdictOn(c.At, c.Verdict)
	}
	for _, err := range []error{s.NameErr, s.WindowErr} {
		if err != nil {
			r.find(s.At.Key, err.Error())
		}
	}
	if isApart {
		r.find(s.At.Key, "no signed link leads here: logging was off after it, or digests are missing")
	}
}

func (r *report) verdictOn(at trail.Object, v chain.Verdict) {
	switch v.Status {
	case chain.Valid:
		r.proven++
	case chain.Invalid:
		r.find(at.Key, string(v.Class)+": "+v.Detail)
	default:
		r.doubt(at.Key, v.Err)
	}
}

// judge reports a log file: an error is a finding or a reason.
func (r *report) judge(path string, err error) {
	switch {
	case err == nil:
		r.proven++
	case finding.IsFact(err):
		r.find(path, err.Error())
	default:
		r.doubt(path, err)
	}
}

func (r *report) find(path, detail string) {
	r.wrong++
	fmt.Fprintf(r.w, "finding     %s: %s\n", path, detail)
}

func (r *report) doubt(path string, err error) {
	r.unknown++
	fmt.Fprintf(r.w, "unverified  %s: %v\n", path, err)
}

// verdict prints the last line and returns the exit code.
func (r *report) verdict() int {
	text, exit := "INTACT", 0
	switch {
	case r.wrong > 0:
		text, exit = "NOT INTACT", 1
	case r.unknown > 0 || r.proven == 0:
		text, exit = "NOT EVERYTHING COULD BE CHECKED", 3
	}
	fmt.Fprintf(r.w, "%s: %d files proven, %d findings, %d not checked\n", text, r.proven, r.wrong, r.unknown)
	return exit
}
