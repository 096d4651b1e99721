package awsapi

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// accessPoint is what the ARN of an access point names. An access point belongs
// to one region, so requests need not ask for it first.
type accessPoint struct{ region, account, name string }

// AWS writes a slash before the name and takes a colon too.
var accessPointARN = regexp.MustCompile(`^arn:aws[a-z-]*:s3:([a-z0-9-]+):([0-9]{12}):accesspoint[/:]([a-z0-9-]+)$`)

// parseAccessPoint reads the ARN of an access point. An alias is not an ARN: S3
// takes it wherever a bucket's name may stand.
func parseAccessPoint(arn string) (accessPoint, bool) {
	m := accessPointARN.FindStringSubmatch(arn)
	if m == nil {
		return accessPoint{}, false
	}
	return accessPoint{region: m[1], account: m[2], name: m[3]}, true
}

// label is how S3 names an access point in front of its host.
func (p accessPoint) label() string { return p.name + "-" + p.account }

// throughAccessPoint returns the client for an access point and the bucket's
// name in its requests.
//
// The SDK takes the ARN and puts NAME-ACCOUNT in front of the host, that of a
// custom endpoint too: so S3 has it, and its interface endpoints of a VPC
// (accesspoint.vpce-….s3.REGION.vpce.amazonaws.com). The SDK refuses to put an
// ARN into the path. Where the endpoint's host is an IP address or a single
// word, such as localhost, nothing can stand in front of it. There NAME-ACCOUNT
// goes into the path, as the name of a bucket would. The server has to know it.
func (s *S3) throughAccessPoint(p accessPoint, arn string) (client *s3.Client, sent string) {
	client = s.regional(p.region)
	switch endpoint := client.Options().BaseEndpoint; {
	case endpoint == nil:
		return client, arn
	case takesLabels(*endpoint):
		return s.newClient(p.region, func(o *s3.Options) { o.UsePathStyle = false }), arn
	}
	return client, p.label()
}

// takesLabels reports whether a label can stand in front of an endpoint's host.
func takesLabels(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	_, err = netip.ParseAddr(u.Hostname())
	return err != nil && strings.Contains(u.Hostname(), ".")
}
