package digest_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

func TestSignature(t *testing.T) {
	for name, tt := range map[string]struct {
		meta map[string]string
		want string
		err  error
	}{
		"control":         {map[string]string{"signature": "0a0b", "signature-algorithm": "SHA256withRSA", "x": "y"}, "0a0b", nil},
		"backfill":        {map[string]string{"signature": "0a0b", "signature-algorithm": "SHA256withRSA", digest.MetaBackfillGenerated: "2026-03-01T00:00:00Z"}, "0a0b", nil},
		"no metadata":     {nil, "", nil},
		"other metadata":  {map[string]string{"x": "y"}, "", nil},
		"no algorithm":    {map[string]string{"signature": "0a0b"}, "", digest.ErrSignature},
		"no signature":    {map[string]string{"signature-algorithm": "SHA256withRSA"}, "", digest.ErrSignature},
		"empty signature": {map[string]string{"signature": "", "signature-algorithm": "SHA256withRSA"}, "", digest.ErrSignature},
		"other algorithm": {map[string]string{"signature": "0a0b", "signature-algorithm": "none"}, "", digest.ErrAlgorithm},
	} {
		if got, err := digest.Signature(tt.meta); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func TestCheckLocation(t *testing.T) {
	for name, tt := range map[string]struct {
		text, bucket, key string
		moved             bool
	}{
		"control":                       {good, "bucket", object, false},
		"other bucket":                  {good, "other", object, true},
		"bucket in another case":        {good, "Bucket", object, true},
		"other prefix":                  {good, "bucket", "a/" + object, true},
		"copy":                          {good, "", object, false},
		"copy below a prefix":           {good, "", "evidence/2026/" + object, false},
		"copy of a prefixed trail":      {swap(`"`+object, `"logs/`+object), "", object, false},
		"copy, other organization":      {good, "", strings.Replace(object, "AWSLogs/", "AWSLogs/o-0123456789/", 1), true},
		"copy, organization taken away": {swap(`"`+object, `"`+strings.Replace(object, "AWSLogs/", "AWSLogs/o-0123456789/", 1)), "", object, true},
		"copy, another hour":            {good, "", before, true},
		"another hour":                  {good, "bucket", before, true},
		"another account":               {good, "bucket", strings.ReplaceAll(object, "111122223333", "999988887777"), true},
		"another region":                {good, "bucket", strings.ReplaceAll(object, "eu-west-1", "eu-west-2"), true},
		"another trail":                 {good, "bucket", strings.Replace(object, "_main_", "_other_", 1), true},
		"another home region":           {good, "bucket", strings.Replace(object, "_us-east-1_", "_us-east-2_", 1), true},
		"backfill":                      {good, "bucket", strings.Replace(object, "Z.json", "Z_backfill.json", 1), true},
		"body of another account":       {swap(`"111122223333"`, `"999988887777"`), "bucket", object, true},
		"body that ends later":          {swap(`EndTime":"2026-03-01T12:08:11Z"`, `EndTime":"2026-03-01T12:08:12Z"`), "bucket", object, true},
		"names itself nothing":          {swap(`"`+object+`"`, `"x"`), "bucket", object, true},
		"names itself nothing, copy":    {swap(`"`+object+`"`, `"x"`), "", object, true},
	} {
		err := parse(t, tt.text).CheckLocation(tt.bucket, digestKey(t, tt.key))
		if tt.moved && !errors.Is(err, digest.ErrMoved) || !tt.moved && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckLink(t *testing.T) {
	d := parse(t, good)
	other := d.Sum
	other[31] ^= 1
	for name, tt := range map[string]struct {
		hash       digest.Sum
		named, has string
		linked     bool
	}{
		"control":           {d.Sum, "0c0d", "0c0d", true},
		"upper-case hex":    {d.Sum, "0c0d", "0C0D", true},
		"signature unknown": {d.Sum, "0c0d", "", true},
		"other hash":        {other, "0c0d", "0c0d", false},
		"other signature":   {d.Sum, "0c0d", "0c0e", false},
		"longer signature":  {d.Sum, "0c0d", "0c0d00", false},
		"other hash alone":  {other, "0c0d", "", false},
	} {
		err := d.CheckLink(&digest.Previous{Hash: tt.hash, Signature: tt.named}, tt.has)
		if tt.linked && err != nil || !tt.linked && !errors.Is(err, digest.ErrLink) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckWindow(t *testing.T) {
	d := parse(t, good)
	for end, meets := range map[string]bool{"2026-03-01T11:08:11Z": true, "2026-03-01T11:08:10Z": false, "2026-03-01T11:08:12Z": false, "2026-03-01T10:08:11Z": false} {
		at, err := time.Parse(time.RFC3339, end)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.CheckWindow(trail.DigestKey{End: at}); meets && err != nil || !meets && !errors.Is(err, digest.ErrWindow) {
			t.Errorf("%s: %v", end, err)
		}
	}
}

func TestCheckLog(t *testing.T) {
	at := trail.Place{Account: "111122223333", Region: "eu-west-1"}
	moved := parse(t, swap(`"previousDigestS3Bucket":"bucket"`, `"previousDigestS3Bucket":"old-bucket"`))
	first := parse(t, swap(previous, noPrevious))
	for name, tt := range map[string]struct {
		d              *digest.Digest
		bucket, object string
		there          bool
	}{
		"control":                     {moved, "bucket", logKey, true},
		"the bucket before":           {moved, "old-bucket", logKey, true},
		"another bucket":              {moved, "other", logKey, false},
		"starting digest":             {first, "bucket", logKey, true},
		"starting, another bucket":    {first, "other", logKey, false},
		"another account":             {moved, "bucket", strings.ReplaceAll(logKey, "111122223333", "999988887777"), false},
		"another region":              {moved, "bucket", strings.ReplaceAll(logKey, "eu-west-1", "eu-west-2"), false},
		"another prefix":              {moved, "bucket", "a/" + logKey, true},
		"a file outside the grammar":  {moved, "bucket", strings.ReplaceAll(logKey, "CloudTrail", "CloudTrail-Insight"), true},
		"outside, and another bucket": {moved, "other", "x", false},
	} {
		err := tt.d.CheckLog(digest.Log{Bucket: tt.bucket, Object: tt.object}, at)
		if tt.there && err != nil || !tt.there && !errors.Is(err, digest.ErrMisplaced) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLogCheck(t *testing.T) {
	l := parse(t, good).Logs[0]
	if err := l.Check(repeat(0xbb)); err != nil {
		t.Error(err)
	}
	for i := range len(l.Hash) * 8 {
		other := l.Hash
		other[i/8] ^= 1 << (i % 8)
		if err := l.Check(other); !errors.Is(err, digest.ErrModified) {
			t.Errorf("bit %d: %v", i, err)
		}
	}
}

func TestVerify(t *testing.T) {
	d := parse(t, good)
	sig := sign(d.StringToSign())
	if err := d.Verify(publicKey("eu-west-1", pkcs1()), sig); err != nil {
		t.Fatalf("the control: %v", err)
	}
	for name, tt := range map[string]struct{ text, signature string }{
		"one byte of white space": {good + "\n", sig},
		"other previous":          {swap(`"0a0b"`, `"0a0c"`), sig},
		"other bucket":            {swap(`"digestS3Bucket":"bucket"`, `"digestS3Bucket":"buckeT"`), sig},
		"no signature":            {good, ""},
		"signature cut off":       {good, sig[:len(sig)-2]},
		"odd length":              {good, sig[:len(sig)-1]},
		"not hex":                 {good, "zz" + sig[2:]},
		"one bit":                 {good, flip(sig)},
		"of another digest":       {good, sign(parse(t, swap(previous, noPrevious)).StringToSign())},
	} {
		if err := parse(t, tt.text).Verify(publicKey("eu-west-1", pkcs1()), tt.signature); !errors.Is(err, digest.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// flip changes the last digit of a hex text.
func flip(s string) string {
	if strings.HasSuffix(s, "0") {
		return s[:len(s)-1] + "1"
	}
	return s[:len(s)-1] + "0"
}
