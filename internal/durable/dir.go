package durable

import (
	"fmt"
	"os"
)

// SyncDir makes the names in a folder last: a file that was created or renamed
// there can be lost with a power cut before this, however often the file itself
// was synced.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}
