package digest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// timeLayout is the only form that CloudTrail writes times in.
const timeLayout = "2006-01-02T15:04:05Z"

// maxText is the most bytes of a string: an object key has 1024 at most, a
// signature in hex 512. Reports repeat what a digest says of itself, and anyone
// who may write to the bucket can plant thousands that say it at length.
const maxText = 2048

// Parse reads the inflated bytes of a digest file. It is strict: one JSON
// object in valid UTF-8, no name twice, every documented member there with its
// documented type and exact spelling (a name that differs from a documented
// one only in case is an error), previous* all null or none, known algorithms.
// Members that are not documented are passed over, since AWS may add some.
// Errors wrap ErrFormat or ErrAlgorithm.
func Parse(b []byte) (*Digest, error) { return Read(bytes.NewReader(b)) }

// Read is Parse for bytes that are not held in memory: those of a busy
// account's hour can be a hundred times as many as usual. It reads to the end
// where it returns no error. An error of the reader itself comes out as
// ErrFormat: the caller knows which it was.
func Read(r io.Reader) (*Digest, error) {
	sum := sha256.New()
	src := &bounded{r: io.TeeReader(r, sum)}
	p := parser{dec: jsontext.NewDecoder(src)}
	src.dec = p.dec
	d := &Digest{}
	if err := p.object(digestMembers, func(name string) error { return p.member(d, name) }); err != nil {
		return nil, err
	}
	if _, err := p.dec.ReadToken(); err != io.EOF {
		return nil, fmt.Errorf("more after the JSON object: %w", ErrFormat)
	}
	sum.Sum(d.Sum[:0])
	if err := p.previous(d); err != nil {
		return nil, err
	}
	if d.SignatureAlgorithm != SignatureAlgorithm {
		return nil, fmt.Errorf("digestSignatureAlgorithm %q: %w", d.SignatureAlgorithm, ErrAlgorithm)
	}
	if !d.Start.Before(d.End) {
		return nil, fmt.Errorf("digestStartTime %s is not before digestEndTime %s: %w", d.Start, d.End, ErrFormat)
	}
	return d, nil
}

// maxToken is the most bytes without an end of a token in sight. The decoder
// keeps them, and a digest of 64 MiB of spaces is quickly planted.
const maxToken = 8 << 20

// bounded ends with an error where a token or the space before it is too long.
type bounded struct {
	r    io.Reader
	dec  *jsontext.Decoder // that reads from it
	read int64
}

var errToken = fmt.Errorf("more than %d bytes without a token", maxToken)

func (b *bounded) Read(p []byte) (int, error) {
	if b.read-b.dec.InputOffset() > maxToken {
		return 0, errToken
	}
	n, err := b.r.Read(p)
	b.read += int64(n)
	return n, err
}

var digestMembers = []member{
	{"awsAccountId", true}, {"digestStartTime", true}, {"digestEndTime", true},
	{"digestS3Bucket", true}, {"digestS3Object", true},
	{"digestPublicKeyFingerprint", true}, {"digestSignatureAlgorithm", true},
	{"newestEventTime", false}, {"oldestEventTime", false},
	{"previousDigestS3Bucket", true}, {"previousDigestS3Object", true},
	{"previousDigestHashValue", true}, {"previousDigestHashAlgorithm", true},
	{"previousDigestSignature", true}, {"logFiles", true},
}

var logMembers = []member{
	{"s3Bucket", true}, {"s3Object", true}, {"hashValue", true}, {"hashAlgorithm", true},
	{"newestEventTime", false}, {"oldestEventTime", false},
}

type member struct {
	name     string
	required bool
}

// parser reads one digest; prev gathers the previous* members.
type parser struct {
	dec  *jsontext.Decoder
	prev struct{ bucket, object, hash, algorithm, signature *string }
}

