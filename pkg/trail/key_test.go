package trail_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/pkg/trail"
)

const (
	goodDigest = "AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/03/01/111122223333_CloudTrail-Digest_eu-west-1_main_us-east-1_20260301T120811Z.json.gz"
	goodLog    = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/01/111122223333_CloudTrail_eu-west-1_20260301T1210Z_abcdEFGH01234567.json.gz"
)

var place = trail.Place{Account: "111122223333", Region: "eu-west-1"}

func TestParseDigestKey(t *testing.T) {
	end := time.Date(2026, 3, 1, 12, 8, 11, 0, time.UTC)
	key := func(change func(*trail.DigestKey)) trail.DigestKey {
		k := trail.DigestKey{Chain: trail.Chain{Place: place, Trail: "main", HomeRegion: "us-east-1"}, End: end}
		change(&k)
		return k
	}
	for _, tt := range []struct {
		name, in string
		want     trail.DigestKey
	}{
		{"control", goodDigest, key(func(k *trail.DigestKey) {})},
		{"prefix", "a/b/" + goodDigest, key(func(k *trail.DigestKey) { k.Prefix = "a/b" })},
		{"prefix is AWSLogs", "AWSLogs/" + goodDigest, key(func(k *trail.DigestKey) { k.Prefix = "AWSLogs" })},
		{
			"prefix holds a whole key", goodDigest + "/" + goodDigest,
			key(func(k *trail.DigestKey) { k.Prefix = goodDigest }),
		},
		{
			"prefix holds another account's folder", "AWSLogs/999988887777/CloudTrail-Digest/" + goodDigest,
			key(func(k *trail.DigestKey) { k.Prefix = "AWSLogs/999988887777/CloudTrail-Digest" }),
		},
		{"prefix of dots", "../" + goodDigest, key(func(k *trail.DigestKey) { k.Prefix = ".." })},
		{"prefix ends in an empty folder", "a//" + goodDigest, key(func(k *trail.DigestKey) { k.Prefix = "a/" })},
		{
			"organization", strings.Replace(goodDigest, "AWSLogs/", "AWSLogs/o-0123456789/", 1),
			key(func(k *trail.DigestKey) { k.Organization = "o-0123456789" }),
		},
		{
			"prefix that looks like an organization", "o-0123456789/" + goodDigest,
			key(func(k *trail.DigestKey) { k.Prefix = "o-0123456789" }),
		},
		{
			"prefix is AWSLogs, with organization", "AWSLogs/AWSLogs/o-0123456789" + goodDigest[len("AWSLogs"):],
			key(func(k *trail.DigestKey) { k.Prefix, k.Organization = "AWSLogs", "o-0123456789" }),
		},
		{
			"underscores in the trail's name", strings.Replace(goodDigest, "_main_", "_a_b__c_", 1),
			key(func(k *trail.DigestKey) { k.Trail = "a_b__c" }),
		},
		{
			"region in the trail's name", strings.Replace(goodDigest, "_main_", "_foo_us-east-1_x_", 1),
			key(func(k *trail.DigestKey) { k.Trail = "foo_us-east-1_x" }),
		},
		{
			"trail named for the home region", strings.Replace(goodDigest, "_main_", "_us-east-1_", 1),
			key(func(k *trail.DigestKey) { k.Trail = "us-east-1" }),
		},
		{
			"trail named like another's name and region", strings.Replace(goodDigest, "_main_", "_main_us-east-1_", 1),
			key(func(k *trail.DigestKey) { k.Trail = "main_us-east-1" }),
		},
		{
			"stamp in the trail's name", strings.Replace(goodDigest, "_main_", "_main_us-east-1_20260301T120811Z_", 1),
			key(func(k *trail.DigestKey) { k.Trail = "main_us-east-1_20260301T120811Z" }),
		},
		{
			"trail named backfill", strings.Replace(goodDigest, "_main_", "_main_backfill_", 1),
			key(func(k *trail.DigestKey) { k.Trail = "main_backfill" }),
		},
		{
			"backfill", strings.Replace(goodDigest, "Z.json.gz", "Z_backfill.json.gz", 1),
			key(func(k *trail.DigestKey) { k.Backfill = true }),
		},
		{
			"region unknown today", strings.ReplaceAll(goodDigest, "eu-west-1", "xq-iso-northwest-12"),
			key(func(k *trail.DigestKey) { k.Region = "xq-iso-northwest-12" }),
		},
		{
			"leap day", strings.NewReplacer("2026/03/01", "2024/02/29", "20260301", "20240229").Replace(goodDigest),
			key(func(k *trail.DigestKey) { k.End = time.Date(2024, 2, 29, 12, 8, 11, 0, time.UTC) }),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := trail.ParseDigestKey(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
			if got.String() != tt.in {
				t.Errorf("comes back as %s", got)
			}
		})
	}
}

