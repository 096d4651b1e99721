package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"strings"

	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/digest"
)

// rewrite changes the inflated bytes of a stored digest, unsigned.
func rewrite(i int, change func([]byte) []byte) func(*scene) {
	return func(s *scene) {
		s.editDigest(i, func(o *testtrail.Stored) { o.Body = testtrail.Gzip(change(bytes.Clone(s.digest(i).Body))) })
	}
}

// edit changes one piece of text in a digest, unsigned.
func edit(old, new string) func(*scene) {
	return rewrite(2, func(b []byte) []byte {
		changed := bytes.Replace(b, []byte(old), []byte(new), 1)
		if bytes.Equal(b, changed) {
			panic("not in the digest: " + old)
		}
		return changed
	})
}

// without removes a member, unsigned.
func without(member string) func(*scene) {
	return rewrite(2, func(b []byte) []byte {
		var m map[string]json.RawMessage
		if err := json.Unmarshal(b, &m); err != nil || m[member] == nil {
			panic("not a member: " + member)
		}
		delete(m, member)
		b, _ = json.Marshal(m)
		return b
	})
}

// resign changes a digest and signs it as CloudTrail would.
func resign(i int, change func(string) string) func(*scene) {
	return func(s *scene) {
		d := *s.digest(i)
		body := change(string(d.Body))
		if body == string(d.Body) {
			panic("not changed")
		}
		s.chain.SignBody(&d, []byte(body))
	}
}

func meta(change func(map[string]string)) func(*scene) {
	return func(s *scene) { s.editDigest(2, func(o *testtrail.Stored) { change(o.Meta) }) }
}

