package digest_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"slices"
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
	extent := digest.Extent{Region: region, From: k.From.AddDate(0, 0, -90), To: k.To.AddDate(0, 0, 90)}
	complete := digest.KeySet{Keys: []digest.Key{k}, Complete: []digest.Extent{extent}}
	partial := digest.KeySet{Keys: []digest.Key{k}}
	saved := k
	saved.Region = "" // a list saved by the AWS CLI
	forged := k
	forged.DER = spki()
	in := k.From.Add(24 * time.Hour)
	const lag = 31 * 24 * time.Hour // CloudTrail retries for 30 days
	unknown := strings.Repeat("0", 32)
	// pieces are sets without keys whose extents cover what the hours say.
	pieces := func(hours ...[2]int) digest.KeySet {
		s := digest.KeySet{Complete: []digest.Extent{{Region: "us-east-1", From: extent.From, To: extent.To}}}
		for _, h := range hours {
			s.Complete = append(s.Complete, digest.Extent{Region: region, From: in.Add(time.Duration(h[0]) * time.Hour), To: in.Add(time.Duration(h[1]) * time.Hour)})
		}
		return s
	}
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
		{"after its validity, no complete list", partial, region, fp, k.To.Add(time.Second), digest.ErrNoKeys},
		{"key of another region", digest.KeySet{Keys: partial.Keys, Complete: pieces().Complete}, "us-east-1", fp, in, digest.ErrKeyUnknown},
		{"key of another region, no complete list", partial, "us-east-1", fp, in, digest.ErrNoKeys},
		{"unknown key", complete, region, unknown, in, digest.ErrKeyUnknown},
		{"unknown key, no complete list", partial, region, unknown, in, digest.ErrNoKeys},
		{"unknown key, complete for another region", complete, "us-east-1", unknown, in, digest.ErrNoKeys},
		{"unknown key, time not known", complete, region, unknown, time.Time{}, digest.ErrNoKeys},
		{"unknown key, extent begins then", complete, region, unknown, extent.From, digest.ErrKeyUnknown},
		{"unknown key, before the extent", complete, region, unknown, extent.From.Add(-1), digest.ErrNoKeys},
		{"unknown key, extent reaches its signing", complete, region, unknown, extent.To.Add(-lag), digest.ErrKeyUnknown},
		{"unknown key, extent ends before its signing", complete, region, unknown, extent.To.Add(-lag + 1), digest.ErrNoKeys},
		{"unknown key, one extent", pieces([2]int{0, 744}), region, unknown, in, digest.ErrKeyUnknown},
		{"unknown key, adjoining extents", pieces([2]int{0, 300}, [2]int{300, 744}), region, unknown, in, digest.ErrKeyUnknown},
		{"unknown key, overlapping extents", pieces([2]int{-10, 400}, [2]int{300, 750}), region, unknown, in, digest.ErrKeyUnknown},
		{"unknown key, extents in no order", pieces([2]int{500, 744}, [2]int{-900, 0}, [2]int{0, 300}, [2]int{10, 20}, [2]int{200, 501}), region, unknown, in, digest.ErrKeyUnknown},
		{"unknown key, a hole between extents", pieces([2]int{0, 300}, [2]int{301, 744}), region, unknown, in, digest.ErrNoKeys},
		{"unknown key, extents begin late", pieces([2]int{1, 300}, [2]int{300, 744}), region, unknown, in, digest.ErrNoKeys},
		{"unknown key, extents end early", pieces([2]int{0, 300}, [2]int{300, 743}), region, unknown, in, digest.ErrNoKeys},
		{"unknown key, the hole is covered for another region", pieces([2]int{0, 300}, [2]int{400, 744}), region, unknown, in, digest.ErrNoKeys},
		{"unknown key, an extent reversed", pieces([2]int{0, 300}, [2]int{744, 300}), region, unknown, in, digest.ErrNoKeys},
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

func TestAt(t *testing.T) {
	const region, lag = "eu-west-1", 31 * 24 * time.Hour
	a, b := publicKey(region, pkcs1()), publicKey(region, spki())
	b.From, b.To = a.To.Add(-time.Hour), a.To.AddDate(0, 0, 30)
	anywhere := a
	anywhere.Region = ""
	elsewhere := publicKey("us-east-1", spki())
	forged := a
	forged.DER = spki()
	set := digest.KeySet{Keys: []digest.Key{a, elsewhere, forged, anywhere, b}}
	for name, tt := range map[string]struct {
		region string
		at     time.Time
		want   []digest.Key
	}{
		"any time":                        {region, time.Time{}, []digest.Key{a, anywhere, b}},
		"both within the time":            {region, a.To, []digest.Key{a, anywhere, b}},
		"the first has ended":             {region, a.To.Add(time.Second), []digest.Key{b}},
		"the second begins in time":       {region, b.From.Add(-lag), []digest.Key{a, anywhere, b}},
		"the second begins too late":      {region, b.From.Add(-lag - time.Second), []digest.Key{a, anywhere}},
		"after both":                      {region, b.To.Add(time.Second), nil},
		"before both":                     {region, a.From.Add(-lag - time.Second), nil},
		"another region":                  {"us-east-1", a.From, []digest.Key{elsewhere, anywhere}},
		"a region that is not in the set": {"ap-south-1", a.From, []digest.Key{anywhere}},
	} {
		got := set.At(tt.region, tt.at)
		same := func(x, y digest.Key) bool {
			return x.Region == y.Region && x.Fingerprint == y.Fingerprint && bytes.Equal(x.DER, y.DER)
		}
		if !slices.EqualFunc(got, tt.want, same) {
			t.Errorf("%s: %d keys, want %d", name, len(got), len(tt.want))
		}
		for _, k := range got { // one rule
			if _, err := set.Find(tt.region, k.Fingerprint, tt.at); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestMerge(t *testing.T) {
	a, b := publicKey("eu-west-1", pkcs1()), publicKey("eu-west-1", spki())
	c := publicKey("ap-south-1", pkcs1())
	e1 := digest.Extent{Region: "eu-west-1", From: a.From, To: a.To.AddDate(0, 0, 31)}
	e2 := digest.Extent{Region: "ap-south-1", From: a.From, To: a.To.AddDate(0, 0, 31)}
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