func TestParseDigestKeyRejects(t *testing.T) {
	sub := func(old, new string) string {
		if !strings.Contains(goodDigest, old) {
			t.Fatalf("no %q to replace", old)
		}
		return strings.Replace(goodDigest, old, new, 1)
	}
	rejects(t, goodDigest, func(s string) error { _, err := trail.ParseDigestKey(s); return err }, map[string]string{
		"no AWSLogs":                     strings.TrimPrefix(goodDigest, "AWSLogs/"),
		"AWSLogs in another case":        sub("AWSLogs", "awslogs"),
		"AWSLogs with more in front":     "x" + goodDigest,
		"leading slash":                  "/" + goodDigest,
		"log folder":                     sub("/CloudTrail-Digest/", "/CloudTrail/"),
		"log key":                        goodLog,
		"empty folder inside":            sub("/eu-west-1/", "//eu-west-1/"),
		"dots inside":                    sub("/2026/", "/../2026/"),
		"dots for the region":            sub("/eu-west-1/", "/../"),
		"folder of another account":      sub("AWSLogs/111122223333", "AWSLogs/999988887777"),
		"name of another account":        sub("/111122223333_", "/999988887777_"),
		"account of 11 digits":           strings.ReplaceAll(goodDigest, "111122223333", "11112222333"),
		"account of letters":             strings.ReplaceAll(goodDigest, "111122223333", "11112222333x"),
		"folder of another region":       sub("/eu-west-1/", "/eu-west-2/"),
		"name of another region":         sub("_eu-west-1_", "_eu-west-2_"),
		"upper-case region":              strings.ReplaceAll(goodDigest, "eu-west-1", "EU-WEST-1"),
		"bad organization":               sub("AWSLogs/", "AWSLogs/o-012345678/"),
		"organization in upper case":     sub("AWSLogs/", "AWSLogs/o-ABCDEFGHIJ/"),
		"two organizations":              sub("AWSLogs/", "AWSLogs/o-0123456789/o-0123456789/"),
		"organization without AWSLogs":   sub("AWSLogs/", "o-0123456789/"),
		"no trail name":                  sub("_main_", "_"),
		"empty trail name":               sub("_main_", "__"),
		"trail name of two letters":      sub("_main_", "_ab_"),
		"trail name with a space":        sub("_main_", "_ma in_"),
		"trail name with a line feed":    sub("_main_", "_ma\nin_"),
		"trail name that is no UTF-8":    sub("_main_", "_ma\xffin_"),
		"trail name of 129":              sub("_main_", "_"+strings.Repeat("a", 129)+"_"),
		"home region look-alike":         sub("_us-east-1_", "_us-east-1-_"),
		"no home region":                 sub("_main_us-east-1_", "_main_"),
		"no stamp":                       sub("_20260301T120811Z", ""),
		"stamp without seconds":          sub("T120811Z", "T1208Z"),
		"stamp with a fraction":          sub("T120811Z", "T120811.5Z"),
		"stamp with a sign":              sub("_20260301", "_+0260301"),
		"stamp in no zone":               sub("T120811Z", "T120811"),
		"stamp in lower case":            sub("T120811Z", "t120811z"),
		"hour 24":                        sub("T120811Z", "T240000Z"),
		"second 60":                      sub("T120811Z", "T120860Z"),
		"31 February":                    strings.NewReplacer("2026/03/01", "2026/02/31", "20260301", "20260231").Replace(goodDigest),
		"folder of another day":          sub("/03/01/", "/03/02/"),
		"folder of another year":         sub("/2026/", "/2025/"),
		"day folder of one digit":        sub("/03/01/", "/03/1/"),
		"no day folder":                  sub("/03/01/", "/03/"),
		"one more folder":                sub("/03/01/", "/03/01/12/"),
		"other suffix":                   sub(".json.gz", ".json"),
		"suffix twice":                   goodDigest + ".json.gz",
		"something after the suffix":     goodDigest + "\n",
		"backfill twice":                 sub("Z.json.gz", "Z_backfill_backfill.json.gz"),
		"backfill in upper case":         sub("Z.json.gz", "Z_BACKFILL.json.gz"),
		"a version suffix in the folder": goodDigest + "/x",
	})
}

