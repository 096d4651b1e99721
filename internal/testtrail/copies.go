package testtrail

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Layout is a way in which people keep a copy of a bucket in a folder.
type Layout struct {
	Name    string
	Account bool // SOURCE is the folder of one account
	Litter  int  // files that a desktop has left

	write func(*copyWriter) (source string)
}

// Layouts returns the layouts that every program reads alike.
func Layouts() []Layout {
	all := func(string) bool { return true }
	return []Layout{
		{Name: "DIR", write: func(w *copyWriter) string { return w.put("", all) }},
		{Name: "DIR/AWSLogs", write: func(w *copyWriter) string { return filepath.Join(w.put("", all), "AWSLogs") }},
		{Name: "DIR/AWSLogs/ACCOUNT", Account: true, write: func(w *copyWriter) string {
			return filepath.Join(w.put("", all), "AWSLogs", w.account)
		}},
		{Name: "DIR of one case", write: func(w *copyWriter) string {
			w.put("case 1/export", all)
			return w.folder
		}},
		{Name: "case folder AWSLogs", write: func(w *copyWriter) string { return w.put("AWSLogs", all) }},
		{Name: "case folder in AWSLogs", write: func(w *copyWriter) string {
			w.put("AWSLogs/case 1", all)
			return filepath.Join(w.folder, "AWSLogs")
		}},
		{Name: "one folder for each bucket", write: func(w *copyWriter) string {
			w.put("a-bucket", func(k string) bool { return strings.Contains(k, w.account) })
			w.put("b-bucket", func(k string) bool { return !strings.Contains(k, w.account) })
			return w.folder
		}},
		{Name: "exports that overlap", write: func(w *copyWriter) string {
			w.put("first", func(k string) bool { return timeOf(k).Before(w.middle.Add(time.Hour)) })
			w.put("second", func(k string) bool { return timeOf(k).After(w.middle.Add(-time.Hour)) })
			return w.folder
		}},
		{Name: "exports that meet", write: func(w *copyWriter) string {
			w.put("first", func(k string) bool { return timeOf(k).Before(w.middle) })
			w.put("second", func(k string) bool { return !timeOf(k).Before(w.middle) })
			return w.folder
		}},
		{Name: "two whole copies", write: func(w *copyWriter) string {
			w.put("first", all)
			w.put("second", all)
			return w.folder
		}},
		{Name: "gunzip -r", write: func(w *copyWriter) string {
			w.put("", all)
			w.gunzip(".json")
			return w.folder
		}},
		{Name: "inflated under .json.gz", write: func(w *copyWriter) string {
			w.put("", all)
			w.gunzip(".json.gz")
			return w.folder
		}},
		{Name: "litter", Litter: 5, write: func(w *copyWriter) string {
			w.put("", all)
			for _, name := range []string{
				".DS_Store", "AWSLogs/.DS_Store", "AWSLogs/" + w.account + "/Thumbs.db",
				"AWSLogs/" + w.account + "/CloudTrail/desktop.ini", "AWSLogs/" + w.account + "/CloudTrail-Digest/._x",
			} {
				w.do(os.WriteFile(filepath.Join(w.folder, filepath.FromSlash(name)), []byte{0, 5, 22, 7}, 0o600))
			}
			return w.folder
		}},
	}
}

// Write writes a bucket below a folder and returns what is given as SOURCE. The
// account is one of the bucket's, the middle a time within its chains. Sidecars are
// those of WriteFolder.
func (l Layout) Write(s *Store, bucket, folder, account string, middle time.Time, sidecar func(key string) bool) (source string, err error) {
	w := &copyWriter{store: s, bucket: bucket, folder: folder, account: account, middle: middle, sidecar: sidecar}
	source = l.write(w)
	if err := errors.Join(w.errs...); err != nil {
		return "", fmt.Errorf("write copy %s: %w", l.Name, err)
	}
	return source, nil
}

// copyWriter writes one copy.
type copyWriter struct {
	store                   *Store
	bucket, folder, account string
	middle                  time.Time
	sidecar                 func(key string) bool
	errs                    []error
}

func (w *copyWriter) do(err error) {
	if err != nil {
		w.errs = append(w.errs, err)
	}
}

// put writes some objects below a folder, and returns it.
func (w *copyWriter) put(below string, is func(key string) bool) string {
	keys, _ := w.store.Keys(w.bucket, "")
	part := NewStore()
	part.AddBucket(w.bucket)
	for _, k := range keys {
		if o, _ := w.store.Stored(w.bucket, k); is(k) {
			part.Put(w.bucket, k, o)
		}
	}
	folder := filepath.Join(w.folder, filepath.FromSlash(below))
	w.do(part.WriteFolder(w.bucket, folder, w.sidecar))
	return folder
}

// gunzip inflates all files, under names that end otherwise.
func (w *copyWriter) gunzip(end string) {
	_, err := eachFile(w.folder, ".json.gz", func(name string, b []byte) error {
		b, _, err := inflate.Bytes(bytes.NewReader(b), inflate.Options{Limit: maxEventFile})
		if err != nil {
			return err
		}
		if err := os.Remove(name); err != nil {
			return err
		}
		return os.WriteFile(strings.TrimSuffix(name, ".json.gz")+end, b, 0o600)
	})
	w.do(err)
}

// EditCopies adds a byte to the content of each copy of a file below a folder,
// packed or not, and returns how many there are.
func EditCopies(folder, key string) (n int, err error) {
	stem := strings.TrimSuffix(path.Base(key), ".json.gz")
	for _, end := range []string{".json", ".json.gz"} {
		m, err := eachFile(folder, stem+end, func(name string, b []byte) error {
			plain, _, err := inflate.Bytes(bytes.NewReader(b), inflate.Options{Limit: maxEventFile, Plain: true})
			if err != nil {
				return err
			}
			isPacked := !bytes.Equal(plain, b)
			if b = append(plain, ' '); isPacked {
				b = Gzip(b)
			}
			return os.WriteFile(name, b, 0o600)
		})
		if err != nil {
			return n, fmt.Errorf("edit copies of %s: %w", key, err)
		}
		n += m
	}
	return n, nil
}

// eachFile calls do for each file below a folder whose name ends so, and returns
// how many there are.
func eachFile(folder, end string, do func(name string, b []byte) error) (n int, err error) {
	return n, filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, end) {
			return err
		}
		n++
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return do(name, b)
	})
}

// timeOf returns the end of a digest or the stamp of a log file.
func timeOf(key string) time.Time {
	if k, err := trail.ParseDigestKey(key); err == nil {
		return k.End
	}
	k, err := trail.ParseLogKey(key)
	if err != nil {
		panic(err)
	}
	return k.Stamp
}
