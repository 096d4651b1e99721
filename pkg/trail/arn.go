package trail

import (
	"errors"
	"fmt"
	"strings"
)

// ErrARN is wrapped by the errors of ParseARN.
var ErrARN = errors.New("not a trail ARN")

// ARN names a trail: arn:PARTITION:cloudtrail:REGION:ACCOUNT:trail/NAME.
// Region is the trail's home region.
type ARN struct {
	Partition string
	Region    string
	Account   string
	Name      string
}

// ParseARN parses a trail's ARN. Unlike AWS's own tools it rejects what could
// not be a trail: a region, account or name outside CloudTrail's grammar.
func ParseARN(s string) (ARN, error) {
	p := strings.SplitN(s, ":", 6)
	if len(p) != 6 || p[0] != "arn" || p[2] != "cloudtrail" {
		return ARN{}, fmt.Errorf("%q: %w", s, ErrARN)
	}
	kind, name, _ := strings.Cut(p[5], "/")
	a := ARN{Partition: p[1], Region: p[3], Account: p[4], Name: name}
	if kind != "trail" || !validPartition(a.Partition) || !ValidRegion(a.Region) || !ValidAccount(a.Account) || !ValidName(a.Name) {
		return ARN{}, fmt.Errorf("%q: %w", s, ErrARN)
	}
	return a, nil
}

// String returns the ARN's text form, or "" for the zero ARN.
func (a ARN) String() string {
	if a.IsZero() {
		return ""
	}
	return "arn:" + a.Partition + ":cloudtrail:" + a.Region + ":" + a.Account + ":trail/" + a.Name
}

// IsZero reports whether a names no trail.
func (a ARN) IsZero() bool { return a == ARN{} }

func validPartition(s string) bool {
	return (s == "aws" || strings.HasPrefix(s, "aws-")) && onlyBytes(s, isLowerAlnumDash)
}
