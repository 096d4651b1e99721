package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/trailseal/trailseal/internal/durable"
	"github.com/trailseal/trailseal/internal/state"
)

// What makes a file ours. Every column is for people; the program reads all
// but changed.
const (
	applicationID = 0x74726c73 // "trls"
	schemaVersion = 1
	createState   = `CREATE TABLE state (
	name    TEXT NOT NULL UNIQUE,
	version INTEGER PRIMARY KEY AUTOINCREMENT, -- new with each change, never used again
	value   BLOB NOT NULL, -- text where it is JSON
	changed TEXT NOT NULL, -- UTC
	sha256  TEXT NOT NULL -- of the name, a line feed and the value
)`
)

// pragmas are those of every connection. A tool that writes to the file makes
// a commit wait, at most for the busy timeout.
var pragmas = url.Values{
	"_defensive": {"1"}, "_dqs": {"0"}, "_error_rc": {"1"},
	"_pragma": {
		"busy_timeout(2000)", "synchronous(FULL)", "fullfsync(1)", "checkpoint_fullfsync(1)",
		"cell_size_check(1)", "trusted_schema(0)", "temp_store(MEMORY)",
	},
}

// readers is how many calls of Get and List read at once.
const readers = 4

// Open opens the file at path, and creates it where there is none. It reads
// the whole file, and does not wait for another process.
//
// The error wraps state.ErrLocked while another process or another Store has
// the file open, state.ErrForeign where it is not a state, state.ErrVersion
// where a newer program wrote it, and state.ErrCorrupt where it is damaged. A
// file that Open refuses is left as it is.
func Open(path string) (*Store, error) {
	s, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("open state %s: %w", path, cause(context.Background(), durable.Bare(err)))
	}
	return s, nil
}

func open(path string) (_ *Store, err error) {
	file, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target
	}
	s := &Store{path: path}
	if s.lock, err = lock(file + ".lock"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.lock.Close()
		}
	}()
	if err := identify(file); errors.Is(err, fs.ErrNotExist) {
		err = create(file)
		if err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	if err := check(file); err != nil {
		return nil, err
	}
	if s.db, s.writer, err = connect(file); err != nil {
		return nil, err
	}
	s.commits = durable.NewGroup(s.writer.commit)
	return s, nil
}

// connect opens a file that was checked.
func connect(file string) (_ *sql.DB, _ *writer, err error) {
	ctx := context.Background()
	db, err := sql.Open("sqlite", source(file, "rw"))
	if err != nil {
		return nil, nil, err
	}
	db.SetMaxOpenConns(1 + readers)
	db.SetMaxIdleConns(1 + readers)
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	w, err := newWriter(ctx, db)
	if err != nil {
		return nil, nil, err
	}
	var mode string
	if err := w.conn.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil || mode != "wal" {
		return nil, nil, fmt.Errorf("no write-ahead log (%q): %w", mode, errors.Join(err, w.close()))
	}
	// A commit whose sync failed may be in the log and not on the disk. What
	// is read from now on must last, so the log is written into the file.
	if _, err := w.conn.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		return nil, nil, errors.Join(err, w.close())
	}
	return db, w, nil
}

// source returns how database/sql names the file.
func source(file, mode string) string {
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(file), RawQuery: "mode=" + mode + "&" + pragmas.Encode()}
	return u.String()
}

// lock locks a file that says which process has the lock. The file stays: a
// process that removed it could remove the next one's. The state itself cannot
// carry the lock, because SQLite loses its own locks when the process closes
// any other descriptor of the file.
func lock(path string) (_ *os.File, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock file: %w", durable.Bare(err))
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if err := durable.Lock(f); errors.Is(err, durable.ErrLocked) {
		return nil, fmt.Errorf("%w%s", state.ErrLocked, holder(f))
	} else if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintf(f, "pid %d on %s\n", os.Getpid(), host)
	}
	if err != nil {
		return nil, fmt.Errorf("lock file: %w", durable.Bare(err))
	}
	return f, nil
}

// holder returns what a locked file says, in brackets.
func holder(f *os.File) string {
	b := make([]byte, 256)
	n, _ := f.ReadAt(b, 0) // the holder may be about to write it
	if line, _, ok := strings.Cut(string(b[:n]), "\n"); ok {
		return " (" + line + ")"
	}
	return ""
}

// Offsets in the first page of a SQLite file, and what a bbolt file has in one
// of its two first pages.
const (
	writeFormatAt   = 18
	userVersionAt   = 60
	applicationIDAt = 68
	headerSize      = 100
	sqliteMagic     = "SQLite format 3\x00"

	bboltMagicAt = 16
	bboltMagic   = 0xED0CDAED
	bboltPage    = 4096
)

// identify reports whether the file is a state that this program knows. It
// reads the header by itself, since SQLite may change a file that it opens.
func identify(file string) error {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(file + "-wal"); err == nil {
			return fmt.Errorf("%w: the file is gone, and its log %s is there", state.ErrCorrupt, file+"-wal")
		}
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: not a regular file", state.ErrForeign)
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, bboltPage+headerSize)
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return known(b, n)
}

// known judges the first n bytes of a file, which b has.
func known(b []byte, n int) error {
	application := binary.BigEndian.Uint32(b[applicationIDAt:])
	version := binary.BigEndian.Uint32(b[userVersionAt:])
	switch {
	case n == 0:
		return fmt.Errorf("%w: the file is empty", state.ErrForeign)
	case isBbolt(b) || isBbolt(b[bboltPage:]):
		return fmt.Errorf("%w: a bbolt file, as versions before SQLite wrote it", state.ErrForeign)
	case n < headerSize || string(b[:len(sqliteMagic)]) != sqliteMagic:
		return fmt.Errorf("%w: not a SQLite file, or its beginning is damaged", state.ErrForeign)
	case application != applicationID:
		return fmt.Errorf("%w: a SQLite file with application_id %#x, not %#x",
			state.ErrForeign, application, applicationID)
	case version > schemaVersion:
		return fmt.Errorf("%w: user_version %d, known is %d", state.ErrVersion, version, schemaVersion)
	case b[writeFormatAt] > 2: // SQLite would only read the file
		return fmt.Errorf("%w: write format %d", state.ErrCorrupt, b[writeFormatAt])
	case version != schemaVersion:
		return fmt.Errorf("%w: user_version %d", state.ErrCorrupt, version)
	}
	return nil
}

func isBbolt(page []byte) bool {
	return binary.LittleEndian.Uint32(page[bboltMagicAt:]) == bboltMagic ||
		binary.BigEndian.Uint32(page[bboltMagicAt:]) == bboltMagic
}
