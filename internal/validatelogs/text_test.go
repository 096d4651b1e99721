package validatelogs

import (
	"strings"
	"testing"
	"unicode"
)

func TestPrintable(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"AWSLogs/o-1/a b/ü+(1)/日本.json.gz", "AWSLogs/o-1/a b/ü+(1)/日本.json.gz"},
		{`back\slash "quoted"`, `back\slash "quoted"`},
		{"a\x1b[2Jb", `a\x1b[2Jb`},
		{"a\nb\rc\td\x7f", `a\x0ab\x0dc\x09d\x7f`},
		{"c1 \u009b31m", `c1 \u009b31m`},
		{"no \x9b utf-8", `no \x9b utf-8`},
		{"\uFFFD is a letter \x1b", "\uFFFD is a letter " + `\x1b`},
	} {
		if got := printable(c.in); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("AWSLogs/1/\x1b]0;x\a")
	f.Fuzz(func(t *testing.T, s string) {
		if got := printable(s); strings.ContainsFunc(got, unicode.IsControl) {
			t.Errorf("%q: %q", s, got)
		}
	})
}

func FuzzReadLeniently(f *testing.F) {
	f.Add([]byte(`{"digestS3Bucket":"b","digestS3Object":"k","digestPublicKeyFingerprint":"f","previousDigestSignature":null,"digestEndTime":"e","digestStartTime":"s"}`))
	f.Add([]byte(`{"a":1,"a":[{}]} `))
	f.Add([]byte(`[`))
	f.Add([]byte(`"\ud800"`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := readLeniently(b)
		if s != nil && !s.incomplete && !strings.HasSuffix(strings.SplitAfterN(s.toSign, "\n", 2)[0], "\n") {
			t.Errorf("%q: %q", b, s.toSign)
		}
	})
}
