// Package source knows what a SOURCE text means, and where an object that a
// digest names can lie. Both programs ask it.
//
// A source is a bucket, an access point of a bucket, or a folder. A folder
// holds a copy: files whose paths end in the keys of objects, below one or many
// roots. A root is the part of a path before its last AWSLogs folder.
//
// A digest signs the name of its bucket and those of its log files' buckets.
// The bucket that is read can have another name: it is a replica, or an access
// point leads to it. Then the source keeps the signed name in Original, and
// View translates between the two.
//
// Names come from listings and from digests that may be forged. This package
// compares and joins them as keys and never opens them. Folder alone looks at
// the file system, at the path that the user gave.
package source

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// Source is one place that holds the files of trails. Its values are copied
// freely. Parse makes them.
type Source struct {
	Bucket   string // where requests go: a bucket's name, an access point's ARN or alias; "" for a folder
	Prefix   string // "" or a key that ends in a slash: look below it
	Name     string // for people and for state: the canonical text, or the folder's path as given
	Original string // the bucket that signed locations name, where it is not Bucket; "" where it is Bucket or not known

	roots *roots // of a copy; all copies of the value share it
}

// forms are the texts that Parse accepts.
const forms = "allowed are s3://BUCKET[/PREFIX], the ARN or alias of an access point with or without s3:// and /PREFIX, and the path of a folder"

// otherScheme matches what looks like a URL and is not one of S3's.
var otherScheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)

// Parse returns the source that text names. Texts that name one place have one
// Name: slashes at the ends of a prefix and the form of an ARN do not count.
//
// A text that begins with s3: or arn: is never a folder, nor is the alias of an
// access point. A folder of such a name is written as ./NAME. Parse does not
// look whether the source exists.
func Parse(text string) (Source, error) {
	s, err := parse(text)
	if err != nil {
		return Source{}, fmt.Errorf("source %q: %w (%s)", text, err, forms)
	}
	return s, nil
}

func parse(text string) (Source, error) {
	if text == "" {
		return Source{}, errors.New("the text is empty")
	}
	rest, isS3 := text, false
	if len(text) >= 3 && strings.EqualFold(text[:3], "s3:") {
		if rest, isS3 = strings.CutPrefix(text[3:], "//"); !isS3 {
			return Source{}, errors.New("s3: must be followed by two slashes")
		}
	}
	if strings.HasPrefix(rest, "arn:") {
		return parseARN(rest)
	}
	bucket, prefix, _ := strings.Cut(rest, "/")
	switch {
	case !isS3 && aliasForm.MatchString(bucket): // goes on below
	case !isS3 && otherScheme.MatchString(text):
		return Source{}, errors.New("the scheme is not s3")
	case !isS3:
		return Source{Name: text, roots: new(roots)}, nil
	case bucket == "":
		return Source{}, errors.New("the bucket's name is missing")
	}
	if err := checkBucket(bucket); err != nil {
		return Source{}, err
	}
	return inBucket(bucket, prefix), nil
}

// inBucket returns the source below prefix. Slashes inside the prefix stay:
// a//b and a/b are different keys.
func inBucket(bucket, prefix string) Source {
	s := Source{Bucket: bucket, Name: "s3://" + bucket}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		s.Prefix, s.Name = prefix+"/", s.Name+"/"+prefix
	}
	return s
}

// IsCopy reports whether the source is a folder. In a copy, buckets and
// prefixes are not those of the digests, and objects have no metadata.
func (s Source) IsCopy() bool { return s.Bucket == "" }

// IsAccessPoint reports whether requests go to an access point. Its name does
// not tell the name of the bucket behind it.
func (s Source) IsAccessPoint() bool { return strings.HasPrefix(s.Bucket, "arn:") || isAlias(s.Bucket) }

// Signed returns the bucket that signed locations are compared with. It is ""
// for a copy, and for an access point whose Original is not known.
func (s Source) Signed() string {
	if s.Original == "" && !s.IsAccessPoint() {
		return s.Bucket
	}
	return s.Original
}

// Identity returns the text that names the source in the state. Texts that mean one place
// have one identity: it does not depend on prefixes, trailing slashes, or whether the
// bucket is named or an access point of it. A folder's is its absolute path, which the
// working directory completes; a copy that is given by a folder inside it has the identity
// of the copy. Parse and, for an access point, Learn come first.
func (s Source) Identity() string {
	switch {
	case s.IsAccessPoint() && s.Original != "":
		return "s3://" + s.Original
	case !s.IsCopy():
		return "s3://" + s.Bucket
	}
	path, err := filepath.Abs(s.Name)
	if err != nil {
		path = filepath.Clean(s.Name)
	}
	return cmp.Or(strings.TrimSuffix(path, "/"+strings.TrimSuffix(s.Prefix, "/")), "/")
}
