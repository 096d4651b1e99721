package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"

	"github.com/trailseal/trailseal/internal/durable"
)

// Buckets and names in a file. The format is the first record of the first
// bucket and sealed like all others: whatever a newer format changes, it can
// be told from damage.
const (
	format      = "1"
	aboutBucket = "about"
	valueBucket = "values"
	formatName  = "format"
	totalName   = "total"
)

// File is a Store in one local file, of mode 0600. A commit is synced to disk
// before Replace returns; those that come together share one.
type File struct {
	path    string
	file    *os.File // bbolt's; it holds the lock
	db      *bolt.DB
	commits *durable.Group[change]
	broken  atomic.Pointer[error] // what ended the use of db: after it nothing is known of its locks
}

// change is one Replace.
type change struct {
	name     string
	old, new []byte
}

var _ Store = (*File)(nil)

// Load returns the value of a name, nil when it has none.
func (f *File) Load(ctx context.Context, name string) (value []byte, err error) {
	err = f.view(ctx, func(values *bolt.Bucket) error {
		value, _, err = get(values, valueBucket, name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("load %q from state %s: %w", name, f.path, err)
	}
	return value, nil
}

// Names returns the names that begin with prefix, sorted.
func (f *File) Names(ctx context.Context, prefix string) (names []string, err error) {
	err = f.view(ctx, func(values *bolt.Bucket) error {
		c := values.Cursor()
		for k, _ := c.Seek([]byte(prefix)); k != nil && strings.HasPrefix(string(k), prefix); k, _ = c.Next() {
			names = append(names, string(k))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list %q in state %s: %w", prefix, f.path, err)
	}
	return names, nil
}

// Replace stores new for name if its present value is old.
func (f *File) Replace(ctx context.Context, name string, old, new []byte) error {
	err := check(name, new)
	if err == nil {
		err = f.commits.Do(ctx, change{name, bytes.Clone(old), bytes.Clone(new)})
	}
	if err != nil {
		return fmt.Errorf("replace %q in state %s: %w", name, f.path, err)
	}
	return nil
}

// Close ends the use of the file, after the changes that were begun.
func (f *File) Close() error {
	f.commits.Close()
	if f.broken.Load() != nil {
		// db may wait for ever for its own locks, so its mapping stays, and
		// would keep the file locked.
		return errors.Join(durable.Unlock(f.file), f.file.Close())
	}
	if err := f.db.Close(); err != nil {
		return fmt.Errorf("close state %s: %w", f.path, err)
	}
	return nil
}

func (f *File) view(ctx context.Context, read func(values *bolt.Bucket) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return f.guard(func() error {
		return f.db.View(func(tx *bolt.Tx) error { return read(tx.Bucket([]byte(valueBucket))) })
	})
}

// commit runs changes as one transaction; those that conflict do nothing.
func (f *File) commit(changes []change) []error {
	errs := make([]error, len(changes))
	id := 0
	err := f.guard(func() error {
		return f.db.Update(func(tx *bolt.Tx) error {
			id = tx.ID()
			return apply(tx, changes, errs)
		})
	})
	if err != nil && !errors.Is(err, errNothing) {
		f.distrust(id, err)
	}
	for i := range errs {
		if errs[i] == nil {
			errs[i] = err
		}
	}
	return errs
}

// apply makes the changes in tx and sets errs of those that cannot be made.
func apply(tx *bolt.Tx, changes []change, errs []error) error {
	values, about := tx.Bucket([]byte(valueBucket)), tx.Bucket([]byte(aboutBucket))
	b, _, err := get(about, aboutBucket, totalName)
	if err != nil {
		return err
	}
	sum, ok := decodeTotal(b)
	if !ok {
		return ErrCorrupt
	}
	changed := false
	for i, c := range changes {
		errs[i] = c.apply(values, &sum)
		changed = changed || errs[i] == nil
	}
	if !changed {
		return errNothing
	}
	return put(about, aboutBucket, totalName, sum.encode())
}

// distrust ends the use of the file where transaction id failed and is to be
// seen all the same: its last sync failed. The kernel may have dropped what it
// could not write, and a later sync would not notice.
func (f *File) distrust(id int, cause error) {
	err := f.guard(func() error {
		return f.db.View(func(tx *bolt.Tx) error {
			if tx.ID() >= id {
				return fmt.Errorf("open it again: not known to be on disk: %w", cause)
			}
			return nil
		})
	})
	if err != nil {
		f.broken.Store(&err)
	}
}

// errNothing ends a transaction without one word to the disk.
var errNothing = errors.New("nothing changed")

func (c change) apply(values *bolt.Bucket, t *total) error {
	is, sum, err := get(values, valueBucket, c.name)
	switch {
	case err != nil:
		return err
	case (is == nil) != (c.old == nil) || !bytes.Equal(is, c.old):
		return ErrConflict
	case is == nil:
		t.count++
	}
	t.sum += hash(valueBucket, c.name, c.new) - sum
	return put(values, valueBucket, c.name, c.new)
}

// get returns a value and its hash, nil and 0 when there is none.
func get(b *bolt.Bucket, bucket, name string) ([]byte, uint64, error) {
	sealed := b.Get([]byte(name))
	if sealed == nil {
		return nil, 0, nil
	}
	value, sum, ok := unseal(bucket, name, sealed)
	if !ok {
		return nil, 0, ErrCorrupt
	}
	return value, sum, nil
}

func put(b *bolt.Bucket, bucket, name string, value []byte) error {
	return b.Put([]byte(name), seal(bucket, name, value))
}

// guard runs what uses the mapped file. Pages that went bad since they were
// checked, or a file that somebody cut short, make bbolt panic or fault; that
// is an error here, and the last use of the file.
func (f *File) guard(use func() error) (err error) {
	if broken := f.broken.Load(); broken != nil {
		return *broken
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrCorrupt, p)
			f.broken.Store(&err)
		}
	}()
	return use()
}