// Rows about digest files.
var digestRows = []parity{
	{name: "digest not gzip", tamper: func(s *scene) { s.editDigest(2, func(o *testtrail.Stored) { o.Body = s.digest(2).Body }) }},
	{name: "digest empty", tamper: func(s *scene) { s.editDigest(2, func(o *testtrail.Stored) { o.Body = nil }) }},
	{name: "digest cut off", tamper: func(s *scene) { s.editDigest(2, func(o *testtrail.Stored) { o.Body = o.Body[:len(o.Body)/2] }) }},
	{name: "digest without its trailer", tamper: func(s *scene) { s.editDigest(2, func(o *testtrail.Stored) { o.Body = o.Body[:len(o.Body)-8] }) }},
	{name: "digest with a wrong checksum", tamper: func(s *scene) { s.editDigest(2, func(o *testtrail.Stored) { o.Body[len(o.Body)-8] ^= 1 }) }},
	{name: "digest with a flipped bit", tamper: func(s *scene) { s.editDigest(2, func(o *testtrail.Stored) { o.Body[len(o.Body)/2] ^= 0x10 }) }},
	{name: "digest gzip of nothing", tamper: rewrite(2, func([]byte) []byte { return nil })},
	{name: "digest no JSON", tamper: rewrite(2, func([]byte) []byte { return []byte("digest") })},
	{name: "digest JSON cut off", tamper: rewrite(2, func(b []byte) []byte { return b[:len(b)-1] })},
	{name: "digest JSON twice", tamper: rewrite(2, func(b []byte) []byte { return append(b, b...) })},
	{name: "digest with a line feed more", tamper: rewrite(2, func(b []byte) []byte { return append(b, '\n') })},
	{name: "digest not UTF-8", tamper: edit("trail-bucket", "trail-\xffbucket")},
	{name: "digest with a byte order mark", tamper: rewrite(2, func(b []byte) []byte { return append([]byte("\xef\xbb\xbf"), b...) })},
	{name: "digest an empty object", tamper: rewrite(2, func([]byte) []byte { return []byte("{}") })},
	{name: "newest digest bad", tamper: func(s *scene) { s.editDigest(4, func(o *testtrail.Stored) { o.Body = nil }) }},
	{name: "oldest digest bad", tamper: func(s *scene) { s.editDigest(0, func(o *testtrail.Stored) { o.Body = nil }) }},
	{name: "all digests bad", tamper: func(s *scene) {
		for i := range 5 {
			s.editDigest(i, func(o *testtrail.Stored) { o.Body = nil })
		}
	}},

	{name: "no digestPublicKeyFingerprint", tamper: without("digestPublicKeyFingerprint")},
	{name: "no digestS3Bucket", tamper: without("digestS3Bucket")},
	{name: "no digestS3Object", tamper: without("digestS3Object")},
	{name: "no previousDigestSignature", tamper: without("previousDigestSignature")},
	{name: "no digestEndTime", tamper: without("digestEndTime")},
	{name: "no digestStartTime", tamper: without("digestStartTime")},
	{name: "no awsAccountId", tamper: without("awsAccountId")},
	{name: "no logFiles", tamper: without("logFiles")},
	{name: "no previousDigestS3Bucket", tamper: without("previousDigestS3Bucket")},

	{name: "no metadata", tamper: func(s *scene) { s.editDigest(2, func(o *testtrail.Stored) { o.Meta = nil }) }},
	{name: "no metadata and a member absent", tamper: func(s *scene) {
		without("digestEndTime")(s)
		s.editDigest(2, func(o *testtrail.Stored) { o.Meta = nil })
	}},
	{name: "no signature", tamper: meta(func(m map[string]string) { delete(m, digest.MetaSignature) })},
	{name: "no signature algorithm", tamper: meta(func(m map[string]string) { delete(m, digest.MetaSignatureAlgorithm) })},
	{name: "another signature algorithm in the metadata", tamper: meta(func(m map[string]string) { m[digest.MetaSignatureAlgorithm] = "MD5withRSA" })},
	{name: "signature in upper case", tamper: meta(func(m map[string]string) { m[digest.MetaSignature] = strings.ToUpper(m[digest.MetaSignature]) })},
	{name: "signature of another digest", tamper: func(s *scene) {
		meta(func(m map[string]string) { m[digest.MetaSignature] = s.digest(3).Signature })(s)
	}},
	{name: "signature too short", tamper: meta(func(m map[string]string) { m[digest.MetaSignature] = m[digest.MetaSignature][2:] })},
	{name: "signature of an odd length", tamper: meta(func(m map[string]string) { m[digest.MetaSignature] = m[digest.MetaSignature][1:] })},
	{name: "signature not hex", tamper: meta(func(m map[string]string) { m[digest.MetaSignature] = "zz" + m[digest.MetaSignature][2:] })},
	{name: "signature neither hex nor even", tamper: meta(func(m map[string]string) { m[digest.MetaSignature] = "z" + m[digest.MetaSignature][2:] })},
	{name: "signature of zeros", tamper: meta(func(m map[string]string) { m[digest.MetaSignature] = strings.Repeat("0", 512) })},

	{name: "log removed from a digest", tamper: rewrite(2, func(b []byte) []byte {
		i := bytes.Index(b, []byte(`"logFiles":[`)) + len(`"logFiles":[`)
		return append(b[:i:i], "]}"...)
	})},
	{name: "a log's hash changed in a digest", tamper: edit(`"hashValue":"`, `"hashValue":"0`)},
	{name: "end time changed", tamper: edit("02:08:11Z", "02:08:12Z")},
	{name: "start time no time", tamper: edit("2026-03-01T01:08:11Z", "yesterday")},
	{name: "previous signature null", tamper: rewrite(2, func(b []byte) []byte {
		i := bytes.Index(b, []byte(`"previousDigestSignature":`)) + len(`"previousDigestSignature":`)
		return append(append(b[:i:i], "null"...), b[i+514:]...)
	})},
	{name: "a name twice", tamper: edit(`{"awsAccountId"`, `{"digestS3Bucket":"elsewhere","awsAccountId"`)},
	{name: "a name twice, the last moved", tamper: edit(`,"logFiles"`, `,"digestS3Bucket":"elsewhere","logFiles"`)},
	{name: "a name twice, the last with another key", tamper: edit(`,"logFiles"`, `,"digestPublicKeyFingerprint":"00","logFiles"`)},
	{name: "an unknown member", tamper: edit(`{"awsAccountId"`, `{"more":{"a":[1,2]},"awsAccountId"`)},
	{name: "fingerprint changed", tamper: edit(`"digestPublicKeyFingerprint":"`, `"digestPublicKeyFingerprint":"00`)},
	{name: "fingerprint a number", tamper: rewrite(2, func(b []byte) []byte {
		i := bytes.Index(b, []byte(`"digestPublicKeyFingerprint":`)) + len(`"digestPublicKeyFingerprint":`)
		return append(append(b[:i:i], "17"...), b[i+34:]...)
	})},
	{name: "signature algorithm changed in a digest", tamper: edit("SHA256withRSA", "SHA1withRSA")},

	{name: "digest copied over another", tamper: func(s *scene) {
		newer, _ := s.Stored("trail-bucket", s.digest(3).Key)
		s.Put("trail-bucket", s.digest(2).Key, newer)
	}},
	{name: "digest names another bucket", tamper: edit(`"digestS3Bucket":"`, `"digestS3Bucket":"x`)},
	{name: "digest names another key", tamper: edit(`"digestS3Object":"`, `"digestS3Object":"x`)},
	{name: "bucket copied", tamper: func(s *scene) {
		keys, _ := s.Keys("trail-bucket", "")
		for _, k := range keys {
			o, _ := s.Stored("trail-bucket", k)
			s.Put("copy", k, o)
		}
	}, args: []string{"--s3-bucket=copy"}},
	{name: "signed digest put in the place of another", tamper: func(s *scene) {
		// Of another trail whose key would be the same is impossible; of the same
		// hour, signed again: the reference compares no links.
		s.chain.Reissue(2, func(d *testtrail.Doc) { d.Logs = d.Logs[:1] })
	}},

	{name: "no keys", tamper: func(s *scene) { s.NoKeys = true }},
	{name: "no keys and no digests", tamper: func(s *scene) { s.NoKeys = true }, args: []string{"--start-time=2025-01-01T01:02:03Z", "--end-time=2025-01-02"}},
	{name: "keys of others only", tamper: func(s *scene) {
		s.EditKeys = func(k []digest.Key) []digest.Key {
			for i := range k {
				k[i].Fingerprint = strings.Repeat("0", 32)
			}
			return k
		}
	}},
	{name: "keys exchanged", tamper: func(s *scene) {
		other, _ := s.PublicKeys(context.Background(), "eu-west-1", begin, begin)
		s.EditKeys = func(k []digest.Key) []digest.Key {
			for i := range k {
				k[i].DER = other.Keys[0].DER
			}
			return k
		}
	}},
	{name: "keys garbage", tamper: keyBytes(func([]byte) []byte { return []byte("no key") })},
	{name: "keys cut off", tamper: keyBytes(func(b []byte) []byte { return b[:len(b)-1] })},
	{name: "a fingerprint served twice", tamper: func(s *scene) {
		s.EditKeys = func(k []digest.Key) []digest.Key {
			bad := k[0]
			bad.DER = []byte("no key")
			return append(k, bad)
		}
	}},
	{name: "keys of several pages", tamper: func(s *scene) { s.aws.KeyPage = 1 }},
	{name: "keys denied", tamper: func(s *scene) { s.aws.Fail(testaws.Denied().On("ListPublicKeys", "", "")) }, anyText: true},

	{name: "data after a digest", tamper: func(s *scene) { s.editDigest(2, func(o *testtrail.Stored) { o.Body = append(o.Body, "more"...) }) },
		ours: badDigest("invalid format"), why: "what follows the stream was never signed, and other readers read it"},
	{name: "digest a JSON list", tamper: rewrite(2, func([]byte) []byte { return []byte("[]") }),
		ours: badDigest("invalid format"), why: "the reference prints Python's words for a list that is no object"},
	{name: "keys as SubjectPublicKeyInfo", tamper: keyBytes(func(b []byte) []byte {
		pub, err := x509.ParsePKCS1PublicKey(b)
		if err != nil {
			panic(err)
		}
		b, err = x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			panic(err)
		}
		return b
	}), ours: func(s *scene) said {
		return said{out: s.summary("04:08:11", "5/5 digest files valid", "8/8 log files valid")}
	},
		why: "AWS has served such keys; the reference cannot load them"},
	{name: "signed digest without logFiles", tamper: resign(2, func(b string) string { return b[:strings.Index(b, `,"logFiles"`)] + "}" }),
		ours: badDigest("invalid format"), why: "the reference crashes without a summary"},
	{name: "signed digest with a name twice", tamper: resign(2, func(b string) string { return strings.Replace(b, `,"logFiles"`, `,"logFiles":[],"logFiles"`, 1) }),
		ours: badDigest("invalid format"), why: "two readers of it would see two different digests"},
	{name: "signed digest with half a previous one", tamper: resign(2, func(b string) string {
		return strings.Replace(b, `"previousDigestS3Bucket":"trail-bucket"`, `"previousDigestS3Bucket":null`, 1)
	}), ours: badDigest("invalid format"), why: "a digest begins a chain or it does not; the reference goes on as after a gap"},
	{name: "signed digest with logFiles null", tamper: resign(1, func(b string) string { return b[:strings.Index(b, `"logFiles"`)] + `"logFiles":null}` })},
	{name: "fingerprint that steers the terminal", tamper: edit(`"digestPublicKeyFingerprint":"`, `"digestPublicKeyFingerprint":"\u001b[2Jé`),
		ours: func(s *scene) said {
			fp := s.digest(2).Doc.Fingerprint
			return badDigest("public key not found in region us-east-1 for fingerprint \\x1b[2Jé" + fp)(s)
		}, why: "who can write an object must not write on the auditor's screen"},
	{name: "digest bomb", tamper: rewrite(2, func([]byte) []byte { return make([]byte, 80<<20) }),
		ours: unverifiedDigest("too-large", "67108864 bytes: inflates to more than the limit"), why: "it is not held in memory, nor read to its end"},
	{name: "digest denied", tamper: func(s *scene) { s.aws.Fail(testaws.AccessDenied().On("GetObject", "", s.digest(2).Key)) },
		ours: unverifiedDigest("access-denied", "get {digest}: AccessDenied: Access Denied"), why: whyUnverified},
	{name: "digest behind server errors", tamper: func(s *scene) { s.aws.Fail(testaws.InternalError().On("GetObject", "", s.digest(2).Key)) },
		ours: unverifiedDigest("network", "get {digest}: InternalError: We encountered an internal error. Please try again."), why: whyUnverified},
	{name: "only digest denied", tamper: func(s *scene) { s.aws.Fail(testaws.AccessDenied().On("GetObject", "", s.digest(0).Key)) },
		args: []string{"--end-time=2026-03-01T00:05:00Z"}, ours: func(s *scene) said {
			out := s.summary("", "0/1 digest files valid, 1/1 digest files UNVERIFIED", "")
			return said{strings.ReplaceAll(out, "06:00:00Z", "00:05:00Z"),
				"Digest file\t" + s.uri(0) + "\tUNVERIFIED: access-denied\n\nerror: 1 file could not be checked: get " + s.uri(0) + ": AccessDenied: Access Denied\n", 255}
		}, why: whyUnverified},
}

func keyBytes(change func([]byte) []byte) func(*scene) {
	return func(s *scene) {
		s.EditKeys = func(k []digest.Key) []digest.Key {
			for i := range k {
				k[i].DER = change(k[i].DER)
			}
			return k
		}
	}
}

// badDigest is what is printed where digest 2, which lists two logs, is bad.
func badDigest(fault string) func(*scene) said {
	return func(s *scene) said {
		return said{s.summary("04:08:11", "4/5 digest files valid, 1/5 digest files INVALID", "6/6 log files valid"),
			"Digest file\t" + s.uri(2) + "\tINVALID: " + fault + "\n\n", 1}
	}
}

func unverifiedDigest(reason, cause string) func(*scene) said {
	return func(s *scene) said {
		return said{s.summary("04:08:11", "4/5 digest files valid, 1/5 digest files UNVERIFIED", "6/6 log files valid"),
			"Digest file\t" + s.uri(2) + "\tUNVERIFIED: " + reason + "\n\n" +
				"error: 1 file could not be checked: " + strings.ReplaceAll(cause, "{digest}", s.uri(2)) + "\n", 255}
	}
}
