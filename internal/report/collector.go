package report

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/trailseal/trailseal/pkg/finding"
)

// Limits bound what a report lists of findings, of unverified entries and of
// notes, each for itself. A limit of 0 is the default.
type Limits struct {
	PerFolder int // of one class, reason or kind in one folder; 1,000
	Total     int // in all; 10,000
}

const (
	defaultPerFolder = 1000
	defaultTotal     = 10_000
	maxPlaces        = 1000 // places whose omitted entries are counted by name
)

// Collector collects what a run finds, in bounded memory. Its methods may be
// called at the same time. The result does not depend on the order of the calls.
type Collector struct {
	mu         sync.Mutex // guards the shelves
	findings   shelf[finding.Finding]
	unverified shelf[finding.Unverified]
	notes      shelf[finding.Note]
}

// NewCollector returns an empty Collector.
func NewCollector(l Limits) *Collector {
	if l.PerFolder <= 0 {
		l.PerFolder = defaultPerFolder
	}
	if l.Total <= 0 {
		l.Total = defaultTotal
	}
	return &Collector{
		findings: newShelf(l, finding.Compare, func(f finding.Finding) (place, Omitted) {
			return placeOf(string(f.Class), f.Subject), Omitted{Class: f.Class, Count: 1}
		}),
		unverified: newShelf(l, finding.CompareUnverified, func(u finding.Unverified) (place, Omitted) {
			o := Omitted{Reason: u.Reason, Count: 1, Objects: u.Count()}
			if u.IsFolder() {
				o.Folders = 1
			}
			return placeOf(string(u.Reason), u.Subject), o
		}),
		notes: newShelf(l, finding.CompareNotes, func(n finding.Note) (place, Omitted) {
			return placeOf(n.Kind, n.Subject), Omitted{Kind: n.Kind, Count: 1}
		}),
	}
}

// Add adds a finding.
func (c *Collector) Add(f finding.Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.findings.add(f)
}

// AddUnverified adds something that could not be checked.
func (c *Collector) AddUnverified(u finding.Unverified) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unverified.add(u)
}

// AddNote adds a note.
func (c *Collector) AddNote(n finding.Note) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notes.add(n)
}

// Fill sets the report's findings, unverified entries and notes in report order,
// what is omitted of them, and their counts. The Collector may go on collecting.
func (c *Collector) Fill(r *Report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.Findings = append([]finding.Finding{}, c.findings.list()...)
	r.Unverified = append([]finding.Unverified{}, c.unverified.list()...)
	r.Notes = slices.Clone(c.notes.list())
	r.Omitted = slices.Concat(c.findings.omissions(), c.unverified.omissions(), c.notes.omissions())
	r.sum()
}

// place is what the limit for a folder applies to: a class, reason or kind in
// one folder, or in one account and region where there is no key.
type place struct{ name, folder, account, region string }

func placeOf(name string, s finding.Subject) place {
	if s.Key == "" {
		return place{name: name, account: s.Account, region: s.Region}
	}
	folder := s.Key[:strings.LastIndexByte(s.Key, '/')+1]
	switch {
	case s.Bucket != "":
		folder = "s3://" + s.Bucket + "/" + folder
	case folder == "":
		folder = "./"
	}
	return place{name: name, folder: folder}
}

func (p place) compare(o place) int {
	return cmp.Or(cmp.Compare(p.name, o.name), cmp.Compare(p.folder, o.folder),
		cmp.Compare(p.account, o.account), cmp.Compare(p.region, o.region))
}

