package chain_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// outcome is what a verdict says, without its words.
type outcome struct {
	Status       chain.Status
	Trusted      bool
	Class        finding.Class
	Reason       finding.Reason
	Key          bool // Key and Signature are set
	Contradicted bool
	SignedFor    trail.Object
}

func outcomeOf(v chain.Verdict) outcome {
	o := outcome{
		Status: v.Status, Trusted: v.Trusted, Class: v.Class, Contradicted: v.Contradicted, SignedFor: v.SignedFor,
		Key: v.Key.Fingerprint != "",
	}
	if v.Err != nil {
		o.Reason = finding.ReasonOf(v.Err)
	}
	return o
}

// evidence builds evidence step by step: of the digest of an hour that has a
// predecessor and a successor.
type evidence struct {
	chain.Evidence
	keys chain.Keys

	own, next, other *testtrail.Issued
	w                *testtrail.World
}

func newEvidence() *evidence {
	w, c := newChain(testtrail.Options{}, 3)
	set := w.KeySet(day, day.AddDate(0, 3, 0))
	e := &evidence{own: c.Issued[1], next: c.Issued[2], other: c.Issued[3], w: w, keys: chain.Saved(set)}
	e.Evidence = chain.Evidence{
		Key: parseKey(e.own.Key), At: trail.Object{Bucket: e.own.Bucket, Key: e.own.Key}, File: fileOf(e.own.Body, e.own.Meta),
	}
	return e
}

// The changes. Each is one fact about a digest file.
type change func(*evidence)

func named(e *evidence)  { e.Successor = successorOf(e.next) }
func inCopy(e *evidence) { e.At = trail.Object{Key: "copy/" + e.own.Key} }
func noMeta(e *evidence) { e.File.Meta = nil }
func metaErr(e *evidence) {
	e.File.Meta, e.File.MetaErr = nil, fmt.Errorf("sidecar: %w", finding.ErrMetadata)
}
func repeatGood(e *evidence) { e.Repeated = append(e.Repeated, e.own.Signature) }
func repeatBad(e *evidence)  { e.Repeated = append(e.Repeated, e.other.Signature, "not hex") }
func badSignature(e *evidence) {
	e.File.Meta = map[string]string{"signature": e.other.Signature, "signature-algorithm": digest.SignatureAlgorithm}
}
func oddMeta(e *evidence) { e.File.Meta = map[string]string{"signature": e.own.Signature} }
func oddMethod(e *evidence) {
	e.File.Meta = map[string]string{"signature": e.own.Signature, "signature-algorithm": "MD5"}
}
func upperCase(e *evidence) {
	e.File.Meta = map[string]string{"signature": strings.ToUpper(e.own.Signature), "signature-algorithm": digest.SignatureAlgorithm}
}
func altered(e *evidence) { e.File = fileOf(append(bytes.Clone(e.own.Body), '\n'), e.own.Meta) }
func noJSON(e *evidence) {
	_, e.Err = digest.Parse([]byte("{}"))
	e.File.Digest, e.File.Sum[0] = nil, e.File.Sum[0]+1
}
func notParsed(e *evidence)   { _, e.Err = digest.Parse([]byte("{}")); e.File.Digest = nil }
func trailing(e *evidence)    { e.Err = fmt.Errorf("bytes after its end: %w", finding.ErrContainer) }
func corrupt(e *evidence)     { trailing(e); e.File = chain.File{} }
func tooLarge(e *evidence)    { e.fail(finding.ErrTooLarge) }
func hashedLarge(e *evidence) { sum := e.File.Sum; tooLarge(e); e.File.Sum, e.File.Hashed = sum, true }
func largeAltered(e *evidence) {
	hashedLarge(e)
	e.File.Sum[0]++
}
func (e *evidence) fail(err error) { e.File, e.Err = chain.File{}, fmt.Errorf("get: %w", err) }
func absent(e *evidence)           { e.fail(fs.ErrNotExist) }
func failing(err error) change     { return func(e *evidence) { e.fail(err) } }
func broken(err error) change      { return func(e *evidence) { e.Err = err } }
func unparsed(e *evidence)         { e.File.Digest = nil }
func forgetSum(e *evidence)        { e.File.Sum, e.File.Hashed = digest.Sum{}, false }
func nothing(e *evidence)          { e.File = chain.File{} }
func otherBucket(e *evidence)      { e.At.Bucket = "another-bucket" }
func otherTrail(e *evidence)       { e.Key.Trail = "other" }
func otherTime(e *evidence)        { e.Key.End = e.Key.End.Add(time.Hour) }
func otherAccount(e *evidence)     { e.Key.Account = "444455556666" }
func otherPrefix(e *evidence)      { e.Key.Prefix = "elsewhere" }
func now(d time.Duration) change   { return func(e *evidence) { e.Now = e.own.End.Add(d) } }

