package chain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// File is what was read of a digest file. The zero File is one of which nothing was
// read.
type File struct {
	Digest *digest.Digest    // nil where the bytes are not a digest, or were not parsed
	Sum    digest.Sum        // SHA-256 of the inflated bytes; Digest.Sum counts where Digest is set
	Hashed bool              // whether Sum is known; true where Digest is set
	Meta   map[string]string // user metadata, lower-case names
	// MetaErr says why the metadata could not be read, where the content could. It
	// is nil where the metadata is known to be absent.
	MetaErr error
}

// Evidence is everything that speaks for or against one digest file. Key and At are
// always set. Where neither File.Digest nor Err is set, the file counts as not read.
type Evidence struct {
	Key  trail.DigestKey // the name that the file was found under
	At   trail.Object    // where it lies; the bucket is "" in a copy
	File File
	// Err says why the file was not read, or what is wrong with it: a reason or a fact
	// by finding.IsFact. It is nil where File.Digest was read to the end.
	Err error

	// Successor is what a trusted digest says of this one, nil where no trusted
	// digest names it.
	Successor *Successor
	// Repeated are the signatures that other digests repeat for this name. These
	// digests need not be trusted: a signature vouches for itself.
	Repeated []string
	// Now is the time of the judgement. A zero Now is not compared.
	Now time.Time
}

// Successor is what a trusted digest says of its predecessor.
type Successor struct {
	Previous digest.Previous
	At       trail.Object // where that trusted digest lies, for the evidence
}

// Status is the outcome of a judgement.
type Status int

// The outcomes. The zero Status is not an outcome.
const (
	Valid Status = iota + 1
	Invalid
	Unverified
)

// String returns the outcome in lower case.
func (s Status) String() string {
	switch s {
	case Valid:
		return "valid"
	case Invalid:
		return "invalid"
	case Unverified:
		return "unverified"
	}
	return "not judged"
}

// Verdict is the result of judging a digest file. Judge never returns the zero
// Verdict.
type Verdict struct {
	Status Status
	// Trusted says that the content is CloudTrail's: its names may be followed.
	// It can be so where Status is not Valid.
	Trusted bool

	Class    finding.Class // what is wrong; "" unless Status is Invalid
	Err      error         // why the file was not judged; nil unless Status is Unverified
	Detail   string        // Class or Err, in words
	Evidence finding.Evidence

	// Key is the public key that verified Signature over the content of a trusted
	// digest. Both are zero where the content is proven by the signed hash alone.
	Key       digest.Key
	Signature string // hex
	// Contradicted says that Evidence.Repeated holds signatures, and that neither
	// they nor another signature verifies over this content: this file or those
	// digests were altered.
	Contradicted bool
	// SignedFor is the place that a digest with a good signature names, where the
	// caller found the digest in another place (digest-moved). It is zero in all
	// other verdicts.
	SignedFor trail.Object
}

// Judge returns the verdict on one digest file. It checks the container, the form,
// the place, the key, the signature, the link and the clock. A failure of k makes the
// file Unverified, unless the successor's hash proves the content. Judge calls
// neither a network nor a clock, and any goroutine may call it.
//
// In a bucket each digest has a signature of its own, so one without is Invalid.
// In a copy the metadata may be lost, so there it is Unverified, unless another
// digest repeats the signature.
func Judge(ctx context.Context, k Keys, e Evidence) Verdict {
	e.File.Sum, e.File.Hashed = e.File.sum()
	if e.File.Digest == nil && e.Err == nil {
		e.Err = errNotRead
	}
	v := judge(ctx, k, e)
	if v.Status == Valid && e.Err != nil {
		v.Status, v.Err, v.Detail = Unverified, e.Err, e.Err.Error()
	}
	if v.Status == Valid && !e.Now.IsZero() && e.Key.End.After(e.Now) {
		v.Status, v.Err = Unverified, fmt.Errorf(
			"digest ends at %s: %w",
			e.Key.End.Format(time.RFC3339),
			finding.ErrClock,
		)
		v.Detail = v.Err.Error()
	}
	return v
}

// errNotRead is the reason where the caller gives neither a digest nor an error.
var errNotRead = errors.New("the digest file was not read")

