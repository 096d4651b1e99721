package testtrail

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Stored is an object as it lies in a bucket.
type Stored struct {
	Body     []byte
	Meta     map[string]string // user metadata, lower-case names
	Encoding string            // Content-Encoding
	Modified time.Time
}

// Fault makes the next reads of an object go wrong.
type Fault struct {
	Err   error         // what Get returns, or what the body ends in when Cut is set
	Cut   int           // bytes of the body that come before Err; 0: Get itself fails
	Times int           // how often; 0 is always
	Delay time.Duration // before anything else
}

// Store is a set of buckets. It implements fetch.Objects and is safe for
// concurrent use.
type Store struct {
	// Latency is waited for on every Get and every listing.
	Latency time.Duration

	mu      sync.Mutex
	buckets map[string]map[string]Stored
	sorted  map[string][]string // sorted keys by bucket; absent when stale
	faults  map[trail.Object]*Fault
	reads   map[trail.Object]int
}

// NewStore returns a store without buckets.
func NewStore() *Store {
	return &Store{
		buckets: map[string]map[string]Stored{}, sorted: map[string][]string{},
		faults: map[trail.Object]*Fault{}, reads: map[trail.Object]int{},
	}
}

// Clone returns a store with the same objects, without faults and counts. Changes
// of one do not show in the other.
func (s *Store) Clone() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := NewStore()
	for name, objects := range s.buckets {
		c.buckets[name] = maps.Clone(objects)
	}
	return c
}

// At returns a clone with only the objects that were there at a time.
func (s *Store) At(now time.Time) *Store {
	c := s.Clone()
	for _, objects := range c.buckets {
		maps.DeleteFunc(objects, func(_ string, o Stored) bool { return o.Modified.After(now) })
	}
	return c
}

// AddBucket makes a bucket if it is not there.
func (s *Store) AddBucket(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buckets[name] == nil {
		s.buckets[name] = map[string]Stored{}
	}
}

// Buckets returns the names of the buckets, sorted.
func (s *Store) Buckets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.buckets))
}

// Put stores an object, making its bucket where needed.
func (s *Store) Put(bucket, key string, o Stored) {
	s.AddBucket(bucket)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.buckets[bucket][key]; !there {
		delete(s.sorted, bucket)
	}
	s.buckets[bucket][key] = o
}

// Delete removes an object and panics where there is none: a test that
// tampers with nothing is no test.
func (s *Store) Delete(bucket, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.buckets[bucket][key]; !there {
		panic("no such object: s3://" + bucket + "/" + key)
	}
	delete(s.buckets[bucket], key)
	delete(s.sorted, bucket)
}

// Edit changes a stored object in place.
func (s *Store) Edit(bucket, key string, change func(*Stored)) {
	o, ok := s.Stored(bucket, key)
	if !ok {
		panic("no such object: s3://" + bucket + "/" + key)
	}
	o.Body, o.Meta = slices.Clone(o.Body), maps.Clone(o.Meta)
	change(&o)
	s.Put(bucket, key, o)
}

// Stored returns an object.
func (s *Store) Stored(bucket, key string) (Stored, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.buckets[bucket][key]
	return o, ok
}

// Keys returns the keys of a bucket that begin with prefix, sorted, and
// whether there is such a bucket.
func (s *Store) Keys(bucket, prefix string) ([]string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.buckets[bucket]
	if !ok {
		return nil, false
	}
	all, ok := s.sorted[bucket]
	if !ok {
		all = slices.Sorted(maps.Keys(b))
		s.sorted[bucket] = all
	}
	from, _ := slices.BinarySearch(all, prefix)
	to := from + sort.Search(len(all)-from, func(i int) bool { return !strings.HasPrefix(all[from+i], prefix) })
	return all[from:to:to], true
}

// Fail sets the fault of an object, nil to end it.
func (s *Store) Fail(bucket, key string, f *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[trail.Object{Bucket: bucket, Key: key}] = f
}

// Reads returns how often an object was asked for.
func (s *Store) Reads(bucket, key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads[trail.Object{Bucket: bucket, Key: key}]
}

// List implements fetch.Objects. A Fault on the key "" of a bucket fails its
// listings, one on a listed key breaks them off there.
func (s *Store) List(ctx context.Context, bucket, prefix, after string) iter.Seq2[trail.Object, error] {
	return func(yield func(trail.Object, error) bool) {
		keys, err := s.listing(ctx, bucket, prefix)
		if err != nil {
			yield(trail.Object{}, err)
			return
		}
		for _, k := range keys {
			o, ok := s.Stored(bucket, k)
			if k <= after || !ok {
				continue
			}
			if !yield(trail.Object{Bucket: bucket, Key: k, Size: int64(len(o.Body)), Modified: o.Modified}, nil) {
				return
			}
		}
	}
}

// Children implements fetch.Objects.
func (s *Store) Children(ctx context.Context, bucket, prefix string) iter.Seq2[trail.Object, error] {
	return func(yield func(trail.Object, error) bool) {
		keys, err := s.listing(ctx, bucket, prefix)
		if err != nil {
			yield(trail.Object{}, err)
			return
		}
		last := ""
		for _, k := range keys {
			name, _, isBelow := strings.Cut(k[len(prefix):], "/")
			o := trail.Object{Bucket: bucket, Key: prefix + name + "/"}
			if !isBelow {
				stored, _ := s.Stored(bucket, k)
				o = trail.Object{Bucket: bucket, Key: k, Size: int64(len(stored.Body)), Modified: stored.Modified}
			}
			if o.Key == last {
				continue
			}
			last = o.Key
			if !yield(o, nil) {
				return
			}
		}
	}
}

func (s *Store) listing(ctx context.Context, bucket, prefix string) ([]string, error) {
	if err := s.wait(ctx, s.Latency); err != nil {
		return nil, err
	}
	if f := s.fault(trail.Object{Bucket: bucket}); f != nil {
		return nil, f.Err
	}
	keys, ok := s.Keys(bucket, prefix)
	if !ok {
		return nil, fmt.Errorf("list s3://%s: %w", bucket, fs.ErrNotExist)
	}
	return keys, nil
}

// Get implements fetch.Objects.
func (s *Store) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	at := trail.Object{Bucket: o.Bucket, Key: o.Key}
	s.mu.Lock()
	s.reads[at]++
	s.mu.Unlock()
	f := s.fault(at)
	delay := s.Latency
	if f != nil {
		delay += f.Delay
	}
	if err := s.wait(ctx, delay); err != nil {
		return nil, nil, err
	}
	if f != nil && f.Err != nil && f.Cut == 0 {
		return nil, nil, f.Err
	}
	stored, ok := s.Stored(o.Bucket, o.Key)
	if !ok {
		return nil, nil, fmt.Errorf("get %s: %w", at, fs.ErrNotExist)
	}
	var body io.Reader = bytes.NewReader(stored.Body)
	if f != nil && f.Cut > 0 {
		body = io.MultiReader(io.LimitReader(body, int64(f.Cut)), failing{f.Err})
	}
	return io.NopCloser(body), maps.Clone(stored.Meta), nil
}

func (s *Store) fault(o trail.Object) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.faults[o]
	if f == nil {
		return nil
	}
	now := *f
	if f.Times > 0 {
		if f.Times--; f.Times == 0 {
			delete(s.faults, o)
		}
	}
	return &now
}

func (s *Store) wait(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