// object reads a JSON object whose members are known, hands each known one to
// read and demands the required ones.
func (p *parser) object(known []member, read func(name string) error) error {
	if t, err := p.dec.ReadToken(); err != nil {
		return syntax(err)
	} else if t.Kind() != '{' {
		return fmt.Errorf("%s: not a JSON object: %w", p.dec.StackPointer(), ErrFormat)
	}
	var seen uint32
	for p.dec.PeekKind() != '}' {
		name, err := p.name()
		if err != nil {
			return err
		}
		i, err := find(known, name)
		if err != nil {
			return err
		}
		if i < 0 {
			err = syntax(p.dec.SkipValue())
		} else {
			seen |= 1 << i
			err = read(known[i].name)
		}
		if err != nil {
			return err
		}
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return syntax(err)
	}
	for i, m := range known {
		if m.required && seen&(1<<i) == 0 {
			return fmt.Errorf("%s is absent: %w", m.name, ErrFormat)
		}
	}
	return nil
}

// name returns the name of the next member, valid until more is read. A string
// of its own for each would be most of what a digest allocates.
func (p *parser) name() ([]byte, error) {
	v, err := p.dec.ReadValue()
	if err != nil {
		return nil, syntax(err)
	}
	if name := v[1 : len(v)-1]; bytes.IndexByte(name, '\\') < 0 {
		return name, nil
	}
	name, err := jsontext.AppendUnquote(nil, v)
	return name, syntax(err)
}

// find returns the index of name among known, -1 for an unknown one, and an
// error for one that some parsers would take for a known name.
func find(known []member, name []byte) (int, error) {
	for i, m := range known {
		if m.name == string(name) {
			return i, nil
		}
	}
	for _, m := range known {
		if strings.EqualFold(m.name, string(name)) {
			return -1, fmt.Errorf("member %q is spelled like %s: %w", name, m.name, ErrFormat)
		}
	}
	return -1, nil
}

func (p *parser) member(d *Digest, name string) (err error) {
	switch name {
	case "awsAccountId":
		d.Account, err = p.text(name)
	case "digestStartTime":
		d.Start, _, err = p.time(name)
	case "digestEndTime":
		d.End, d.EndText, err = p.time(name)
	case "digestS3Bucket":
		d.Bucket, err = p.text(name)
	case "digestS3Object":
		d.Object, err = p.text(name)
	case "digestPublicKeyFingerprint":
		d.Fingerprint, err = p.text(name)
	case "digestSignatureAlgorithm":
		d.SignatureAlgorithm, err = p.text(name)
	case "newestEventTime":
		d.Newest, err = p.timeOrNull(name)
	case "oldestEventTime":
		d.Oldest, err = p.timeOrNull(name)
	case "previousDigestS3Bucket":
		p.prev.bucket, err = p.textOrNull(name)
	case "previousDigestS3Object":
		p.prev.object, err = p.textOrNull(name)
	case "previousDigestHashValue":
		p.prev.hash, err = p.textOrNull(name)
	case "previousDigestHashAlgorithm":
		p.prev.algorithm, err = p.textOrNull(name)
	case "previousDigestSignature":
		p.prev.signature, err = p.textOrNull(name)
	case "logFiles":
		d.Logs, err = p.logs()
	}
	return err
}

// previous checks that the previous* members are all there or all null.
func (p *parser) previous(d *Digest) error {
	v := p.prev
	switch present := countSet(v.bucket, v.object, v.hash, v.algorithm, v.signature); present {
	case 0:
		return nil
	case 5:
	default:
		return fmt.Errorf("%d of the 5 previousDigest members are null: %w", 5-present, ErrFormat)
	}
	if *v.bucket == "" || *v.object == "" || *v.signature == "" {
		return fmt.Errorf("an empty previousDigest member: %w", ErrFormat)
	}
	if *v.algorithm != HashAlgorithm {
		return fmt.Errorf("previousDigestHashAlgorithm %q: %w", *v.algorithm, ErrAlgorithm)
	}
	sum, err := parseSum(*v.hash)
	if err != nil {
		return fmt.Errorf("previousDigestHashValue: %w", err)
	}
	d.Previous = &Previous{Bucket: *v.bucket, Object: *v.object, Hash: sum, HashAlgorithm: *v.algorithm, Signature: *v.signature}
	return nil
}