func TestParseLogKey(t *testing.T) {
	stamp := time.Date(2026, 3, 1, 12, 10, 0, 0, time.UTC)
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	key := func(change func(*trail.LogKey)) trail.LogKey {
		k := trail.LogKey{Place: place, Stamp: stamp, Day: day, Unique: "abcdEFGH01234567"}
		change(&k)
		return k
	}
	for _, tt := range []struct {
		name, in string
		want     trail.LogKey
	}{
		{"control", goodLog, key(func(k *trail.LogKey) {})},
		{"prefix", "a/b/" + goodLog, key(func(k *trail.LogKey) { k.Prefix = "a/b" })},
		{"prefix holds AWSLogs", "AWSLogs/999988887777/" + goodLog, key(func(k *trail.LogKey) { k.Prefix = "AWSLogs/999988887777" })},
		{
			"organization", strings.Replace(goodLog, "AWSLogs/", "AWSLogs/o-0123456789abcdef/", 1),
			key(func(k *trail.LogKey) { k.Organization = "o-0123456789abcdef" }),
		},
		{
			"published the day after its stamp", strings.Replace(goodLog, "/03/01/", "/03/02/", 1),
			key(func(k *trail.LogKey) { k.Day = day.AddDate(0, 0, 1) }),
		},
		{
			"published weeks after its stamp", strings.Replace(goodLog, "/03/01/", "/03/31/", 1),
			key(func(k *trail.LogKey) { k.Day = day.AddDate(0, 0, 30) }),
		},
		{
			"published years after its stamp", strings.Replace(goodLog, "/2026/", "/2028/", 1),
			key(func(k *trail.LogKey) { k.Day = day.AddDate(2, 0, 0) }),
		},
		{
			"stamp a day after the folder's day", strings.Replace(goodLog, "_20260301T1210Z", "_20260302T2359Z", 1),
			key(func(k *trail.LogKey) { k.Stamp = day.Add(48*time.Hour - time.Minute) }),
		},
		{
			"stamp rounded up over midnight", strings.Replace(goodLog, "_20260301T1210Z", "_20260302T0000Z", 1),
			key(func(k *trail.LogKey) { k.Stamp = day.AddDate(0, 0, 1) }),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := trail.ParseLogKey(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
			if got.String() != tt.in {
				t.Errorf("comes back as %s", got)
			}
			if late := got.Day.After(got.Stamp.Truncate(24 * time.Hour)); got.Late() != late {
				t.Errorf("late: %v, want %v", got.Late(), late)
			}
		})
	}
}

func TestParseLogKeyRejects(t *testing.T) {
	sub := func(old, new string) string {
		if !strings.Contains(goodLog, old) {
			t.Fatalf("no %q to replace", old)
		}
		return strings.Replace(goodLog, old, new, 1)
	}
	rejects(t, goodLog, func(s string) error { _, err := trail.ParseLogKey(s); return err }, map[string]string{
		"folder marker":              "AWSLogs/111122223333/CloudTrail/",
		"leading slash":              "/" + goodLog,
		"digest key":                 goodDigest,
		"insight folder":             strings.ReplaceAll(goodLog, "CloudTrail", "CloudTrail-Insight"),
		"name of another account":    sub("/111122223333_", "/999988887777_"),
		"name of another region":     sub("_eu-west-1_", "_eu-west-2_"),
		"name of another kind":       sub("_CloudTrail_", "_CloudTrail-Insight_"),
		"dots inside":                sub("/2026/", "/../2026/"),
		"stamp with seconds":         sub("T1210Z", "T121000Z"),
		"minute 60":                  sub("T1210Z", "T1260Z"),
		"folder two days earlier":    sub("/2026/03/01/", "/2026/02/27/"),
		"folder a year earlier":      sub("/2026/", "/2025/"),
		"stamp two days later":       sub("_20260301T1210Z", "_20260303T0000Z"),
		"no date":                    sub("/03/01/", "/xx/01/"),
		"31 February":                sub("/03/01/", "/02/31/"),
		"unique part of 15":          sub("abcdEFGH01234567", "abcdEFGH0123456"),
		"unique part of 17":          sub("abcdEFGH01234567", "abcdEFGH012345678"),
		"unique part with a dash":    sub("abcdEFGH01234567", "abcdEFGH-1234567"),
		"unique part with a slash":   sub("abcdEFGH01234567", "abcdEFGH/1234567"),
		"no unique part":             sub("_abcdEFGH01234567", ""),
		"something after":            sub("abcdEFGH01234567", "abcdEFGH01234567_x"),
		"other suffix":               sub(".json.gz", ".gz"),
		"something after the suffix": goodLog + "~",
	})
}

