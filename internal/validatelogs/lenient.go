package validatelogs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/trailseal/trailseal/pkg/digest"
)

// statement is what a digest file says of itself, as far as the checks of the
// reference go.
type statement struct {
	bucket, object, fingerprint string
	toSign                      string
	incomplete                  bool // not an object, or without a member that the reference demands
}

func stated(d *digest.Digest) *statement {
	return &statement{bucket: d.Bucket, object: d.Object, fingerprint: d.Fingerprint, toSign: d.StringToSign()}
}

// required are the members that the reference demands.
var required = [...]string{
	"digestPublicKeyFingerprint", "digestS3Bucket", "digestS3Object",
	"previousDigestSignature", "digestEndTime", "digestStartTime",
}

// readLeniently reads a digest that digest.Parse refused as the reference
// would: the last of equal names counts, types do not matter. Only the words
// for a file that is INVALID whatever it holds are chosen by it. It returns nil
// where the bytes are no JSON.
func readLeniently(body []byte) *statement {
	members, err := topMembers(body)
	if err != nil {
		return nil
	}
	for _, name := range required {
		if _, there := members[name]; !there {
			return &statement{incomplete: true}
		}
	}
	s := &statement{bucket: members["digestS3Bucket"], object: members["digestS3Object"], fingerprint: members["digestPublicKeyFingerprint"]}
	s.toSign = digest.StringToSign(members["digestEndTime"], s.bucket, s.object, sha256.Sum256(body), members["previousDigestSignature"])
	return s
}

// topMembers returns the required members of the one JSON value that b is:
// strings decoded, all other values as their text. So null is "null", as in
// the string to sign. A value that is no object has no members.
func topMembers(b []byte) (map[string]string, error) {
	decoder := func() *jsontext.Decoder {
		return jsontext.NewDecoder(bytes.NewReader(b), jsontext.AllowDuplicateNames(true))
	}
	whole := decoder()
	if err := whole.SkipValue(); err != nil {
		return nil, err
	}
	if _, err := whole.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("data after the JSON value")
	}
	dec, members := decoder(), map[string]string{}
	if dec.PeekKind() != '{' {
		return members, nil
	}
	for _, err := dec.ReadToken(); err == nil && dec.PeekKind() == '"'; { // the syntax is known to be good
		t, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		name := t.String()
		value, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		if !slices.Contains(required[:], name) {
			continue
		}
		members[name] = string(value)
		if value.Kind() == '"' {
			text, err := jsontext.AppendUnquote(nil, value)
			if err != nil {
				return nil, err
			}
			members[name] = string(text)
		}
	}
	return members, nil
}