// reissued is a digest with another body, signed as only CloudTrail could.
func reissued(edit func(*testtrail.Doc)) change {
	return func(e *evidence) {
		w, c := newChain(testtrail.Options{}, 3)
		d := c.Reissue(1, edit)
		e.w, e.own, e.File = w, d, fileOf(d.Body, d.Meta)
	}
}

// saved replaces the list of keys.
func saved(edit func(*digest.KeySet)) change {
	return func(e *evidence) {
		set := digest.KeySet(e.keys.(chain.Saved))
		set.Keys = append([]digest.Key(nil), set.Keys...)
		edit(&set)
		e.keys = chain.Saved(set)
	}
}

var (
	noKeys     = saved(func(s *digest.KeySet) { *s = digest.KeySet{} })
	keyUnknown = saved(func(s *digest.KeySet) { s.Keys = nil })
	incomplete = saved(func(s *digest.KeySet) { s.Keys, s.Complete = nil, nil })
	badKey     = saved(func(s *digest.KeySet) {
		for i := range s.Keys {
			s.Keys[i].DER = s.Keys[(i+1)%len(s.Keys)].DER
		}
	})
	foreignKey = saved(func(s *digest.KeySet) {
		for i := range s.Keys {
			s.Keys[i].Region = "eu-west-1"
		}
	})
)

func sourceFails(e *evidence) {
	e.w.KeysErr = errors.New("timeout")
	e.keys = keyring(e.w)
}