func judge(ctx context.Context, k Keys, e Evidence) (v Verdict) {
	switch {
	case errors.Is(e.Err, fs.ErrNotExist):
		return missing(e)
	case e.Err != nil && !e.File.Hashed && finding.IsFact(e.Err):
		return invalid(finding.DigestCorrupt, e.Err.Error(), e.cite())
	case e.Err != nil && !e.File.Hashed:
		return unverified(e.Err)
	}
	f := examine(ctx, k, e)
	defer func() {
		v.Contradicted = f.contradicted
		if v.Key.Fingerprint != "" {
			v.Signature = f.proof()
		}
	}()
	if e.Successor != nil {
		return f.bySuccessor()
	}
	return f.bySignature()
}

func invalid(class finding.Class, detail string, e finding.Evidence) Verdict {
	return Verdict{Status: Invalid, Class: class, Detail: detail, Evidence: e}
}

func unverified(err error) Verdict {
	return Verdict{Status: Unverified, Err: err, Detail: err.Error()}
}

// Texts of findings about digests that are not there.
const (
	DetailNamed = "named by its successor, and not there"
	DetailDue   = "due between the digests that are there, and not there"
)

func missing(e Evidence) Verdict {
	if e.Successor != nil {
		return invalid(finding.DigestMissing, DetailNamed, e.cite())
	}
	return invalid(finding.DigestMissing, "listed, and not there", finding.Evidence{})
}

// cite returns the evidence that a successor gives.
func (e Evidence) cite() finding.Evidence {
	if e.Successor == nil {
		return finding.Evidence{}
	}
	return finding.Evidence{Want: e.Successor.Previous.Hash.String(), Digest: e.Successor.At.String()}
}

// defect is something that is wrong with a digest file.
type defect struct {
	class  finding.Class
	detail string
}

// facts are the results of the single checks, before they are weighed.
type facts struct {
	e Evidence
	d *digest.Digest

	container *defect // container or form
	place     *defect // the digest names another place
	key       *defect // the complete list has no such key, or the key is not usable
	keyErr    error   // the key could not be looked up
	signature *defect // the file's own signature is malformed or wrong

	own      string     // the file's own signature, "" where it has none
	ownGood  bool       // own verifies
	repeated string     // a repeated signature that verifies, "" where none does
	by       digest.Key // the key that verified

	contradicted bool // signatures are repeated, and none verifies
}

// proof returns the signature that verifies, "" where none does.
func (f facts) proof() string {
	if f.ownGood {
		return f.own
	}
	return f.repeated
}

// examine makes every check that the file allows.
func examine(ctx context.Context, k Keys, e Evidence) facts {
	f := facts{e: e, d: e.File.Digest}
	if finding.IsFact(e.Err) {
		f.container = &defect{finding.DigestCorrupt, e.Err.Error()}
	}
	if f.d == nil {
		return f
	}
	if err := f.d.CheckLocation(e.At.Bucket, e.Key); err != nil {
		f.place = &defect{finding.DigestMoved, err.Error()}
	}
	var malformed error
	if f.own, malformed = digest.Signature(e.File.Meta); malformed != nil {
		f.signature = &defect{finding.DigestSignature, malformed.Error()}
	}
	key, err := k.Find(ctx, e.Key.Region, f.d.Fingerprint, signedAt(e))
	switch {
	case errors.Is(err, digest.ErrKeyUnknown), errors.Is(err, digest.ErrKey):
		f.key = &defect{finding.DigestKeyUnknown, err.Error()}
		return f
	case err != nil:
		f.keyErr = err
		return f
	}
	if f.own != "" {
		if err := f.d.Verify(key, f.own); err != nil {
			f.signature = &defect{finding.DigestSignature, err.Error()}
		} else {
			f.ownGood, f.by = true, key
			return f
		}
	}
	candidates := e.Repeated
	if e.Successor != nil {
		candidates = append([]string{e.Successor.Previous.Signature}, candidates...)
	}
	if i := slices.IndexFunc(candidates, func(s string) bool { return f.d.Verify(key, s) == nil }); i >= 0 {
		f.repeated, f.by = candidates[i], key
	} else {
		f.contradicted = len(e.Repeated) > 0
	}
	return f
}

