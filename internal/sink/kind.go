package sink

import (
	"context"
	"strings"
)

// Kind is one kind of sink, as settings name it. A program has a table of them.
type Kind struct {
	// Scheme is a whole setting, such as "stdout", or what settings of this kind
	// begin with, up to a colon or slashes, such as "file:" and "s3://".
	Scheme string
	// Usage is the form of a setting, for help and errors. It is empty for a
	// scheme that help does not show.
	Usage string
	// Events and Findings say what a sink of this kind may be set for.
	Events, Findings bool
	// Open opens the sink of a setting. The caller closes it.
	Open func(ctx context.Context, setting string, f Format) (Sink, error)
	// Check finds out whether the sink of a setting can be used. It emits nothing.
	Check func(ctx context.Context, setting string) Trial
}

// Trial is how a Check ended.
type Trial struct {
	Err    error  // what is missing, nil if the sink can be used
	Detail string // what was done, if Err is nil
	// Action and Resource are what IAM must permit for it, "" where IAM is not asked.
	Action, Resource string
}

// Label returns the scheme without its punctuation, for metrics.
func (k Kind) Label() string {
	label, _, _ := strings.Cut(k.Scheme, ":")
	return label
}

// matches reports whether a setting is of this kind.
func (k Kind) matches(setting string) bool {
	rest, ok := strings.CutPrefix(setting, k.Scheme)
	return ok && (rest != "") == strings.Contains(k.Scheme, ":")
}

// KindOf returns the kind of a setting.
func KindOf(kinds []Kind, setting string) (k Kind, ok bool) {
	for _, k := range kinds {
		if k.matches(setting) {
			return k, true
		}
	}
	return Kind{}, false
}