func TestJudge(t *testing.T) {
	var (
		valid      = outcome{Status: chain.Valid, Trusted: true, Key: true}
		byHash     = outcome{Status: chain.Valid, Trusted: true}
		unsigned   = outcome{Status: chain.Unverified, Reason: finding.NoSignature}
		withoutKey = outcome{Status: chain.Unverified, Reason: finding.NoKeys}
	)
	bad := func(c finding.Class) outcome { return outcome{Status: chain.Invalid, Class: c} }
	proven := func(c finding.Class) outcome {
		return outcome{Status: chain.Invalid, Class: c, Trusted: true, Key: true}
	}
	why := func(r finding.Reason) outcome { return outcome{Status: chain.Unverified, Reason: r} }
	with := func(o outcome, edit func(*outcome)) outcome { edit(&o); return o }
	contradicted := func(o *outcome) { o.Contradicted = true }
	trusted := func(o *outcome) { o.Trusted = true }
	keyed := func(o *outcome) { o.Trusted, o.Key = true, true }

	home := newEvidence().own
	signedFor := func(o *outcome) { o.SignedFor = trail.Object{Bucket: home.Bucket, Key: home.Key} }

	for _, row := range []struct {
		name    string
		changes []change
		want    outcome
		detail  []string
	}{
		// The untouched controls.
		{"in a bucket", nil, valid, nil},
		{"named", []change{named}, valid, nil},
		{"in a copy, with metadata", []change{inCopy}, valid, nil},
		{"in a copy, without", []change{inCopy, noMeta}, unsigned, nil},
		{"in a copy, without, named", []change{inCopy, noMeta, named}, valid, nil},
		{"upper-case hex", []change{upperCase}, valid, nil},
		{"upper-case hex, named", []change{upperCase, named}, valid, nil},

		// Another hash than the signed one.
		{"altered", []change{altered}, bad(finding.DigestSignature), []string{"signature verification failed"}},
		{"altered, named", []change{altered, named}, bad(finding.ChainMismatch), []string{"signed for the hash", "also: signature verification failed"}},
		{"altered, named, unknown key", []change{altered, named, keyUnknown}, bad(finding.ChainMismatch), []string{"also: fingerprint"}},
		{"altered, named, no keys", []change{altered, named, noKeys}, bad(finding.ChainMismatch), nil},
		{"altered, named, moved", []change{altered, named, otherTime}, bad(finding.ChainMismatch), []string{"names itself", "; signature"}},
		{"altered, named, not JSON", []change{noJSON, named}, bad(finding.ChainMismatch), []string{"also: ", "invalid digest format"}},
		{"altered, named, trailing bytes", []change{altered, trailing, named}, bad(finding.ChainMismatch), []string{"also: bytes after its end"}},
		{"altered, named, too large", []change{largeAltered, named}, bad(finding.ChainMismatch), nil},
		{"altered, named, broken sidecar", []change{altered, metaErr, named}, bad(finding.ChainMismatch), nil},
		{"altered, named, odd metadata", []change{altered, oddMeta, named}, bad(finding.ChainMismatch), []string{"metadata is incomplete"}},
		{"altered, named, in a copy", []change{altered, inCopy, noMeta, named}, bad(finding.ChainMismatch), nil},
		{"altered, named, in a copy, repeated", []change{altered, inCopy, noMeta, named, repeatGood}, with(bad(finding.ChainMismatch), contradicted), nil},
		{"another signed digest, named", []change{reissued(func(d *testtrail.Doc) { d.Newest = nil; d.Logs = nil }), named}, bad(finding.ChainMismatch), nil},
		{"altered, named, and the rest did not come", []change{altered, named, unparsed, broken(errors.New("timeout"))}, bad(finding.ChainMismatch), nil},

		// An equal hash proves the content.
		{"named, unknown key", []change{named, keyUnknown}, with(bad(finding.DigestKeyUnknown), trusted), nil},
		{"named, bad key", []change{named, badKey}, with(bad(finding.DigestKeyUnknown), trusted), nil},
		{"named, no keys", []change{named, noKeys}, byHash, nil},
		{"named, source fails", []change{named, sourceFails}, byHash, nil},
		{"named, bad signature", []change{named, badSignature}, proven(finding.DigestSignature), nil},
		{"named, odd metadata", []change{named, oddMeta}, proven(finding.DigestSignature), nil},
		{"named, odd algorithm", []change{named, oddMethod}, proven(finding.DigestSignature), nil},
		{"named, metadata lost", []change{named, noMeta}, proven(finding.DigestSignature), []string{"another digest proves"}},
		{"named, broken sidecar", []change{named, metaErr}, valid, nil},
		{"named, broken sidecar, in a copy", []change{named, metaErr, inCopy}, valid, nil},
		{"named, trailing bytes", []change{named, trailing}, proven(finding.DigestCorrupt), nil},
		{"named, not JSON", []change{named, notParsed}, with(bad(finding.DigestCorrupt), trusted), nil},
		{"named, too large", []change{named, hashedLarge}, with(why(finding.TooLarge), trusted), nil},
		{"named, the rest did not come", []change{named, broken(errors.New("timeout"))}, with(why(finding.Network), keyed), nil},
		{"named, moved", []change{named, otherTime}, proven(finding.DigestMoved), nil},
		{"named, another signature", []change{named, func(e *evidence) { e.Successor.Previous.Signature = e.other.Signature }}, proven(finding.ChainMismatch), []string{"repeats another signature"}},
		{"named, another signature in a copy", []change{named, inCopy, noMeta, func(e *evidence) { e.Successor.Previous.Signature = e.other.Signature }}, byHash, nil},

		// The container.
		{"trailing bytes", []change{trailing}, proven(finding.DigestCorrupt), nil},
		{"trailing bytes, moved", []change{trailing, otherBucket}, bad(finding.DigestCorrupt), nil},
		{"trailing bytes, no metadata", []change{trailing, noMeta}, bad(finding.DigestCorrupt), nil},
		{"trailing bytes, bad signature", []change{trailing, badSignature}, bad(finding.DigestCorrupt), nil},
		{"corrupt", []change{corrupt}, bad(finding.DigestCorrupt), nil},
		{"corrupt, named", []change{corrupt, named}, bad(finding.DigestCorrupt), nil},
		{"not JSON", []change{noJSON}, bad(finding.DigestCorrupt), nil},
		{"too large", []change{tooLarge}, why(finding.TooLarge), nil},
		{"too large, named", []change{tooLarge, named}, why(finding.TooLarge), nil},
		{"too large, hashed", []change{hashedLarge}, why(finding.TooLarge), nil},

		// Signatures that untrusted digests repeat.
		{"repeated, in a copy", []change{inCopy, noMeta, repeatGood}, valid, nil},
		{"repeated wrongly, in a copy", []change{inCopy, noMeta, repeatBad}, with(unsigned, contradicted), nil},
		{"repeated wrongly and well, in a copy", []change{inCopy, noMeta, repeatBad, repeatGood}, valid, nil},
		{"repeated, broken sidecar", []change{inCopy, metaErr, repeatGood}, valid, nil},
		{"repeated, metadata lost", []change{noMeta, repeatGood}, proven(finding.DigestSignature), []string{"another digest proves"}},
		{"repeated, metadata unread", []change{metaErr, repeatGood}, valid, nil},
		{"repeated wrongly, own is good", []change{repeatBad}, valid, nil},
		{"repeated wrongly, named", []change{noMeta, inCopy, named, repeatBad}, valid, nil},
		{"repeated, own is bad", []change{badSignature, repeatGood}, proven(finding.DigestSignature), nil},
		{"repeated, own is bad, in a copy", []change{badSignature, repeatGood, inCopy}, proven(finding.DigestSignature), nil},
		{"repeated, altered", []change{altered, repeatGood}, with(bad(finding.DigestSignature), contradicted), nil},
		{"repeated wrongly, no keys", []change{inCopy, noMeta, repeatBad, noKeys}, withoutKey, nil},
		{"repeated, moved", []change{noMeta, repeatGood, otherBucket}, with(bad(finding.DigestMoved), signedFor), nil},

		// Metadata.
		{"metadata lost", []change{noMeta}, bad(finding.DigestSignature), []string{"no signature"}},
		{"metadata unread", []change{metaErr}, unsigned, []string{"metadata cannot be read"}},
		{"broken sidecar", []change{metaErr, inCopy}, unsigned, []string{"metadata cannot be read"}},
		{"odd metadata", []change{oddMeta}, bad(finding.DigestSignature), []string{"incomplete"}},
		{"odd metadata, in a copy", []change{oddMeta, inCopy}, bad(finding.DigestSignature), nil},

		// Keys.
		{"no keys", []change{noKeys}, withoutKey, nil},
		{"source fails", []change{sourceFails}, withoutKey, nil},
		{"unknown key, complete list", []change{keyUnknown}, bad(finding.DigestKeyUnknown), nil},
		{"unknown key, incomplete list", []change{incomplete}, withoutKey, nil},
		{"key of another region", []change{foreignKey}, bad(finding.DigestKeyUnknown), []string{"it is a key of eu-west-1"}},
		{"bytes of another key", []change{badKey}, bad(finding.DigestKeyUnknown), nil},
		{"unknown key, in a copy", []change{keyUnknown, inCopy, noMeta}, bad(finding.DigestKeyUnknown), nil},

		// Other places.
		{"in another bucket", []change{otherBucket}, with(bad(finding.DigestMoved), signedFor), nil},
		{"under another trail's name", []change{otherTrail}, with(bad(finding.DigestMoved), signedFor), nil},
		{"under another time", []change{otherTime}, with(bad(finding.DigestMoved), signedFor), nil},
		{"under another account", []change{otherAccount}, with(bad(finding.DigestMoved), signedFor), nil},
		{"under another prefix", []change{otherPrefix}, with(bad(finding.DigestMoved), signedFor), nil},
		{"under another prefix, in a copy", []change{otherPrefix, inCopy}, valid, nil},
		{"under another time, in a copy", []change{otherTime, inCopy}, with(bad(finding.DigestMoved), signedFor), nil},
		{"moved, no signature", []change{otherBucket, noMeta}, bad(finding.DigestMoved), nil},
		{"moved, bad signature", []change{otherBucket, badSignature}, bad(finding.DigestMoved), nil},
		{"moved, altered", []change{otherBucket, altered}, bad(finding.DigestMoved), nil},
		{"moved, no keys", []change{otherBucket, noKeys}, bad(finding.DigestMoved), nil},
		{"for another account", []change{reissued(func(d *testtrail.Doc) { d.Account = "444455556666" })}, with(bad(finding.DigestMoved), signedFor), []string{"is for account 444455556666"}},
		{"ends at another time", []change{reissued(func(d *testtrail.Doc) { d.End = "2026-03-01T01:09:11Z" })}, with(bad(finding.DigestMoved), signedFor), []string{"ends at 2026-03-01T01:09:11Z"}},

		// What was not read.
		{"missing", []change{absent}, bad(finding.DigestMissing), []string{"listed"}},
		{"missing, named", []change{absent, named}, bad(finding.DigestMissing), []string{chain.DetailNamed}},
		{"missing bucket", []change{failing(fmt.Errorf("%w: %w", finding.ErrNoBucket, fs.ErrNotExist))}, bad(finding.DigestMissing), nil},
		{"network", []change{failing(errors.New("timeout"))}, why(finding.Network), nil},
		{"network, named", []change{failing(errors.New("timeout")), named}, why(finding.Network), nil},
		{"network, and the rest did not come", []change{broken(errors.New("timeout"))}, with(why(finding.Network), keyed), nil},
		{"network, not parsed", []change{unparsed, broken(errors.New("timeout"))}, why(finding.Network), nil},
		{"refused", []change{failing(fs.ErrPermission)}, why(finding.AccessDenied), nil},
		{"key service", []change{failing(finding.ErrKMSDenied)}, why(finding.KMSDenied), nil},
		{"archived", []change{failing(finding.ErrArchived)}, why(finding.Archived), nil},
		{"throttled", []change{failing(finding.ErrThrottled)}, why(finding.Throttled), nil},
		{"not searched", []change{failing(finding.ErrNotSearched)}, why(finding.NotSearched), nil},

		// Evidence that is not whole.
		{"nothing", []change{nothing}, why(finding.Network), nil},
		{"nothing, named", []change{nothing, named}, why(finding.Network), nil},
		{"no digest, in a copy", []change{unparsed, inCopy}, why(finding.Network), nil},
		{"no digest, named", []change{unparsed, named}, with(why(finding.Network), trusted), nil},
		{"no hash, named", []change{forgetSum, named}, valid, nil},
		{"no hash, altered, named", []change{altered, forgetSum, named}, bad(finding.ChainMismatch), nil},

		// The clock.
		{"ends now", []change{now(0)}, valid, nil},
		{"ends later", []change{now(-time.Second)}, with(why(finding.Clock), keyed), nil},
		{"ends later, named", []change{now(-time.Second), named}, with(why(finding.Clock), keyed), nil},
		{"ends later, altered", []change{now(-time.Second), altered}, bad(finding.DigestSignature), nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := newEvidence()
			for _, c := range row.changes {
				c(e)
			}
			v := chain.Judge(t.Context(), e.keys, e.Evidence)
			if got := outcomeOf(v); got != row.want {
				t.Errorf("want %+v\n got %+v\n%s", row.want, got, v.Detail)
			}
			checkVerdict(t, e, v)
			for _, text := range row.detail {
				if !strings.Contains(v.Detail, text) {
					t.Errorf("detail %q does not say %q", v.Detail, text)
				}
			}
		})
	}
}

