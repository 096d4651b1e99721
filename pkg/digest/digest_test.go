package digest_test

import (
	"crypto"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

const (
	folder = "AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/03/01/"
	object = folder + "111122223333_CloudTrail-Digest_eu-west-1_main_us-east-1_20260301T120811Z.json.gz"
	before = folder + "111122223333_CloudTrail-Digest_eu-west-1_main_us-east-1_20260301T110811Z.json.gz"
	logKey = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/01/111122223333_CloudTrail_eu-west-1_20260301T1130Z_abcdEFGH01234567.json.gz"
	hashA  = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hashB  = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	oneLog = `{"s3Bucket":"bucket","s3Object":"` + logKey + `","hashValue":"` + hashB + `","hashAlgorithm":"SHA-256",` +
		`"newestEventTime":"2026-03-01T11:29:00Z","oldestEventTime":"2026-03-01T11:21:00Z"}`
	previous = `"previousDigestS3Bucket":"bucket","previousDigestS3Object":"` + before + `",` +
		`"previousDigestHashValue":"` + hashA + `","previousDigestHashAlgorithm":"SHA-256","previousDigestSignature":"0a0b"`
	noPrevious = `"previousDigestS3Bucket":null,"previousDigestS3Object":null,` +
		`"previousDigestHashValue":null,"previousDigestHashAlgorithm":null,"previousDigestSignature":null`
	good = `{"awsAccountId":"111122223333","digestStartTime":"2026-03-01T11:08:11Z","digestEndTime":"2026-03-01T12:08:11Z",` +
		`"digestS3Bucket":"bucket","digestS3Object":"` + object + `","digestPublicKeyFingerprint":"31e8b5433410dfb61a9dc45cc65b22ff",` +
		`"digestSignatureAlgorithm":"SHA256withRSA","newestEventTime":"2026-03-01T11:29:00Z","oldestEventTime":"2026-03-01T11:21:00Z",` +
		previous + `,"logFiles":[` + oneLog + `]}`
)

// swap replaces the one place where good has old.
func swap(old, new string) string {
	if strings.Count(good, old) != 1 {
		panic(fmt.Sprintf("%q is there %d times", old, strings.Count(good, old)))
	}
	return strings.Replace(good, old, new, 1)
}

func parse(t *testing.T, text string) *digest.Digest {
	t.Helper()
	d, err := digest.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// publicKey wraps DER bytes as CloudTrail would list them, valid on 2026-03-01.
func publicKey(region string, der []byte) digest.Key {
	sum := md5.Sum(der)
	return digest.Key{
		Region: region, Fingerprint: hex.EncodeToString(sum[:]), DER: der,
		From: time.Date(2026, 2, 15, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 3, 17, 0, 0, 0, 0, time.UTC),
	}
}

func pkcs1() []byte { return x509.MarshalPKCS1PublicKey(&testKey().PublicKey) }

func spki() []byte {
	der, err := x509.MarshalPKIXPublicKey(&testKey().PublicKey)
	if err != nil {
		panic(err)
	}
	return der
}

func sign(text string) string {
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(nil, testKey(), crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return hex.EncodeToString(sig)
}

func digestKey(t *testing.T, key string) trail.DigestKey {
	t.Helper()
	k, err := trail.ParseDigestKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
