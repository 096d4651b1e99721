package digest_test

import (
	"crypto"
	"crypto/rsa"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/trailseal/trailseal/pkg/digest"
)

// Genuine keys and signatures of AWS: the padding, the hash and the
// fingerprint are CloudTrail's own, not what this package supposes them to be.

type knownAnswers struct {
	Keys []struct {
		Fingerprint, Value string
		From, To           int64
	}
	Signatures []knownSignature
}

type knownSignature struct {
	Fingerprint, SHA256, Signature string
}

func TestKnownAnswers(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "aws_known_answers.json"))
	if err != nil {
		t.Fatal(err)
	}
	var known knownAnswers
	if err := json.Unmarshal(b, &known); err != nil {
		t.Fatal(err)
	}
	if len(known.Keys) != 3 || len(known.Signatures) != 2 {
		t.Fatalf("%d keys, %d signatures", len(known.Keys), len(known.Signatures))
	}
	var set digest.KeySet
	for _, e := range known.Keys {
		k, err := digest.NewKey("us-east-2", e.Value, e.Fingerprint, time.Unix(e.From, 0), time.Unix(e.To, 0))
		if err != nil {
			t.Fatal(err)
		}
		if days := k.To.Sub(k.From).Hours() / 24; days != 30 {
			t.Errorf("key %s is valid for %v days", k.Fingerprint, days)
		}
		set.Keys = append(set.Keys, k)
	}
	checkKnown(t, set, known.Signatures)
}

// The whole collection, where it is at hand, as the AWS CLI would have saved it.
func TestKnownAnswersOfCollection(t *testing.T) {
	root := os.Getenv("TRAILSEAL_DATA")
	if root == "" {
		t.Skip("TRAILSEAL_DATA is not set: no collection of known answers")
	}
	b, err := os.ReadFile(filepath.Join(root, "kat", "kat_aws_docs.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Keys json.RawMessage
		KAT  []struct {
			Fingerprint, Signature string
			SHA256                 string `json:"sha256_of_string_to_sign"`
		}
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	set, err := digest.ParseKeySet([]byte(`{"PublicKeyList":` + string(file.Keys) + `}`))
	if err != nil {
		t.Fatal(err)
	}
	var signatures []knownSignature
	for _, s := range file.KAT {
		signatures = append(signatures, knownSignature{s.Fingerprint, s.SHA256, s.Signature})
	}
	checkKnown(t, set, signatures)
}

func checkKnown(t *testing.T, set digest.KeySet, signatures []knownSignature) {
	t.Helper()
	if len(signatures) == 0 {
		t.Fatal("no signatures")
	}
	for _, k := range set.Keys {
		if err := k.CheckFingerprint(); err != nil {
			t.Error(err)
		}
		pub, err := k.RSA()
		if err != nil || pub.Size() != 256 {
			t.Errorf("%s: %v", k.Fingerprint, err)
		}
	}
	for i, s := range signatures {
		k, err := set.Find("us-east-2", s.Fingerprint, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		pub, err := k.RSA()
		if err != nil {
			t.Fatal(err)
		}
		sum, sig := unhex(t, s.SHA256), unhex(t, s.Signature)
		if err := rsa.VerifyPKCS1v15(pub, crypto.SHA256, sum, sig); err != nil {
			t.Errorf("signature %d: %v", i, err)
		}
		// The same signature over anything else is refused by this package.
		if err := k.Verify("text "+strconv.Itoa(i), s.Signature); err == nil {
			t.Errorf("signature %d is good for another text", i)
		}
		sum[0] ^= 1
		if rsa.VerifyPKCS1v15(pub, crypto.SHA256, sum, sig) == nil {
			t.Errorf("signature %d is good for another hash", i)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
