package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/trailseal/trailseal/internal/durable"
	"github.com/trailseal/trailseal/internal/state"
)

// check reads the whole file and changes nothing. It runs SQLite's
// integrity_check, which is quick_check and a comparison of the table with its
// index: a name that is damaged in the index would not be found.
func check(file string) (err error) {
	ctx := context.Background()
	db, err := sql.Open("sqlite", source(file, "ro"))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, db.Close()) }()
	var says, schema string
	err = db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&says)
	var e *sqlite.Error
	if errors.As(err, &e) && e.Code() == sqlite3.SQLITE_ERROR { // such as a format that does not exist
		return fmt.Errorf("%w: %w", state.ErrCorrupt, err)
	}
	if err != nil {
		return err
	}
	if says != "ok" {
		return fmt.Errorf("%w: %s", state.ErrCorrupt, says)
	}
	err = db.QueryRowContext(ctx, "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = 'state'").Scan(&schema)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if schema != createState {
		return fmt.Errorf("%w: the table state is not as it was made", state.ErrCorrupt)
	}
	return checkValues(ctx, db)
}

// checkValues compares each value with its SHA-256.
func checkValues(ctx context.Context, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, "SELECT name, value, sha256 FROM state")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name, stored string
		var value sql.RawBytes
		if err := rows.Scan(&name, &value, &stored); err != nil {
			return err
		}
		if stored != sum(name, value) {
			return fmt.Errorf("%w: the value of %.64q does not have its SHA-256", state.ErrCorrupt, name)
		}
	}
	return rows.Err()
}

// create makes a file without values. The file gets its name when it is
// complete, so a crash does not leave half of one.
func create(file string) error {
	dir := filepath.Dir(file)
	made, err := os.CreateTemp(dir, filepath.Base(file)+".new-*") // of mode 0600
	if err != nil {
		return err
	}
	name := made.Name()
	defer func() {
		for _, left := range []string{"", "-journal", "-wal", "-shm"} {
			os.Remove(name + left)
		}
	}()
	if err := made.Close(); err != nil {
		return err
	}
	if err := initialise(name); err != nil {
		return err
	}
	if err := os.Link(name, file); err != nil { // and not a rename, which could replace a file
		return err
	}
	return durable.SyncDir(dir)
}

func initialise(file string) (err error) {
	db, err := sql.Open("sqlite", source(file, "rw"))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, statement := range []string{
		fmt.Sprintf("PRAGMA application_id = %d", applicationID),
		fmt.Sprintf("PRAGMA user_version = %d", schemaVersion),
		createState,
		"PRAGMA journal_mode = WAL",
	} {
		if _, err := db.ExecContext(context.Background(), statement); err != nil {
			return err
		}
	}
	return nil
}
