package discover

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Bounds of the search for AWSLogs folders, since a bucket can hold much else.
// A folder beyond them is reported to Unlistable as finding.ErrNotSearched.
const (
	maxFolders = 20_000
	// maxPrefix is the longest prefix that a trail can have (CloudTrail API,
	// CreateTrail, S3KeyPrefix). In a bucket no trail lies below a longer one.
	maxPrefix = 200
)

const awsLogs = "AWSLogs"

// search is a search for account folders, level by level.
type search struct {
	f *Finder

	mu       sync.Mutex // guards what follows
	accounts []trail.Place
	deeper   []string       // folders of the next level, but for account folders
	own      []string       // account folders of the next level: they do not count against the bound
	left     map[string]int // folders that were not looked into, by the child of the source that holds them
}

// accounts returns the account folders below the source, those of organization
// trails among them, whether Keep keeps them or not. Each is a place without a
// region, whose prefix is where its AWSLogs folder lies. The error is that of
// listing the source itself.
func (f *Finder) accounts(ctx context.Context) ([]trail.Place, error) {
	s := &search{f: f, left: map[string]int{}}
	first := f.Source.Prefix
	if root, _, ok := cutAWSLogs(first); ok {
		first = root
	}
	if err := s.lookInto(ctx, first); err != nil {
		return nil, err
	}
	for looked := 1; len(s.deeper)+len(s.own) > 0 && ctx.Err() == nil; {
		level, own := s.deeper, s.own
		s.deeper, s.own = nil, nil
		slices.Sort(level)
		if room := max(0, maxFolders-looked); len(level) > room {
			for _, folder := range level[room:] {
				s.left[topOf(first, folder)]++
			}
			level = level[:room]
		}
		looked += len(level)
		s.lookIntoAll(ctx, append(level, own...))
	}
	for folder, n := range s.left {
		f.unlistable(
			trail.Place{},
			folder,
			fmt.Errorf(
				"%d folders beyond the first %d: name the trail's prefix: %w",
				n,
				maxFolders,
				finding.ErrNotSearched,
			),
		)
	}
	return s.accounts, ctx.Err()
}

// topOf returns the child of first that holds folder.
func topOf(first, folder string) string {
	name, _, _ := strings.Cut(folder[len(first):], "/")
	return first + name + "/"
}

func (s *search) lookIntoAll(ctx context.Context, folders []string) {
	var g errgroup.Group
	g.SetLimit(max(1, s.f.Concurrency))
	for _, folder := range folders {
		g.Go(func() error {
			if err := s.lookInto(ctx, folder); err != nil && ctx.Err() == nil {
				s.f.unlistable(trail.Place{}, folder, err)
			}
			return nil
		})
	}
	_ = g.Wait()
}

// lookInto sorts the folders below one folder: account folders, and those that
// are to be looked into next. A trail's prefix may be anything, AWSLogs included,
// so what is not an account's below an AWSLogs folder is looked into as well. In
// an account's folder only another AWSLogs folder is: other services of AWS keep
// very many folders there.
func (s *search) lookInto(ctx context.Context, folder string) error {
	var found []trail.Place
	var deeper, own []string
	defer func() { s.keep(found, deeper, own) }()
	within := placeOf(folder)
	for child, err := range s.f.folders(ctx, folder) {
		if err != nil {
			return err
		}
		name, p := base(child), within
		switch {
		case p.Account != "" && name == awsLogs:
			deeper = append(deeper, child)
		case p.Account != "":
			if s.f.Sibling != nil && strings.HasPrefix(name, trail.LogFolder+"-") && name != trail.DigestFolder {
				s.f.Sibling(s.f.object(child))
			}
		case inAWSLogs(folder) && trail.ValidAccount(name):
			p.Account = name
			found = append(found, p)
			if s.f.keep(p) {
				own = append(own, child)
			}
		case s.f.Source.IsCopy() || len(child) <= maxPrefix+len(awsLogs)+2:
			deeper = append(deeper, child)
		}
	}
	return nil
}

func (s *search) keep(found []trail.Place, deeper, own []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts, s.deeper, s.own = append(s.accounts, found...), append(s.deeper, deeper...), append(s.own, own...)
}

// inAWSLogs reports whether account folders can lie directly below folder:
// AWSLogs/ or AWSLogs/o-ID/.
func inAWSLogs(folder string) bool {
	name := base(folder)
	if trail.ValidOrganization(name) {
		name = base(strings.TrimSuffix(strings.TrimSuffix(folder, "/"), name))
	}
	return name == awsLogs
}

// placeOf returns what a folder below AWSLogs/ tells of the places in it: the
// prefix, the organization and, for an account's folder, the account.
func placeOf(folder string) (p trail.Place) {
	parts := strings.Split(strings.TrimSuffix(folder, "/"), "/")
	n := len(parts)
	last := func() string {
		if n == 0 {
			return ""
		}
		return parts[n-1]
	}
	account := ""
	if trail.ValidAccount(last()) {
		account = last()
		n--
	}
	if trail.ValidOrganization(last()) {
		p.Organization = last()
		n--
	}
	if last() != awsLogs {
		return trail.Place{}
	}
	p.Account, p.Prefix = account, strings.Join(parts[:n-1], "/")
	return p
}

// cutAWSLogs splits a source prefix that reaches into an AWSLogs folder.
func cutAWSLogs(prefix string) (root, rest string, ok bool) {
	tail := trail.Tail(prefix)
	if tail == "" {
		return "", "", false
	}
	return strings.TrimSuffix(prefix, tail) + awsLogs + "/", strings.TrimPrefix(tail, awsLogs+"/"), true
}
