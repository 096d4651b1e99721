package digest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/trailseal/trailseal/pkg/digest"
)

// What Parse accepts, every reader of JSON reads in the same way: no digest
// may say one thing here and another elsewhere.
func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(strings.ReplaceAll(good, "/", `\/`)))
	f.Add([]byte(swap(previous, noPrevious)))
	f.Add([]byte(swap(oneLog, "")))
	f.Add([]byte(swap(oneLog, oneLog+","+oneLog)))
	f.Add([]byte(swap(`{"aws`, `{"DigestS3Bucket":"x","aws`)))
	f.Add([]byte(swap(`{"aws`, `{"digestS3Buc\u212aet":"x","aws`)))
	f.Add([]byte(swap(`{"aws`, `{"awſAccountId":"x","aws`)))
	f.Add([]byte(good + "\n{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := digest.Parse(b)
		if err != nil {
			if d != nil || !errors.Is(err, digest.ErrFormat) && !errors.Is(err, digest.ErrAlgorithm) {
				t.Errorf("%q: %v", b, err)
			}
			return
		}
		if !jsontext.Value(bytes.TrimSpace(b)).IsValid() {
			t.Errorf("accepted what is no strict JSON: %q", b)
		}
		var v1 loose
		if err := json.Unmarshal(b, &v1); err != nil {
			t.Fatalf("accepted %q: %v", b, err)
		}
		if len(v1.LogFiles) == 0 {
			v1.LogFiles = nil
		}
		if got := loosen(d); !reflect.DeepEqual(got, v1) {
			t.Errorf("%q:\nhere      %+v\nelsewhere %+v", b, got, v1)
		}
	})
}

// loose is a digest as a reader of the everyday kind sees it.
type loose struct {
	AwsAccountId, DigestStartTime, DigestEndTime, DigestS3Bucket, DigestS3Object string
	DigestPublicKeyFingerprint, DigestSignatureAlgorithm                         string
	PreviousDigestS3Bucket, PreviousDigestS3Object, PreviousDigestHashValue      *string
	PreviousDigestHashAlgorithm, PreviousDigestSignature                         *string
	LogFiles                                                                     []looseLog
}

type looseLog struct{ S3Bucket, S3Object, HashValue, HashAlgorithm string }

func loosen(d *digest.Digest) loose {
	l := loose{
		AwsAccountId: d.Account, DigestStartTime: d.Start.Format(time.RFC3339), DigestEndTime: d.EndText,
		DigestS3Bucket: d.Bucket, DigestS3Object: d.Object,
		DigestPublicKeyFingerprint: d.Fingerprint, DigestSignatureAlgorithm: d.SignatureAlgorithm,
	}
	if p := d.Previous; p != nil {
		hash := p.Hash.String()
		l.PreviousDigestS3Bucket, l.PreviousDigestS3Object, l.PreviousDigestHashValue = &p.Bucket, &p.Object, &hash
		l.PreviousDigestHashAlgorithm, l.PreviousDigestSignature = &p.HashAlgorithm, &p.Signature
	}
	for _, f := range d.Logs {
		l.LogFiles = append(l.LogFiles, looseLog{f.Bucket, f.Object, f.Hash.String(), digest.HashAlgorithm})
	}
	return l
}

// A list that is read and written again is the same list.
func FuzzParseKeySet(f *testing.F) {
	f.Add([]byte(keyList("1434589460.25", "1437181460")))
	f.Add([]byte(keyList(`"2015-06-18T01:04:20.5+02:00"`, `"1437181460"`)))
	set := digest.KeySet{Keys: []digest.Key{publicKey("eu-west-1", spki())}, Complete: []digest.Extent{{Region: "eu-west-1"}}}
	b, err := set.JSON()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := digest.ParseKeySet(b)
		if err != nil {
			if !errors.Is(err, digest.ErrKey) {
				t.Errorf("%q: %v", b, err)
			}
			return
		}
		text, err := s.JSON()
		if err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		back, err := digest.ParseKeySet(text)
		if err != nil || !reflect.DeepEqual(back, s) {
			t.Errorf("%q: written as %s, comes back as %+v, %v", b, text, back, err)
		}
	})
}
