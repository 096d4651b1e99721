package digest

import "errors"

// Check errors. Each says what is wrong with the evidence, never that it could
// not be looked at; what a check returns wraps one of them.
var (
	// ErrFormat: not strict JSON, a required member absent or malformed.
	ErrFormat = errors.New("invalid digest format")
	// ErrAlgorithm: a signature or hash algorithm other than the documented one.
	ErrAlgorithm = errors.New("unknown algorithm")
	// ErrSignature: absent where one must be, not hex, or not made by the key
	// over this string to sign.
	ErrSignature = errors.New("signature verification failed")
	// ErrKeyUnknown: the list of keys is complete for the region and the time in
	// which the digest can have been signed, and has no key with that fingerprint.
	ErrKeyUnknown = errors.New("public key not found")
	// ErrKey: a public key that is neither PKCS #1 nor SubjectPublicKeyInfo, or
	// whose fingerprint is not the MD5 of its bytes.
	ErrKey = errors.New("bad public key")
	// ErrMoved: the digest names another place than the one it was found in.
	ErrMoved = errors.New("moved from its original location")
	// ErrLink: a digest is not the one its successor was signed over.
	ErrLink = errors.New("not the digest its successor names")
	// ErrWindow: linked digests whose hours overlap or leave a hole.
	ErrWindow = errors.New("windows do not meet")
	// ErrMisplaced: a digest lists a log file of another account, region or
	// bucket.
	ErrMisplaced = errors.New("log file of another place")
	// ErrModified: a log file's bytes are not those that were signed for.
	ErrModified = errors.New("hash value does not match")
)

// ErrUnsigned says that no signature of a digest is to be had, as for the
// newest digest of a copy without object metadata. It is no check error.
var ErrUnsigned = errors.New("no signature to be had")

// ErrNoKeys says that no public key could be had for a region and time. It is
// no check error: nothing was found wrong.
var ErrNoKeys = errors.New("no public keys")
