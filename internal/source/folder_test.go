package source_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trailseal/trailseal/internal/source"
)

const (
	account = "111122223333"
	org     = "o-0123456789"
)

func TestFolder(t *testing.T) {
	const region = "CloudTrail-Digest/eu-west-1"
	for _, tt := range []struct {
		name         string
		made         string // folders, by spaces; "a->b" is a link
		path         string
		root, prefix string // root "" is path as it is given
	}{
		{"above", "d/AWSLogs/" + account + "/CloudTrail", "d", "", ""},
		{"far above", "d/AWSLogs/" + account + "/CloudTrail", ".", "", ""},
		{"AWSLogs", "d/AWSLogs/" + account + "/CloudTrail", "d/AWSLogs", "d", "AWSLogs/"},
		{"AWSLogs, a slash behind", "d/AWSLogs/" + account + "/CloudTrail", "d/AWSLogs/", "d", "AWSLogs/"},
		{"AWSLogs of an organization", "d/AWSLogs/" + org + "/" + account + "/CloudTrail-Digest", "d/AWSLogs", "d", "AWSLogs/"},
		{"organization", "d/AWSLogs/" + org + "/" + account + "/CloudTrail", "d/AWSLogs/" + org, "d", "AWSLogs/" + org + "/"},
		{"account", "d/AWSLogs/" + account + "/CloudTrail", "d/AWSLogs/" + account, "d", "AWSLogs/" + account + "/"},
		{"account of an organization", "d/AWSLogs/" + org + "/" + account + "/CloudTrail", "d/AWSLogs/" + org + "/" + account, "d", "AWSLogs/" + org + "/" + account + "/"},
		{"kind", "d/AWSLogs/" + account + "/CloudTrail", "d/AWSLogs/" + account + "/CloudTrail", "d", "AWSLogs/" + account + "/CloudTrail/"},
		{"region", "d/AWSLogs/" + org + "/" + account + "/" + region, "d/AWSLogs/" + org + "/" + account + "/" + region, "d", "AWSLogs/" + org + "/" + account + "/" + region + "/"},
		{"day", "d/AWSLogs/" + account + "/" + region + "/2026/03/01", "d/AWSLogs/" + account + "/" + region + "/2026/03/01", "d", "AWSLogs/" + account + "/" + region + "/2026/03/01/"},
		{"another service's", "d/AWSLogs/" + account + "/Config/eu-west-1", "d/AWSLogs/" + account + "/Config", "", ""},
		{"not a region", "d/AWSLogs/" + account + "/CloudTrail/2026", "d/AWSLogs/" + account + "/CloudTrail/2026", "", ""},
		{"another name", "d/awslogs/" + account + "/CloudTrail", "d/awslogs/" + account, "", ""},

		{"a case folder", "AWSLogs/bucket-a/AWSLogs/" + account + "/CloudTrail", "AWSLogs", "", ""},
		{"a bucket in a case folder", "AWSLogs/bucket-a/AWSLogs/" + account + "/CloudTrail", "AWSLogs/bucket-a", "", ""},
		{"AWSLogs in a case folder", "AWSLogs/bucket-a/AWSLogs/" + account + "/CloudTrail", "AWSLogs/bucket-a/AWSLogs", "AWSLogs/bucket-a", "AWSLogs/"},
		{"account in a case folder", "AWSLogs/bucket-a/AWSLogs/" + account + "/CloudTrail", "AWSLogs/bucket-a/AWSLogs/" + account, "AWSLogs/bucket-a", "AWSLogs/" + account + "/"},
		{"a case folder with a copy for each account", "AWSLogs/" + account + "/AWSLogs/" + account + "/CloudTrail", "AWSLogs", "", ""},
		{"a copy in such a folder", "AWSLogs/" + account + "/AWSLogs/" + account + "/CloudTrail", "AWSLogs/" + account, "", ""},
		{"AWSLogs in such a folder", "AWSLogs/" + account + "/AWSLogs/" + account + "/CloudTrail", "AWSLogs/" + account + "/AWSLogs", "AWSLogs/" + account, "AWSLogs/"},
		{"planted below an account", "d/AWSLogs/" + account + "/CloudTrail d/AWSLogs/" + account + "/AWSLogs/" + account + "/CloudTrail", "d/AWSLogs/" + account, "d", "AWSLogs/" + account + "/"},
		{"a trail's prefix AWSLogs", "d/AWSLogs/AWSLogs/" + account + "/CloudTrail", "d/AWSLogs", "", ""},
		{"below a trail's prefix AWSLogs", "d/AWSLogs/AWSLogs/" + account + "/CloudTrail", "d/AWSLogs/AWSLogs", "d/AWSLogs", "AWSLogs/"},
		{"the same beside a trail without prefix", "d/AWSLogs/AWSLogs/" + account + "/CloudTrail d/AWSLogs/" + account + "/CloudTrail", "d/AWSLogs", "d", "AWSLogs/"},
		{"empty AWSLogs", "d/AWSLogs", "d/AWSLogs", "", ""},

		{"a link on the way", "e/AWSLogs/" + account + "/CloudTrail d->e", "d/AWSLogs", "d", "AWSLogs/"},
		{"a link to an account", "e/x/CloudTrail d/AWSLogs/" + account + "->e/x", "d/AWSLogs", "d", "AWSLogs/"},
		{"a link to nothing", "d/AWSLogs/" + account + "->d/none", "d/AWSLogs", "", ""},
		{"back by name", "d/AWSLogs/" + account + "/CloudTrail", "d/AWSLogs/" + account + "/../" + account, "d", "AWSLogs/" + account + "/"},
		{"back from a link", "e/AWSLogs/x e/AWSLogs/" + account + "/CloudTrail d/AWSLogs/" + account + "/CloudTrail d/AWSLogs/x->e/AWSLogs/x",
			"d/AWSLogs/x/../" + account, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			top := makeFolders(t, tt.made)
			root, prefix, err := source.Folder(top + "/" + tt.path)
			want := top + "/" + tt.path
			if tt.root != "" {
				want = top + "/" + tt.root
			}
			if err != nil || root != want || prefix != tt.prefix {
				t.Errorf("got %q %q %v, want %q %q", root, prefix, err, want, tt.prefix)
			}
			t.Chdir(top)
			root, prefix, err = source.Folder(tt.path)
			if tt.root == "" {
				want = tt.path
			}
			if err != nil || root != want || prefix != tt.prefix {
				t.Errorf("relative: got %q %q %v, want %q %q", root, prefix, err, want, tt.prefix)
			}
		})
	}
}