// checkVerdict checks what holds of each verdict.
func checkVerdict(t *testing.T, e *evidence, v chain.Verdict) {
	t.Helper()
	if (v.Status == chain.Invalid) != (v.Class != "") || (v.Status == chain.Unverified) != (v.Err != nil) || (v.Detail == "") != (v.Status == chain.Valid) {
		t.Errorf("parts do not agree: %+v", v)
	}
	if (v.Key.Fingerprint == "") != (v.Signature == "") {
		t.Errorf("key %q, signature %q", v.Key.Fingerprint, v.Signature)
	}
	if v.Signature != "" && e.File.Digest.Verify(v.Key, v.Signature) != nil {
		t.Error("the signature does not verify")
	}
	want := finding.Evidence{}
	if v.Status == chain.Invalid && e.Successor != nil {
		want.Want, want.Digest = e.Successor.Previous.Hash.String(), e.Successor.At.String()
	}
	if v.Evidence.Want != want.Want || v.Evidence.Digest != want.Digest {
		t.Errorf("evidence: want %+v, got %+v", want, v.Evidence)
	}
	if d := e.File.Digest; v.Status == chain.Invalid && d != nil && (v.Evidence.Got != d.Sum.String() || v.Evidence.StringToSign != d.StringToSign()) {
		t.Errorf("evidence is not of the digest: %+v", v.Evidence)
	}
	if d := e.File.Digest; v.Class == finding.ChainMismatch && d == nil && v.Evidence.Got != e.File.Sum.String() {
		t.Errorf("evidence lacks the hash: %+v", v.Evidence)
	}
}

