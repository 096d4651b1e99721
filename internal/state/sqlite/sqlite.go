// Package sqlite keeps state in one SQLite file, which the sqlite3 tool can
// read at any time. One process writes it. A lock file beside it names that
// process.
//
// A commit is synced to the disk before Put or Delete returns. Calls that come
// during one commit share the next. SQLite does not notice bytes that change
// on the disk inside a value, so each row has a SHA-256.
//
// A crash loses no commit. One kind of damage can lose some: bytes that change
// in the write-ahead log (the file's name with -wal) while no worker runs.
// SQLite reads that log up to the first damaged byte, so the values are then
// those after an earlier commit. A worker that ends in good order leaves no
// log behind.
package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strings"
	"sync"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/trailseal/trailseal/internal/durable"
	"github.com/trailseal/trailseal/internal/state"
)

// Store is a state.Store in one local file.
type Store struct {
	path    string // as the caller gave it, for errors
	lock    *os.File
	db      *sql.DB // the connections that read, and the one of writer
	writer  *writer // only commit uses it
	commits *durable.Group[*change]

	mu     sync.RWMutex // locked for reading during a query
	closed bool         // guarded by mu
}

var _ state.Store = (*Store)(nil)

// change is one Put or Delete. The commit sets version, which its caller reads
// once the commit is done.
type change struct {
	name    string
	value   []byte // nil deletes the name
	prev    state.Version
	version state.Version
}

const (
	selectValue = `SELECT CAST(version AS TEXT), value, sha256 FROM state WHERE name = ?`
	selectNames = `SELECT name, CAST(version AS TEXT) FROM state WHERE name >= ? ORDER BY name LIMIT ?`
	// namesAtOnce is how many names a listing reads before it lets go of its
	// connection.
	namesAtOnce = 512
)

// Get implements state.Store. The error wraps state.ErrCorrupt where the value
// is not the one that was stored.
func (s *Store) Get(ctx context.Context, name string) (state.Value, error) {
	v, err := s.get(ctx, name)
	if err != nil {
		return state.Value{}, fmt.Errorf("get %.64q from state %s: %w", name, s.path, cause(ctx, err))
	}
	return v, nil
}

func (s *Store) get(ctx context.Context, name string) (v state.Value, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return v, state.ErrClosed
	}
	var stored string
	err = s.db.QueryRowContext(ctx, selectValue, name).Scan(&v.Version, &v.Bytes, &stored)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return v, fs.ErrNotExist
	case err == nil && stored != sum(name, v.Bytes):
		return v, fmt.Errorf("%w: the value does not have its SHA-256", state.ErrCorrupt)
	}
	return v, err
}

// Put implements state.Store.
func (s *Store) Put(ctx context.Context, name string, value []byte, prev state.Version) (state.Version, error) {
	c := &change{name: name, value: append([]byte{}, value...), prev: prev}
	err := state.Check(name, value)
	if err == nil {
		err = s.commits.Do(ctx, c)
	}
	if err != nil {
		return "", fmt.Errorf("put %.64q into state %s: %w", name, s.path, cause(ctx, err))
	}
	return c.version, nil
}

// Delete implements state.Store.
func (s *Store) Delete(ctx context.Context, name string, prev state.Version) error {
	if err := s.commits.Do(ctx, &change{name: name, prev: prev}); err != nil {
		return fmt.Errorf("delete %.64q from state %s: %w", name, s.path, cause(ctx, err))
	}
	return nil
}

// List implements state.Store. It checks no value.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[state.Entry, error] {
	return func(yield func(state.Entry, error) bool) {
		for from := prefix; ; {
			entries, err := s.entries(ctx, from)
			if err != nil {
				yield(state.Entry{}, fmt.Errorf("list %.64q in state %s: %w", prefix, s.path, cause(ctx, err)))
				return
			}
			for _, e := range entries {
				if !strings.HasPrefix(e.Name, prefix) || !yield(e, nil) {
					return
				}
			}
			if len(entries) < namesAtOnce {
				return
			}
			from = entries[len(entries)-1].Name + "\x00" // the next string in the order of bytes
		}
	}
}

// entries returns the next names from one on, at most namesAtOnce.
func (s *Store) entries(ctx context.Context, from string) (all []state.Entry, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, state.ErrClosed
	}
	rows, err := s.db.QueryContext(ctx, selectNames, from, namesAtOnce)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var e state.Entry
		if err := rows.Scan(&e.Name, &e.Version); err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, rows.Err()
}

// Close waits for the calls that have begun, writes the log into the file and
// lets another process open it. Calls after it fail with state.ErrClosed.
func (s *Store) Close() error {
	s.commits.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if err := errors.Join(s.writer.close(), s.db.Close(), s.lock.Close()); err != nil {
		return fmt.Errorf("close state %s: %w", s.path, err)
	}
	return nil
}

// sum returns what the column sha256 has: the SHA-256 of the name, a line feed
// and the value.
func sum(name string, value []byte) string {
	h := sha256.New()
	h.Write([]byte(name + "\n"))
	h.Write(value)
	return hex.EncodeToString(h.Sum(nil))
}

// cause returns err in the words of package state.
func cause(ctx context.Context, err error) error {
	var e *sqlite.Error
	switch {
	case errors.Is(err, durable.ErrClosed):
		return state.ErrClosed
	case errors.As(err, &e) && e.Code() == sqlite3.SQLITE_INTERRUPT && ctx.Err() != nil:
		return ctx.Err()
	case e != nil && (e.Code()&0xff == sqlite3.SQLITE_CORRUPT || e.Code()&0xff == sqlite3.SQLITE_NOTADB ||
		e.Code() == sqlite3.SQLITE_IOERR_SHORT_READ):
		return fmt.Errorf("%w: %w", state.ErrCorrupt, err)
	}
	return err
}
