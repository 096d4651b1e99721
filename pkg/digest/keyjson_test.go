package digest_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/pkg/digest"
)

// keyList writes a list of one key as the AWS CLI does.
func keyList(from, to string) string {
	k := publicKey("", pkcs1())
	return fmt.Sprintf(`{"PublicKeyList":[{"Value":%q,"ValidityStartTime":%s,"ValidityEndTime":%s,"Fingerprint":%q}]}`,
		base64.StdEncoding.EncodeToString(k.DER), from, to, k.Fingerprint)
}

func TestParseKeySet(t *testing.T) {
	from, to := time.Date(2015, 6, 18, 1, 4, 20, 0, time.UTC), time.Date(2015, 7, 18, 1, 4, 20, 0, time.UTC)
	for name, in := range map[string]string{
		"epoch seconds":           keyList("1434589460", "1437181460"),
		"epoch floats":            keyList("1434589460.0", "1437181460.000"),
		"exponents":               keyList("1.43458946e9", "1.43718146E+09"),
		"epoch in strings":        keyList(`"1434589460.0"`, `"1437181460.0"`),
		"ISO":                     keyList(`"2015-06-18T01:04:20+00:00"`, `"2015-07-18T01:04:20Z"`),
		"ISO in another zone":     keyList(`"2015-06-17T18:04:20-07:00"`, `"2015-07-18T03:04:20+02:00"`),
		"members unknown today":   strings.Replace(keyList("1434589460", "1437181460"), `{"Value"`, `{"Algorithm":"RSA","Value"`, 1),
		"a token beside the list": strings.Replace(keyList("1434589460", "1437181460"), `{"P`, `{"NextToken":null,"P`, 1),
	} {
		s, err := digest.ParseKeySet([]byte(in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		k := s.Keys[0]
		if !k.From.Equal(from) || !k.To.Equal(to) || k.Region != "" || len(s.Complete) != 0 || len(s.Keys) != 1 {
			t.Errorf("%s: got %+v", name, s)
		}
	}
	if s, err := digest.ParseKeySet([]byte(`{"PublicKeyList":[]}`)); err != nil || len(s.Keys) != 0 {
		t.Errorf("empty list: %+v, %v", s, err)
	}
}

func TestParseKeySetRejects(t *testing.T) {
	good := keyList("1434589460", "1437181460")
	if _, err := digest.ParseKeySet([]byte(good)); err != nil {
		t.Fatalf("the control: %v", err)
	}
	fp := publicKey("", pkcs1()).Fingerprint
	sub := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for name, in := range map[string]string{
		"empty": "", "no JSON": "<html>", "null": "null", "a list": "[]", "no list": "{}", "list null": `{"PublicKeyList":null}`,
		"a second value": good + "{}", "cut off": good[:len(good)-1],
		"name in another case":       sub("PublicKeyList", "publicKeyList"),
		"duplicate list":             sub(`{"P`, `{"PublicKeyList":[],"P`),
		"duplicate fingerprint":      sub(`{"Value"`, `{"Fingerprint":"`+fp+`","Value"`),
		"invalid UTF-8":              sub(`{"P`, "{\"x\":\"\xff\",\"P"),
		"value no base64":            sub(`"Value":"`, `"Value":"!`),
		"value empty":                sub(`"Value":"`, `"Value":"","x":"`),
		"value a number":             sub(`"Value":"`, `"Value":7,"x":"`),
		"fingerprint of another key": sub(fp, strings.Repeat("0", 32)),
		"fingerprint in upper case":  sub(fp, strings.ToUpper(fp)),
		"no fingerprint":             sub(`,"Fingerprint":"`+fp+`"`, ""),
		"no start":                   sub(`"ValidityStartTime":1434589460,`, ""),
		"no end":                     sub(`"ValidityEndTime":1437181460,`, ""),
		"start null":                 keyList("null", "1437181460"),
		"start true":                 keyList("true", "1437181460"),
		"start empty":                keyList(`""`, "1437181460"),
		"start not a number":         keyList(`"NaN"`, "1437181460"),
		"end infinite":               keyList("1434589460", `"+Inf"`),
		"end beyond the year 9999":   keyList("1434589460", "253402300800"),
		"end in the year 10000":      keyList("1434589460", `"9999-12-31T23:59:59-01:00"`),
		"start before 1970":          keyList("-1", "1437181460"),
		"times reversed":             keyList("1437181460", "1434589460"),
		"time without a zone":        keyList(`"2015-06-18T01:04:20"`, "1437181460"),
	} {
		if s, err := digest.ParseKeySet([]byte(in)); !errors.Is(err, digest.ErrKey) {
			t.Errorf("%s: got %+v, %v", name, s, err)
		}
	}
}

func TestKeySetJSON(t *testing.T) {
	k := publicKey("eu-west-1", pkcs1())
	k.To = k.To.Add(250 * time.Millisecond)
	saved := publicKey("", spki())
	set := digest.KeySet{Keys: []digest.Key{k, saved}, Complete: []digest.Extent{{Region: "eu-west-1", From: k.From, To: k.To}}}
	b, err := set.JSON()
	if err != nil {
		t.Fatal(err)
	}
	back, err := digest.ParseKeySet(b)
	if err != nil || !reflect.DeepEqual(back, set) {
		t.Errorf("%s\ncomes back as %+v, %v", b, back, err)
	}
	for _, want := range []string{`"PublicKeyList": [`, `"Value": "`, `"ValidityStartTime": "2026-02-15T00:00:00Z"`, `"Region": "eu-west-1"`, `"Complete": [`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in %s", want, b)
		}
	}
	// Without our additions it is what the AWS CLI writes.
	b, err = digest.KeySet{Keys: []digest.Key{saved}}.JSON()
	if err != nil || strings.Contains(string(b), "Region") || strings.Contains(string(b), "Complete") {
		t.Errorf("%s, %v", b, err)
	}
	if b, err = (digest.KeySet{}).JSON(); err != nil || !strings.Contains(string(b), `"PublicKeyList": []`) {
		t.Errorf("%s, %v", b, err)
	}
}

func TestNewKey(t *testing.T) {
	at := time.Date(2026, 3, 1, 1, 0, 0, 0, time.FixedZone("", 3600))
	k, err := digest.NewKey("eu-west-1", " aGVsbG8=\n", "fp", at, at)
	if err != nil || string(k.DER) != "hello" || k.From != at.UTC() || k.Region != "eu-west-1" || k.Fingerprint != "fp" {
		t.Errorf("got %+v, %v", k, err)
	}
	for _, bad := range []string{"aGVsbG8", "aGVsbG8=x", "*"} {
		if _, err := digest.NewKey("", bad, "fp", at, at); !errors.Is(err, digest.ErrKey) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
