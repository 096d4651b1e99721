package digest

import (
	"cmp"
	"crypto"
	"crypto/md5" //nolint:gosec // the fingerprint is defined as MD5; nothing rests on its strength
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// SignedWithin is how long after its end a digest may have been signed, with a
// key that was valid at that moment: CloudTrail retries the delivery to a bucket
// that refuses it for 30 days (AWS CloudTrail User Guide, "Getting and viewing your
// CloudTrail log files"). One more day allows for retries that take a while.
const SignedWithin = 31 * 24 * time.Hour

// Key is a public key as CloudTrail's ListPublicKeys serves it.
type Key struct {
	Region      string // "" when not known: a list saved by the AWS CLI names none
	Fingerprint string // lower-case hex MD5 of DER, as served
	DER         []byte // PKCS #1 RSAPublicKey or SubjectPublicKeyInfo
	From, To    time.Time
}

// RSA decodes the key. Errors wrap ErrKey.
func (k Key) RSA() (*rsa.PublicKey, error) {
	if pub, err := x509.ParsePKCS1PublicKey(k.DER); err == nil {
		return pub, nil
	}
	any, err := x509.ParsePKIXPublicKey(k.DER)
	if err != nil {
		return nil, fmt.Errorf("key %s: neither PKCS #1 nor SubjectPublicKeyInfo: %w", k.Fingerprint, ErrKey)
	}
	pub, ok := any.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("key %s: not RSA: %w", k.Fingerprint, ErrKey)
	}
	return pub, nil
}

// CheckFingerprint compares the key's fingerprint with the MD5 of its bytes.
func (k Key) CheckFingerprint() error {
	if sum := md5.Sum(k.DER); hex.EncodeToString(sum[:]) != k.Fingerprint { //nolint:gosec // see the import
		return fmt.Errorf("key %s: its bytes have the fingerprint %x: %w", k.Fingerprint, sum, ErrKey)
	}
	return nil
}

// Verify checks an RSASSA-PKCS1-v1_5 SHA-256 signature, in hex, over text.
// Errors wrap ErrKey or ErrSignature.
func (k Key) Verify(text, signature string) error {
	pub, err := k.RSA()
	if err != nil {
		return err
	}
	sig, err := hex.DecodeString(signature)
	if err != nil {
		return fmt.Errorf("signature is not hex: %w", ErrSignature)
	}
	sum := sha256.Sum256([]byte(text))
	if rsa.VerifyPKCS1v15(pub, crypto.SHA256, sum[:], sig) != nil {
		return ErrSignature
	}
	return nil
}

// canSign reports whether the key can have signed a digest of the region that
// ended at t: it is a key of that region, and was valid at some moment between t
// and SignedWithin later. A zero t is any time.
func (k Key) canSign(region string, t time.Time) bool {
	return k.isOf(region) && (t.IsZero() || !k.From.After(t.Add(SignedWithin)) && !k.To.Before(t))
}

func (k Key) isOf(region string) bool { return k.Region == "" || k.Region == region }

// Extent is a region and a time range for which a KeySet holds every key.
type Extent struct {
	Region   string
	From, To time.Time
}

// KeySet is a list of public keys. The zero KeySet holds none.
type KeySet struct {
	Keys     []Key
	Complete []Extent
}

// Find returns the key with the fingerprint if it can have signed a digest of the
// region that ended (a backfill digest: was generated) at t. A key can have signed
// the digest if it was valid between t and SignedWithin later. With a zero t any
// key of the region can.
//
// Where there is no such key, the error is ErrKeyUnknown if the set is complete
// for the region from t to SignedWithin later, else ErrNoKeys. It is ErrKey for a
// key whose fingerprint is not that of its bytes.
func (s KeySet) Find(region, fingerprint string, t time.Time) (Key, error) {
	why := ""
	for _, k := range s.Keys {
		switch {
		case k.Fingerprint != fingerprint:
		case k.canSign(region, t):
			return k, k.CheckFingerprint()
		case !k.isOf(region):
			why = fmt.Sprintf(" (it is a key of %s)", k.Region)
		default:
			why = fmt.Sprintf(
				" (that key is valid from %s to %s)",
				k.From.Format(time.RFC3339),
				k.To.Format(time.RFC3339),
			)
		}
	}
	err := ErrNoKeys
	if s.complete(region, t) {
		err = ErrKeyUnknown
	}
	return Key{}, fmt.Errorf("fingerprint %s in %s at %s%s: %w", fingerprint, region, t.Format(time.RFC3339), why, err)
}

// At returns the keys that can have signed a digest of the region that ended at
// t, in their order, by the rule of Find. It leaves out keys whose fingerprint is
// not that of their bytes.
func (s KeySet) At(region string, t time.Time) []Key {
	var all []Key
	for _, k := range s.Keys {
		if k.canSign(region, t) && k.CheckFingerprint() == nil {
			all = append(all, k)
		}
	}
	return all
}

// complete reports whether the extents of the region, which may overlap or
// adjoin each other, cover the time from t to SignedWithin later. They never
// cover a zero t.
func (s KeySet) complete(region string, t time.Time) bool {
	if t.IsZero() {
		return false
	}
	extents := slices.SortedFunc(slices.Values(s.Complete), func(a, b Extent) int { return a.From.Compare(b.From) })
	from, to := t, t.Add(SignedWithin) // what is not covered yet
	for _, e := range extents {
		if e.Region != region || e.To.Before(from) {
			continue
		}
		if e.From.After(from) {
			return false
		}
		if from = e.To; !from.Before(to) {
			return true
		}
	}
	return false
}

// Merge returns the keys and extents of both sets, each key once, in the order
// of region, time and fingerprint.
func (s KeySet) Merge(o KeySet) KeySet {
	m := KeySet{Keys: slices.Concat(s.Keys, o.Keys), Complete: slices.Concat(s.Complete, o.Complete)}
	slices.SortFunc(m.Keys, func(a, b Key) int {
		return cmp.Or(
			cmp.Compare(a.Region, b.Region),
			a.From.Compare(b.From),
			cmp.Compare(a.Fingerprint, b.Fingerprint),
		)
	})
	m.Keys = slices.CompactFunc(m.Keys, func(a, b Key) bool {
		return a.Region == b.Region && a.Fingerprint == b.Fingerprint && slices.Equal(a.DER, b.DER)
	})
	return m
}