func (p *parser) logs() ([]Log, error) {
	if t, err := p.dec.ReadToken(); err != nil {
		return nil, syntax(err)
	} else if t.Kind() == 'n' {
		return nil, nil // null: no log files, as an empty list
	} else if t.Kind() != '[' {
		return nil, fmt.Errorf("logFiles is no list: %w", ErrFormat)
	}
	var logs []Log
	for p.dec.PeekKind() != ']' {
		l, err := p.log()
		if err != nil {
			return nil, fmt.Errorf("logFiles[%d]: %w", len(logs), err)
		}
		logs = append(logs, l)
	}
	_, err := p.dec.ReadToken()
	return logs, syntax(err)
}

func (p *parser) log() (l Log, err error) {
	var hash, algorithm string
	err = p.object(logMembers, func(name string) (err error) {
		switch name {
		case "s3Bucket":
			l.Bucket, err = p.text(name)
		case "s3Object":
			l.Object, err = p.text(name)
		case "hashValue":
			hash, err = p.text(name)
		case "hashAlgorithm":
			algorithm, err = p.text(name)
		case "newestEventTime":
			l.Newest, err = p.timeOrNull(name)
		case "oldestEventTime":
			l.Oldest, err = p.timeOrNull(name)
		}
		return err
	})
	if err != nil {
		return l, err
	}
	if algorithm != HashAlgorithm {
		return l, fmt.Errorf("hashAlgorithm %q: %w", algorithm, ErrAlgorithm)
	}
	l.Hash, err = parseSum(hash)
	return l, err
}

func (p *parser) text(name string) (string, error) {
	s, _, err := p.value(name)
	if err == nil && s == "" {
		return "", fmt.Errorf("%s is empty: %w", name, ErrFormat)
	}
	return s, err
}

func (p *parser) textOrNull(name string) (*string, error) {
	s, null, err := p.value(name)
	if err != nil || null {
		return nil, err
	}
	return &s, nil
}

// value returns a string, or "" for null.
func (p *parser) value(name string) (s string, null bool, err error) {
	t, err := p.dec.ReadToken()
	if err != nil {
		return "", false, syntax(err)
	}
	switch t.Kind() {
	case 'n':
		return "", true, nil
	case '"':
		if s = t.String(); len(s) > maxText {
			return "", false, fmt.Errorf("%s has %d bytes: %w", name, len(s), ErrFormat)
		}
		return s, false, nil
	}
	return "", false, fmt.Errorf("%s is no string: %w", name, ErrFormat)
}

func (p *parser) time(name string) (time.Time, string, error) {
	s, err := p.text(name)
	if err != nil {
		return time.Time{}, "", err
	}
	t, err := time.Parse(timeLayout, s)
	if err != nil || t.Format(timeLayout) != s {
		return time.Time{}, "", fmt.Errorf("%s %q is no time: %w", name, s, ErrFormat)
	}
	return t, s, nil
}

// timeOrNull reads an event time. No check rests on those, so a form other
// than CloudTrail's is left zero and not called corrupt.
func (p *parser) timeOrNull(name string) (time.Time, error) {
	s, _, err := p.value(name)
	if err != nil || s == "" {
		return time.Time{}, err
	}
	t, _ := time.Parse(time.RFC3339, s)
	return t.UTC(), nil
}

func parseSum(s string) (Sum, error) {
	var sum Sum
	if len(s) != hex.EncodedLen(len(sum)) || strings.ToLower(s) != s {
		return sum, fmt.Errorf("hash value %q is not 64 lower-case hex digits: %w", s, ErrFormat)
	}
	if _, err := hex.Decode(sum[:], []byte(s)); err != nil {
		return sum, fmt.Errorf("hash value %q is not hex: %w", s, ErrFormat)
	}
	return sum, nil
}

func countSet(s ...*string) (n int) {
	for _, p := range s {
		if p != nil {
			n++
		}
	}
	return n
}

// syntax turns a decoder's error into ErrFormat.
func syntax(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%.300v: %w", err, ErrFormat) // it repeats names, however long
}