func TestFolderFromInside(t *testing.T) {
	top := makeFolders(t, "d/AWSLogs/"+account+"/CloudTrail/eu-west-1")
	t.Chdir(top + "/d/AWSLogs/" + account + "/CloudTrail")
	for path, prefix := range map[string]string{
		".": "AWSLogs/" + account + "/CloudTrail/", "..": "AWSLogs/" + account + "/", "../..": "AWSLogs/",
		"eu-west-1": "AWSLogs/" + account + "/CloudTrail/eu-west-1/",
	} {
		if root, got, err := source.Folder(path); err != nil || root != top+"/d" || got != prefix {
			t.Errorf("%s: got %q %q %v, want %q", path, root, got, err, prefix)
		}
	}
}

func TestFolderRefuses(t *testing.T) {
	top := makeFolders(t, "d/AWSLogs")
	if err := os.WriteFile(top+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{"": fs.ErrNotExist, top + "/none/AWSLogs": fs.ErrNotExist, top + "/file": nil} {
		root, prefix, err := source.Folder(path)
		if err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), "open folder "+path+": ") {
			t.Errorf("%s: got %q %q %v", path, root, prefix, err)
		}
	}
}

// makeFolders makes folders and links below a new one, which it returns.
func makeFolders(t *testing.T, made string) string {
	t.Helper()
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(made) {
		name, to, isLink := strings.Cut(name, "->")
		name = filepath.Join(top, name)
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		switch {
		case err != nil:
		case isLink:
			err = os.Symlink(filepath.Join(top, to), name)
		default:
			err = os.MkdirAll(name, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return top
}
