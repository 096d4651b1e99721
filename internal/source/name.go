package source

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Forms of names (Amazon S3 User Guide, "General purpose bucket naming rules"
// and "Access points naming rules"). Old buckets have up to 255 characters, and
// capitals and underscores among them. Stores other than S3 allow short names.
var (
	bucketForm      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$`)
	accessPointForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,48}[a-z0-9]$`)
	aliasForm       = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,54}-s3alias$`)
	partitionForm   = regexp.MustCompile(`^aws(-[a-z0-9]+)*$`)
)

// isAlias reports whether name is the alias of an access point. S3 reserves the
// suffix.
func isAlias(name string) bool { return strings.HasSuffix(name, "-s3alias") }

// Names that S3 accepts in place of a bucket's name, by their reserved
// suffixes, and that are no evidence.
const (
	isObjectLambda = "an Object Lambda access point can change what it returns: name the bucket or access point behind it"
	isMultiRegion  = "a multi-region access point answers from several buckets: name one of these buckets"
	isOutposts     = "buckets on Outposts are not supported"
	isDirectory    = "a directory bucket lists its keys in no order: name a general purpose bucket"
)

// checkBucket returns why name is not the name of a general purpose bucket or
// the alias of an access point.
func checkBucket(name string) error {
	for _, reserved := range []struct{ suffix, why string }{
		{"--ol-s3", isObjectLambda}, {".mrap", isMultiRegion}, {"--op-s3", isOutposts},
		{"--x-s3", isDirectory}, {"--xa-s3", isDirectory},
	} {
		if strings.HasSuffix(name, reserved.suffix) {
			return errors.New(reserved.why)
		}
	}
	if isAlias(name) && !aliasForm.MatchString(name) {
		return fmt.Errorf("%q cannot be the alias of an access point", name)
	}
	if !bucketForm.MatchString(name) {
		return fmt.Errorf("%q cannot be the name of a bucket", name)
	}
	return nil
}

// parseARN parses arn:PARTITION:s3:REGION:ACCOUNT:accesspoint/NAME[/PREFIX].
// A colon may stand before NAME. The source has the form with a slash.
func parseARN(text string) (Source, error) {
	part := strings.SplitN(text, ":", 6)
	if len(part) != 6 || !partitionForm.MatchString(part[1]) {
		return Source{}, errors.New("the ARN is not that of an access point")
	}
	partition, service, region, account, resource := part[1], part[2], part[3], part[4], part[5]
	kind, rest := resource, ""
	if i := strings.IndexAny(resource, "/:"); i >= 0 {
		kind, rest = resource[:i], resource[i+1:]
	}
	name, prefix, _ := strings.Cut(rest, "/")
	switch {
	case service == "s3-object-lambda":
		return Source{}, errors.New(isObjectLambda)
	case service == "s3-outposts":
		return Source{}, errors.New(isOutposts)
	case service == "s3" && region == "" && account == "":
		return Source{}, fmt.Errorf("the ARN is that of a bucket: write s3://%s", resource)
	case service != "s3" || kind != "accesspoint":
		return Source{}, errors.New("the ARN is not that of an access point")
	case strings.HasSuffix(name, ".mrap") || region == "" && trail.ValidAccount(account):
		return Source{}, errors.New(isMultiRegion)
	case !trail.ValidRegion(region) || strings.HasPrefix(region, "fips-") || strings.HasSuffix(region, "-fips"):
		return Source{}, fmt.Errorf("%q in the ARN is not a region", region)
	case !trail.ValidAccount(account):
		return Source{}, fmt.Errorf("%q in the ARN is not an account of 12 digits", account)
	case strings.HasSuffix(name, "--xa-s3"):
		return Source{}, errors.New(isDirectory)
	case !accessPointForm.MatchString(name) || isAlias(name):
		return Source{}, fmt.Errorf("%q in the ARN cannot be the name of an access point", name)
	}
	return inBucket("arn:"+partition+":s3:"+region+":"+account+":accesspoint/"+name, prefix), nil
}
