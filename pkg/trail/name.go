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

// ValidAccount reports whether s is an AWS account id: 12 digits.
func ValidAccount(s string) bool { return len(s) == 12 && onlyBytes(s, isDigit) }

// ValidRegion reports whether s has the form of a region name, such as
// us-east-1 or us-gov-west-1. Regions unknown to this version are valid.
func ValidRegion(s string) bool {
	return len(s) >= 4 && len(s) <= 32 && isLower(s[0]) && strings.Contains(s, "-") &&
		!strings.Contains(s, "--") && s[len(s)-1] != '-' && onlyBytes(s, isLowerAlnumDash)
}

// ValidName reports whether s can be a trail's name: 3 to 128 of
// A-Z a-z 0-9 . _ - (CloudTrail API, CreateTrail).
func ValidName(s string) bool {
	return len(s) >= 3 && len(s) <= 128 && onlyBytes(s, isNameByte)
}

// ValidOrganization reports whether s is an organization id: "o-" and 10 to
// 32 of a-z 0-9 (Organizations API, Organization).
func ValidOrganization(s string) bool {
	id, ok := strings.CutPrefix(s, "o-")
	return ok && len(id) >= 10 && len(id) <= 32 && onlyBytes(id, isLowerAlnum)
}

func onlyBytes(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool          { return '0' <= c && c <= '9' }
func isLower(c byte) bool          { return 'a' <= c && c <= 'z' }
func isLowerAlnum(c byte) bool     { return isLower(c) || isDigit(c) }
func isLowerAlnumDash(c byte) bool { return isLowerAlnum(c) || c == '-' }
func isAlnum(c byte) bool          { return isLowerAlnum(c) || 'A' <= c && c <= 'Z' }
func isNameByte(c byte) bool       { return isAlnum(c) || c == '.' || c == '_' || c == '-' }
