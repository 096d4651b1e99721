package digest_test

import (
	"crypto"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// A digest file as it is after gunzip: the starting digest of a chain.
const starting = `{"awsAccountId":"111122223333",` +
	`"digestStartTime":"2026-03-01T11:08:11Z","digestEndTime":"2026-03-01T12:08:11Z","digestS3Bucket":"trail-bucket",` +
	`"digestS3Object":"AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/03/01/111122223333_CloudTrail-Digest_eu-west-1_main_us-east-1_20260301T120811Z.json.gz",` +
	`"digestPublicKeyFingerprint":"FINGERPRINT","digestSignatureAlgorithm":"SHA256withRSA","newestEventTime":null,"oldestEventTime":null,` +
	`"previousDigestS3Bucket":null,"previousDigestS3Object":null,"previousDigestHashValue":null,"previousDigestHashAlgorithm":null,` +
	`"previousDigestSignature":null,"logFiles":[]}`

// Parse and verify one digest: its own place, the key it names, its signature.
func Example() {
	body, meta, keys := issue() // in life: GetObject, gunzip; GetObject's user metadata; ListPublicKeys

	d, err := digest.Parse(body)
	if err != nil {
		fmt.Println(err)
		return
	}
	// The key that the object was found under, not the one that it names.
	found, err := trail.ParseDigestKey("AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/03/01/" +
		"111122223333_CloudTrail-Digest_eu-west-1_main_us-east-1_20260301T120811Z.json.gz")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("location:", d.CheckLocation("trail-bucket", found))

	key, err := keys.Find(found.Region, d.Fingerprint, d.End)
	if err != nil {
		fmt.Println(err)
		return
	}
	signature, err := digest.Signature(meta)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("signature:", d.Verify(key, signature))

	d.Bucket = "another-bucket"
	fmt.Println("signature:", d.Verify(key, signature))
	// Output:
	// location: <nil>
	// signature: <nil>
	// signature: signature verification failed
}

func ExampleStringToSign() {
	body := []byte("the inflated bytes of the digest file")
	fmt.Println(digest.StringToSign("2026-03-01T12:08:11Z", "trail-bucket", "AWSLogs/...json.gz", sha256.Sum256(body), "null"))
	// Output:
	// 2026-03-01T12:08:11Z
	// trail-bucket/AWSLogs/...json.gz
	// 6e4961dbbae36dacbe5282375658da33796cbfe06e32bb97f66e8701553bbf38
	// null
}

// issue does what CloudTrail does, with a key made up on the spot.
func issue() (body []byte, meta map[string]string, keys digest.KeySet) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	der := x509.MarshalPKCS1PublicKey(&private.PublicKey)
	fingerprint := md5.Sum(der)
	key, err := digest.NewKey("eu-west-1", base64.StdEncoding.EncodeToString(der), hex.EncodeToString(fingerprint[:]),
		time.Date(2026, 2, 15, 0, 0, 0, 0, time.UTC), time.Date(2026, 3, 17, 0, 0, 0, 0, time.UTC))
	if err != nil {
		panic(err)
	}
	body = []byte(strings.Replace(starting, "FINGERPRINT", key.Fingerprint, 1))
	d, err := digest.Parse(body)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256([]byte(d.StringToSign()))
	signature, err := rsa.SignPKCS1v15(nil, private, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	meta = map[string]string{digest.MetaSignature: hex.EncodeToString(signature), digest.MetaSignatureAlgorithm: digest.SignatureAlgorithm}
	return body, meta, digest.KeySet{Keys: []digest.Key{key}}
}