// rejects demands that parse takes the control and none of the rows.
func rejects(t *testing.T, control string, parse func(string) error, rows map[string]string) {
	t.Helper()
	if err := parse(control); err != nil {
		t.Fatalf("the control: %v", err)
	}
	rows["empty"], rows["slashes"], rows["a word"] = "", strings.Repeat("/", 20), "AWSLogs"
	for name, key := range rows {
		if err := parse(key); !errors.Is(err, trail.ErrKey) {
			t.Errorf("%s: %q: %v", name, key, err)
		}
	}
}

func TestFolders(t *testing.T) {
	p := trail.Place{Prefix: "a/b", Organization: "o-0123456789", Account: "111122223333", Region: "eu-west-1"}
	if got, want := p.Folder(trail.DigestFolder), "a/b/AWSLogs/o-0123456789/111122223333/CloudTrail-Digest/eu-west-1/"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// 23:30 west of Greenwich is the next day in UTC.
	at := time.Date(2026, 2, 28, 23, 30, 0, 0, time.FixedZone("", -3600))
	if got, want := place.Day(trail.LogFolder, at), "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/01/"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	c := trail.Chain{Place: place, Trail: "main", HomeRegion: "us-east-1", Backfill: true}
	k := c.Digest(at)
	if back, err := trail.ParseDigestKey(k.String()); err != nil || back != k {
		t.Errorf("%s comes back as %+v, %v", k, back, err)
	}
	if got, want := c.String(), "111122223333 eu-west-1 main (us-east-1) backfill"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	c.HomeRegion, c.Backfill = c.Region, false
	if got, want := c.String(), "111122223333 eu-west-1 main"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTail(t *testing.T) {
	for in, want := range map[string]string{
		goodDigest:                  goodDigest,
		"a/b/" + goodDigest:         goodDigest,
		"/" + goodDigest:            goodDigest,
		"AWSLogs/" + goodLog:        goodLog,
		goodDigest + "/" + goodLog:  goodLog,
		"xAWSLogs/111122223333/":    "",
		"AWSLogs":                   "",
		"":                          "",
		"a/AWSLogsx/111122223333/b": "",
	} {
		if got := trail.Tail(in); got != want {
			t.Errorf("Tail(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestObjectString(t *testing.T) {
	for _, tt := range []struct {
		o    trail.Object
		want string
	}{
		{trail.Object{Bucket: "b", Key: "k/x", Size: 3}, "s3://b/k/x"},
		{trail.Object{Key: "k/x"}, "k/x"},
	} {
		if got := tt.o.String(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		what      string
		valid     func(string) bool
		good, bad []string
	}{
		{
			"region", trail.ValidRegion, []string{"us-east-1", "us-gov-west-1", "mx-central-1", "sagov-westsouth-1r", "a-b1"},
			[]string{"", "us", "-us-1", "us-", "us--1", "1us-1", "us_east_1", "us-east-1\n", "us-éast-1", strings.Repeat("a-", 17) + "a", "useast1"},
		},
		{
			"organization", trail.ValidOrganization, []string{"o-0123456789", "o-" + strings.Repeat("z", 32)},
			[]string{"", "o-", "o-012345678", "o-" + strings.Repeat("z", 33), "0123456789", "O-0123456789", "o-01234_6789", "r-0123456789"},
		},
		{
			"trail", trail.ValidName, []string{"abc", "A.b_c-9", strings.Repeat("a", 128)},
			[]string{"", "ab", strings.Repeat("a", 129), "a/b", "a b", "a\x00b", "ünï"},
		},
		{"account", trail.ValidAccount, []string{"000000000000"}, []string{"", "1", "11112222333", "1111222233334", "-11112222333"}},
	} {
		for _, s := range tt.good {
			if !tt.valid(s) {
				t.Errorf("%s %q is not valid", tt.what, s)
			}
		}
		for _, s := range tt.bad {
			if tt.valid(s) {
				t.Errorf("%s %q is valid", tt.what, s)
			}
		}
	}
}
