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

// signLag is how long after its end a digest may have been signed. Keys
// rotate, so a key that became valid in that time may have signed it.
const signLag = 2 * time.Hour

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

// signedAt reports whether the key was valid at some moment at which a digest
// for time t can have been signed.
func (k Key) signedAt(t time.Time) bool { return !k.From.After(t.Add(signLag)) && !k.To.Before(t) }

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

// Find returns the key with the fingerprint that a digest of the region, ended
// (for backfill: generated) at t, can have been signed with. Where there is
// none it returns ErrKeyUnknown if the set holds every key of that region and
// time, else ErrNoKeys. A key whose fingerprint is not that of its bytes is
// ErrKey.
func (s KeySet) Find(region, fingerprint string, t time.Time) (Key, error) {
	why := ""
	for _, k := range s.Keys {
		if k.Fingerprint != fingerprint {
			continue
		}
		switch {
		case k.Region != "" && k.Region != region:
			why = fmt.Sprintf(" (it is a key of %s)", k.Region)
		case !t.IsZero() && !k.signedAt(t):
			why = fmt.Sprintf(" (that key is valid from %s to %s)", k.From.Format(time.RFC3339), k.To.Format(time.RFC3339))
		default:
			return k, k.CheckFingerprint()
		}
	}
	err := ErrNoKeys
	if why != "" || s.complete(region, t) {
		err = ErrKeyUnknown
	}
	return Key{}, fmt.Errorf("fingerprint %s in %s at %s%s: %w", fingerprint, region, t.Format(time.RFC3339), why, err)
}

// complete reports whether the set holds every key that can have signed a
// digest of t, those included that became valid between its end and its
// signing.
func (s KeySet) complete(region string, t time.Time) bool {
	return slices.ContainsFunc(s.Complete, func(e Extent) bool {
		return e.Region == region && !t.Before(e.From) && !t.Add(signLag).After(e.To)
	})
}

// Merge returns the keys and extents of both sets, each key once, in the order
// of region, time and fingerprint.
func (s KeySet) Merge(o KeySet) KeySet {
	m := KeySet{Keys: slices.Concat(s.Keys, o.Keys), Complete: slices.Concat(s.Complete, o.Complete)}
	slices.SortFunc(m.Keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Region, b.Region), a.From.Compare(b.From), cmp.Compare(a.Fingerprint, b.Fingerprint))
	})
	m.Keys = slices.CompactFunc(m.Keys, func(a, b Key) bool {
		return a.Region == b.Region && a.Fingerprint == b.Fingerprint && slices.Equal(a.DER, b.DER)
	})
	return m
}