// The evidence of a wrong signature is the signature that was checked.
func TestJudgeEvidence(t *testing.T) {
	for _, row := range []struct {
		name    string
		changes []change
		want    func(*evidence) string
	}{
		{"wrong", []change{badSignature}, func(e *evidence) string { return e.other.Signature }},
		{"wrong, named", []change{badSignature, named}, func(e *evidence) string { return e.own.Signature }},
		{"lost", []change{noMeta}, func(*evidence) string { return "" }},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := newEvidence()
			for _, c := range row.changes {
				c(e)
			}
			if got := chain.Judge(t.Context(), e.keys, e.Evidence).Evidence.Signature; got != row.want(e) {
				t.Errorf("got %.20q", got)
			}
		})
	}
}

func TestJudgeBackfill(t *testing.T) {
	w, c := newChain(testtrail.Options{}, 1)
	d := c.Backfill(day).Hour(w.Log(1))
	e := chain.Evidence{Key: parseKey(d.Key), At: trail.Object{Bucket: d.Bucket, Key: d.Key}}
	valid := outcome{Status: chain.Valid, Trusted: true, Key: true}
	set := w.KeySet(day, day)
	set.Complete = []digest.Extent{{Region: region, From: day.AddDate(0, -1, 0), To: day.AddDate(2, 0, 0)}}
	keys := chain.Saved(set)
	for _, row := range []struct {
		name, generated, fingerprint string
		want                         outcome
	}{
		{"generated", d.Meta[digest.MetaBackfillGenerated], "", valid},
		{"no time", "", "", valid},
		{"odd time", "yesterday", "", valid},
		{"no time, unknown key", "", "ff", outcome{Status: chain.Unverified, Reason: finding.NoKeys}},
		{"generated, unknown key", d.Meta[digest.MetaBackfillGenerated], "ff", outcome{Status: chain.Invalid, Class: finding.DigestKeyUnknown}},
		{"generated a year later", day.AddDate(1, 0, 0).Format(time.RFC3339), "", outcome{Status: chain.Invalid, Class: finding.DigestKeyUnknown}},
	} {
		t.Run(row.name, func(t *testing.T) {
			meta := map[string]string{digest.MetaSignature: d.Signature, digest.MetaSignatureAlgorithm: digest.SignatureAlgorithm}
			if row.generated != "" {
				meta[digest.MetaBackfillGenerated] = row.generated
			}
			e.File = fileOf(d.Body, meta)
			if row.fingerprint != "" {
				e.File.Digest.Fingerprint = row.fingerprint
			}
			if got := outcomeOf(chain.Judge(t.Context(), keys, e)); got != row.want {
				t.Errorf("want %+v\n got %+v", row.want, got)
			}
		})
	}
	// An hour's digest is signed within a month of its end, whatever its metadata says.
	e = chain.Evidence{Key: parseKey(c.Issued[1].Key), At: trail.Object{Bucket: c.Issued[1].Bucket, Key: c.Issued[1].Key}}
	e.File = fileOf(c.Issued[1].Body, c.Issued[1].Meta)
	e.File.Meta[digest.MetaBackfillGenerated] = day.AddDate(1, 0, 0).Format(time.RFC3339)
	if v := chain.Judge(t.Context(), keyring(w), e); v.Status != chain.Valid {
		t.Errorf("an hour's digest with a time of generation: %v", v)
	}
}

func TestStatus(t *testing.T) {
	for s, want := range map[chain.Status]string{0: "not judged", chain.Valid: "valid", chain.Invalid: "invalid", chain.Unverified: "unverified"} {
		if s.String() != want {
			t.Errorf("%d: %q", s, s)
		}
	}
}
