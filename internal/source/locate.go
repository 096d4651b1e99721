package source

import (
	"slices"
	"strings"
	"sync"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Ends of the names of files in a copy.
const (
	packed   = ".json.gz"
	inflated = ".json"          // what gunzip leaves of a packed file
	sidecar  = ".metadata.json" // keeps the metadata of the file before it
)

// roots are the roots of a copy and the account folders below each. It is safe
// for concurrent use.
type roots struct {
	mu       sync.RWMutex
	all      []string            // sorted; guarded by mu, like the next
	accounts map[string][]string // the sorted roots that hold AWSLogs/[o-ID/]ACCOUNT/, by this key
}

func (r *roots) add(root, account string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.accounts == nil {
		r.accounts = map[string][]string{}
	}
	r.all = insert(r.all, root)
	r.accounts[account] = insert(r.accounts[account], root)
}

// with returns the roots that hold an account folder, or all for "".
func (r *roots) with(account string) []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if account == "" {
		return slices.Clone(r.all)
	}
	return slices.Clone(r.accounts[account])
}

func insert(sorted []string, s string) []string {
	i, there := slices.BinarySearch(sorted, s)
	if there {
		return sorted
	}
	return slices.Insert(sorted, i, s)
}

// AddAccount says that the source holds the account folder of p:
// [PREFIX/]AWSLogs/[o-ID/]ACCOUNT/. In a copy, Locate looks below it from then
// on. Discovery calls AddAccount for each account folder, and may do so from
// several goroutines and again. In a bucket it has no effect.
func (s Source) AddAccount(p trail.Place) {
	if !s.IsCopy() || s.roots == nil {
		return
	}
	root, account := "", awsLogs+"/"
	if p.Prefix != "" {
		root = p.Prefix + "/"
	}
	if p.Organization != "" {
		account += p.Organization + "/"
	}
	s.roots.add(root, account+p.Account+"/")
}

// Locate returns where an object that a digest names can lie. In a bucket that
// is o itself.
//
// In a copy, it is the part of the key from the last AWSLogs folder on, below
// each root that holds the account folder. A key without an AWSLogs folder is
// looked for below each root, and below a folder that is named for its bucket.
// A name that ends in .json.gz is followed by the same name without .gz. The
// order is that of the roots. Without any such root there is still one place,
// below the source itself, so that its absence can be told.
func (s Source) Locate(o trail.Object) []trail.Object {
	if !s.IsCopy() {
		return []trail.Object{o}
	}
	own := trail.Tail(o.Key)
	at := s.rootsWith(accountFolder(own))
	found := make([]trail.Object, 0, 2*len(at))
	for _, root := range at {
		if own != "" {
			found = appendForms(found, root+own)
			continue
		}
		found = appendForms(found, root+o.Key)
		if checkBucket(o.Bucket) == nil {
			found = appendForms(found, root+o.Bucket+"/"+o.Key)
		}
	}
	if own == "" {
		found = unique(found) // the folder of a bucket is often a root, too
	}
	return found
}

// Roots returns what the keys of a place's folders begin with: "" in a bucket, and
// in a copy each root that holds the account folder.
func (s Source) Roots(p trail.Place) []string {
	if !s.IsCopy() {
		return []string{""}
	}
	account := awsLogs + "/"
	if p.Organization != "" {
		account += p.Organization + "/"
	}
	return s.rootsWith(account + p.Account + "/")
}

// rootsWith returns the roots that hold an account folder, or all for "". It
// returns at least one.
func (s Source) rootsWith(account string) []string {
	if s.roots != nil {
		if at := s.roots.with(account); len(at) > 0 {
			return at
		}
	}
	return []string{strings.TrimSuffix(s.Prefix, trail.Tail(s.Prefix))}
}

// accountFolder returns AWSLogs/[o-ID/]ACCOUNT/ of a tail, "" where the tail
// does not begin so.
func accountFolder(tail string) string {
	rest, _ := strings.CutPrefix(tail, awsLogs+"/")
	first, below, _ := strings.Cut(rest, "/")
	folder := awsLogs + "/"
	if trail.ValidOrganization(first) {
		folder += first + "/"
		first, below, _ = strings.Cut(below, "/")
	}
	if !trail.ValidAccount(first) || below == "" {
		return ""
	}
	return folder + first + "/"
}

// appendForms appends the file with this key, and the one that gunzip makes of
// it.
func appendForms(found []trail.Object, key string) []trail.Object {
	found = append(found, trail.Object{Key: key})
	if strings.HasSuffix(key, packed) {
		found = append(found, trail.Object{Key: strings.TrimSuffix(key, packed) + inflated})
	}
	return found
}

func unique(objects []trail.Object) []trail.Object {
	seen := make(map[string]bool, len(objects))
	return slices.DeleteFunc(objects, func(o trail.Object) bool {
		again := seen[o.Key]
		seen[o.Key] = true
		return again
	})
}

// Logical returns the key of the object that a file of a copy stands for, and
// reports whether that is another key than its own. X.json, which gunzip makes,
// stands for X.json.gz. Any other file stands for itself, and so does a sidecar,
// whose name ends in .metadata.json.
func Logical(key string) (logical string, isOther bool) {
	if !strings.HasSuffix(key, inflated) || strings.HasSuffix(key, sidecar) {
		return key, false
	}
	return strings.TrimSuffix(key, inflated) + packed, true
}
