package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/trailseal/trailseal/internal/state"
)

// A change deletes the row of its version and inserts another one, so that
// AUTOINCREMENT gives it a version that no row ever had. A name that is created
// has no row to delete: then its uniqueness decides.
const (
	deleteRow = `DELETE FROM state WHERE name = ? AND CAST(version AS TEXT) = ?`
	insertRow = `INSERT INTO state (name, value, changed, sha256)
		VALUES (?, ?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'), ?) ON CONFLICT (name) DO NOTHING`
	selectRow = `SELECT count(*) FROM state WHERE name = ?`
)

// writer is the one connection that changes the file. It is not safe for
// concurrent use.
type writer struct {
	conn                   *sql.Conn
	remove, insert, exists *sql.Stmt
}

func newWriter(ctx context.Context, db *sql.DB) (_ *writer, err error) {
	w := &writer{}
	if w.conn, err = db.Conn(ctx); err != nil {
		return nil, err
	}
	for to, text := range map[**sql.Stmt]string{&w.remove: deleteRow, &w.insert: insertRow, &w.exists: selectRow} {
		if *to, err = w.conn.PrepareContext(ctx, text); err != nil {
			return nil, errors.Join(err, w.close())
		}
	}
	return w, nil
}

// close ends the connection. SQLite keeps the file open as long as a statement
// is.
func (w *writer) close() error {
	var errs []error
	for _, statement := range []*sql.Stmt{w.remove, w.insert, w.exists} {
		if statement != nil {
			errs = append(errs, statement.Close())
		}
	}
	return errors.Join(append(errs, w.conn.Close())...)
}

// commit makes changes in one transaction and returns an error for each. A
// change that conflicts leaves the others alone. If the transaction fails,
// every change has its error, since a conflict may come from a change that was
// not made either.
//
// A commit that fails because its sync failed needs no care: the next commit
// writes the same part of the log again, and Open syncs what a crash leaves.
func (w *writer) commit(changes []*change) []error {
	errs := make([]error, len(changes))
	if err := w.transaction(func(ctx context.Context) error {
		for i, c := range changes {
			errs[i] = w.apply(ctx, c)
			if errs[i] != nil && !errors.Is(errs[i], state.ErrConflict) {
				return errs[i]
			}
		}
		return nil
	}); err != nil {
		for i := range errs {
			errs[i] = err
		}
	}
	return errs
}

// transaction has no context of a caller: the changes of several callers share
// it.
func (w *writer) transaction(make func(ctx context.Context) error) error {
	ctx := context.Background()
	if _, err := w.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	err := make(ctx)
	if err == nil {
		_, err = w.conn.ExecContext(ctx, "COMMIT")
	}
	if err != nil {
		// SQLite may have rolled back by itself. Then this fails, harmlessly.
		_, _ = w.conn.ExecContext(ctx, "ROLLBACK")
		// A full disk may have room for the file and none for the log, which
		// would not be emptied before it is larger.
		_, _ = w.conn.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

func (w *writer) apply(ctx context.Context, c *change) error {
	switch {
	case c.prev != "":
		if n, err := affected(w.remove.ExecContext(ctx, c.name, string(c.prev))); err != nil || n == 0 {
			return conflict(err)
		}
	case c.value == nil:
		var n int64
		if err := w.exists.QueryRowContext(ctx, c.name).Scan(&n); err != nil || n != 0 {
			return conflict(err)
		}
	}
	if c.value == nil {
		return nil
	}
	result, err := w.insert.ExecContext(ctx, c.name, column(c.value), sum(c.name, c.value))
	if n, err := affected(result, err); err != nil || n == 0 {
		return conflict(err)
	}
	version, err := result.LastInsertId()
	c.version = state.Version(strconv.FormatInt(version, 10))
	return err
}

// conflict returns err, or ErrConflict where there is none.
func conflict(err error) error {
	if err != nil {
		return err
	}
	return state.ErrConflict
}

func affected(r sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// column returns a value as it is stored. Tools show text as it is, and bytes
// in hexadecimal.
func column(value []byte) any {
	if utf8.Valid(value) && !bytes.ContainsRune(value, 0) {
		return string(value)
	}
	return value
}