// bySuccessor weighs a file that a trusted digest names.
func (f facts) bySuccessor() Verdict {
	signed := f.e.Successor.Previous
	if f.e.File.Sum != signed.Hash {
		detail := fmt.Sprintf("its successor signed for the hash %s, and it has %s", signed.Hash, f.e.File.Sum)
		if others := f.defects(); len(others) > 0 {
			detail += "; also: " + strings.Join(others, "; ")
		}
		return invalid(finding.ChainMismatch, detail, f.evidence())
	}
	if f.d == nil && f.container == nil { // too large, say: what it names is not known
		v := unverified(f.e.Err)
		v.Trusted = true
		return v
	}
	v := Verdict{Status: Valid, Trusted: true, Key: f.by}
	switch inBucket := f.e.At.Bucket != ""; {
	case f.container != nil:
		v = invalid(f.container.class, f.container.detail, f.evidence())
	case f.place != nil:
		v = invalid(f.place.class, f.place.detail, f.evidence())
	case f.key != nil:
		v = invalid(f.key.class, f.key.detail, f.evidence())
	case f.signature != nil:
		v = invalid(f.signature.class, f.signature.detail, f.evidence())
	case f.own == "" && inBucket && f.e.File.MetaErr == nil:
		v = f.lost()
	case f.ownGood && !strings.EqualFold(f.own, signed.Signature): // metadata may be upper-case hex
		v = invalid(finding.ChainMismatch, "its successor repeats another signature than this digest has", f.evidence())
	}
	v.Trusted, v.Key = true, f.by
	return v
}

// lost is the verdict on a proven digest whose object has lost its signature.
func (f facts) lost() Verdict {
	return invalid(
		finding.DigestSignature,
		"the object has no signature; another digest proves its content",
		f.evidence(),
	)
}

// bySignature weighs a file that no trusted digest names.
func (f facts) bySignature() Verdict {
	good := f.ownGood || f.repeated != ""
	proven := good && f.place == nil
	trusted := func(v Verdict) Verdict {
		if proven {
			v.Trusted, v.Key = true, f.by
		}
		return v
	}
	switch {
	case f.d == nil && f.container == nil:
		return unverified(f.e.Err)
	case f.container != nil:
		return trusted(invalid(f.container.class, f.container.detail, f.evidence()))
	case f.place != nil:
		v := invalid(f.place.class, f.place.detail, f.evidence())
		if good {
			v.SignedFor = f.d.Location()
		}
		return v
	case f.key != nil:
		return invalid(f.key.class, f.key.detail, f.evidence())
	case f.keyErr != nil:
		return unverified(f.keyErr)
	case f.signature != nil:
		return trusted(invalid(f.signature.class, f.signature.detail, f.evidence()))
	case f.ownGood:
		return trusted(Verdict{Status: Valid})
	case f.repeated != "" && f.e.At.Bucket != "" && f.e.File.MetaErr == nil:
		return trusted(f.lost())
	case f.repeated != "":
		return trusted(Verdict{Status: Valid})
	case f.e.File.MetaErr != nil:
		return unverified(fmt.Errorf("%w: %w", f.e.File.MetaErr, digest.ErrUnsigned))
	case f.e.At.Bucket != "":
		return invalid(finding.DigestSignature, "the object has no signature", f.evidence())
	}
	return unverified(
		fmt.Errorf("a copy without object metadata, and no newer digest repeats its signature: %w", digest.ErrUnsigned),
	)
}

// defects returns everything that is wrong beside the hash, in words.
func (f facts) defects() (all []string) {
	for _, d := range []*defect{f.container, f.place, f.key, f.signature} {
		if d != nil {
			all = append(all, d.detail)
		}
	}
	return all
}

// evidence returns what anyone needs to check the judgement again.
func (f facts) evidence() finding.Evidence {
	e := f.e.cite()
	if f.e.File.Hashed {
		e.Got = f.e.File.Sum.String()
	}
	if f.d == nil {
		return e
	}
	signature := f.proof()
	if signature == "" {
		signature = f.e.File.Meta[digest.MetaSignature]
	}
	signed := SignatureEvidence(f.d, signature)
	signed.Want, signed.Digest = e.Want, e.Digest
	return signed
}

// SignatureEvidence returns what a third party needs to check a digest's signature
// again: the digest's hash, its string to sign, the fingerprint that it names, and
// the signature in hex. The signature may be "".
func SignatureEvidence(d *digest.Digest, signature string) finding.Evidence {
	return finding.Evidence{
		Got:          d.Sum.String(),
		StringToSign: d.StringToSign(),
		Signature:    signature,
		Fingerprint:  d.Fingerprint,
	}
}

// signedAt returns when the digest was signed, as far as is known. The metadata
// of a backfill digest says so. It is not signed, but it only chooses among
// CloudTrail's own keys. The zero time stands for any key of the region.
func signedAt(e Evidence) time.Time {
	if !e.Key.Backfill {
		return e.Key.End
	}
	t, err := time.Parse(time.RFC3339, e.File.Meta[digest.MetaBackfillGenerated])
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}
