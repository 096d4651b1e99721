package digest_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/pkg/digest"
)

func TestKeyForms(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecDER, err := x509.MarshalPKIXPublicKey(&ec.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sig := sign("text")
	for name, tt := range map[string]struct {
		der  []byte
		want error
	}{
		"PKCS #1":              {pkcs1(), nil},
		"SubjectPublicKeyInfo": {spki(), nil},
		"empty":                {nil, digest.ErrKey},
		"text":                 {[]byte("key"), digest.ErrKey},
		"PEM":                  {[]byte("-----BEGIN RSA PUBLIC KEY-----"), digest.ErrKey},
		"cut off":              {pkcs1()[:200], digest.ErrKey},
		"bytes after PKCS #1":  {append(bytes.Clone(pkcs1()), 0), digest.ErrKey},
		"bytes after SPKI":     {append(bytes.Clone(spki()), 0), digest.ErrKey},
		"elliptic curve":       {ecDER, digest.ErrKey},
		"private key":          {x509.MarshalPKCS1PrivateKey(testKey()), digest.ErrKey},
	} {
		k := publicKey("eu-west-1", tt.der)
		if pub, err := k.RSA(); !errors.Is(err, tt.want) || (err == nil) != (pub != nil && pub.Equal(&testKey().PublicKey)) {
			t.Errorf("%s: RSA: %v", name, err)
		}
		if err := k.Verify("text", sig); !errors.Is(err, tt.want) {
			t.Errorf("%s: Verify: %v", name, err)
		}
		if err := k.CheckFingerprint(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		k.Fingerprint = strings.ToUpper(k.Fingerprint)
		if err := k.CheckFingerprint(); !errors.Is(err, digest.ErrKey) {
			t.Errorf("%s: fingerprint %s: %v", name, k.Fingerprint, err)
		}
	}
}

func TestFind(t *testing.T) {
	const region = "eu-west-1"
	k := publicKey(region, pkcs1())
	fp := k.Fingerprint
	extent := digest.Extent{Region: region, From: k.From.AddDate(0, 0, -60), To: k.To.AddDate(0, 0, 60)}
	complete := digest.KeySet{Keys: []digest.Key{k}, Complete: []digest.Extent{extent}}
	partial := digest.KeySet{Keys: []digest.Key{k}}
	saved := k
	saved.Region = "" // a list saved by the AWS CLI
	forged := k
	forged.DER = spki()
	in := k.From.Add(24 * time.Hour)
	const lag = 2 * time.Hour
	for _, tt := range []struct {
		name   string
		set    digest.KeySet
		region string
		fp     string
		at     time.Time
		want   error
	}{
		{"control", complete, region, fp, in, nil},
		{"no complete list", partial, region, fp, in, nil},
		{"region not known", digest.KeySet{Keys: []digest.Key{saved}}, region, fp, in, nil},
		{"time not known", partial, region, fp, time.Time{}, nil},
		{"first moment", complete, region, fp, k.From, nil},
		{"signed after the rotation", complete, region, fp, k.From.Add(-lag), nil},
		{"before the rotation", complete, region, fp, k.From.Add(-lag - time.Second), digest.ErrKeyUnknown},
		{"last moment", complete, region, fp, k.To, nil},
		{"after its validity", complete, region, fp, k.To.Add(time.Second), digest.ErrKeyUnknown},
		{"after its validity, no complete list", partial, region, fp, k.To.Add(time.Second), digest.ErrKeyUnknown},
		{"key of another region", partial, "us-east-1", fp, in, digest.ErrKeyUnknown},
		{"unknown key", complete, region, strings.Repeat("0", 32), in, digest.ErrKeyUnknown},
		{"unknown key, no complete list", partial, region, strings.Repeat("0", 32), in, digest.ErrNoKeys},
		{"unknown key, complete for another region", complete, "us-east-1", strings.Repeat("0", 32), in, digest.ErrNoKeys},
		{"unknown key, time not known", complete, region, strings.Repeat("0", 32), time.Time{}, digest.ErrNoKeys},
		{"unknown key, extent begins then", complete, region, strings.Repeat("0", 32), extent.From, digest.ErrKeyUnknown},
		{"unknown key, before the extent", complete, region, strings.Repeat("0", 32), extent.From.Add(-1), digest.ErrNoKeys},
		{"unknown key, extent reaches its signing", complete, region, strings.Repeat("0", 32), extent.To.Add(-lag), digest.ErrKeyUnknown},
		{"unknown key, extent ends before its signing", complete, region, strings.Repeat("0", 32), extent.To.Add(-lag + 1), digest.ErrNoKeys},
		{"fingerprint in upper case", complete, region, strings.ToUpper(fp), in, digest.ErrKeyUnknown},
		{"empty set", digest.KeySet{}, region, fp, in, digest.ErrNoKeys},
		{"empty list that is complete", digest.KeySet{Complete: complete.Complete}, region, fp, in, digest.ErrKeyUnknown},
		{"bytes of another key", digest.KeySet{Keys: []digest.Key{forged}}, region, fp, in, digest.ErrKey},
		{"expired twin in front", digest.KeySet{Keys: []digest.Key{{Fingerprint: fp, DER: k.DER, To: k.From}, k}}, region, fp, in, nil},
	} {
		got, err := tt.set.Find(tt.region, tt.fp, tt.at)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if err == nil && (got.Fingerprint != fp || !bytes.Equal(got.DER, k.DER)) {
			t.Errorf("%s: got %+v", tt.name, got)
		}
	}
}

func TestMerge(t *testing.T) {
	a, b := publicKey("eu-west-1", pkcs1()), publicKey("eu-west-1", spki())
	c := publicKey("ap-south-1", pkcs1())
	e1 := digest.Extent{Region: "eu-west-1", From: a.From, To: a.To}
	e2 := digest.Extent{Region: "ap-south-1", From: a.From, To: a.To}
	x := digest.KeySet{Keys: []digest.Key{a, b}, Complete: []digest.Extent{e1}}
	y := digest.KeySet{Keys: []digest.Key{c, a}, Complete: []digest.Extent{e2}}
	m, n := x.Merge(y), y.Merge(x)
	if len(m.Keys) != 3 || len(m.Complete) != 2 {
		t.Fatalf("got %d keys, %d extents", len(m.Keys), len(m.Complete))
	}
	for i := range m.Keys {
		if m.Keys[i].Region != n.Keys[i].Region || !bytes.Equal(m.Keys[i].DER, n.Keys[i].DER) {
			t.Errorf("key %d depends on the order of merging", i)
		}
	}
	if m.Keys[0].Region != "ap-south-1" {
		t.Errorf("first is a key of %s", m.Keys[0].Region)
	}
	if len(x.Keys) != 2 || len(y.Keys) != 2 {
		t.Error("merging changed its operands")
	}
	for _, region := range []string{"eu-west-1", "ap-south-1"} {
		if _, err := m.Find(region, strings.Repeat("0", 32), a.From.AddDate(0, 0, 1)); !errors.Is(err, digest.ErrKeyUnknown) {
			t.Errorf("%s: %v", region, err)
		}
	}
}