// shelf holds the entries of one type that a report lists, and counts the rest.
//
// Let first(S) be the result for the entries S: sort S, keep the first PerFolder
// entries of each place, and of these the first Total. The shelf holds first(S)
// and at most Total newer entries N, and replaces both by first(first(S) + N).
// That equals first(S + N), because an entry that is dropped once stays dropped
// when an entry x is added:
//   - The rank of an entry in its place never improves.
//   - Let Total entries or more sort before y once each place is cut. If x pushes
//     an entry z out of its place, x sorts before z. If z sorted before y, x now
//     does so instead. So the number of entries before y never falls.
//
// For the same reason no entry is counted as omitted that is listed later.
type shelf[T any] struct {
	limits  Limits
	compare func(a, b T) int         // 0 for equal entries only
	where   func(T) (place, Omitted) // the place of an entry, and what it adds to Omitted
	items   []T                      // at most 2 * Total
	sorted  int                      // the length of the part of items that the last settle left
	full    map[place]int            // the last item of each place that had PerFolder of them at the last settle
	omitted []omission               // by place: the first maxPlaces places of which something was dropped
	others  map[string]Omitted       // what was dropped elsewhere, by class, reason or kind
}

type omission struct {
	at  place
	sum Omitted
}

func newShelf[T any](l Limits, compare func(a, b T) int, where func(T) (place, Omitted)) shelf[T] {
	return shelf[T]{limits: l, compare: compare, where: where, full: map[place]int{}, others: map[string]Omitted{}}
}

func (s *shelf[T]) add(x T) {
	p, o := s.where(x)
	last, full := s.full[p]
	if full && s.compare(x, s.items[last]) >= 0 ||
		s.sorted == s.limits.Total && s.compare(x, s.items[s.sorted-1]) >= 0 {
		s.omit(p, o)
		return
	}
	if s.items = append(s.items, x); len(s.items) >= 2*s.limits.Total {
		s.settle()
	}
}

// settle drops the items that are over a limit.
func (s *shelf[T]) settle() {
	if s.sorted == len(s.items) {
		return
	}
	slices.SortFunc(s.items, s.compare)
	clear(s.full)
	taken := map[place]int{}
	kept := s.items[:0]
	for _, x := range s.items {
		p, o := s.where(x)
		if len(kept) == s.limits.Total || taken[p] == s.limits.PerFolder {
			s.omit(p, o)
			continue
		}
		if taken[p]++; taken[p] == s.limits.PerFolder {
			s.full[p] = len(kept)
		}
		kept = append(kept, x)
	}
	clear(s.items[len(kept):])
	s.items, s.sorted = kept, len(kept)
}

// omit counts a dropped entry. The places that are counted by name are the first
// in order. A place that is not among them when its first entry is dropped never
// will be, so each count by name is complete.
func (s *shelf[T]) omit(p place, o Omitted) {
	i, ok := slices.BinarySearchFunc(s.omitted, p, func(m omission, p place) int { return m.at.compare(p) })
	switch {
	case ok:
		s.omitted[i].sum = s.omitted[i].sum.plus(o)
		return
	case i < maxPlaces:
		s.omitted = slices.Insert(s.omitted, i, omission{p, o})
		if len(s.omitted) <= maxPlaces {
			return
		}
		last := s.omitted[maxPlaces]
		s.omitted, p, o = s.omitted[:maxPlaces], last.at, last.sum
	}
	if sum, ok := s.others[p.name]; ok {
		o = sum.plus(o)
	}
	s.others[p.name] = o
}

func (o Omitted) plus(more Omitted) Omitted {
	o.Count += more.Count
	o.Objects += more.Objects
	o.Folders += more.Folders
	return o
}

// list returns the entries to list, in order. They are the shelf's own.
func (s *shelf[T]) list() []T {
	s.settle()
	return s.items
}

// omissions returns what list leaves out, once list was called.
func (s *shelf[T]) omissions() []Omitted {
	var all []Omitted
	for _, m := range s.omitted {
		o := m.sum
		o.Folder, o.Account, o.Region = m.at.folder, m.at.account, m.at.region
		all = append(all, o)
	}
	for _, name := range slices.Sorted(maps.Keys(s.others)) {
		all = append(all, s.others[name])
	}
	return all
}
