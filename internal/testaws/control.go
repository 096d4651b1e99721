package testaws

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
)

// Trail is an entry of DescribeTrails.
type Trail struct {
	Name                string
	S3BucketName        string
	S3KeyPrefix         string `json:",omitempty"`
	TrailARN            string
	HomeRegion          string
	IsMultiRegionTrail  bool
	IsOrganizationTrail bool
}

// Describe returns the entry of a trail that an account owns.
func Describe(t *testtrail.Trail, owner string) Trail {
	return Trail{
		Name: t.Name, S3BucketName: t.Bucket, S3KeyPrefix: t.Prefix, TrailARN: t.ARN(owner).String(),
		HomeRegion: t.HomeRegion, IsMultiRegionTrail: true, IsOrganizationTrail: t.Organization != "",
	}
}

// serveJSON answers CloudTrail and Organizations.
func (s *Server) serveJSON(w http.ResponseWriter, r *http.Request, c call, f Fault) {
	switch c.op {
	case "ListPublicKeys":
		s.publicKeys(w, r, c, f.Empty)
	case "DescribeTrails":
		s.describeTrails(w, r, c, f.Empty)
	case "DescribeOrganization":
		s.describeOrganization(w, c)
	default:
		fail(w, c, apiError{status: 400, code: "UnknownOperationException", message: "testaws does not do " + c.op})
	}
}

// publicKey is an entry of PublicKeyList; its times are seconds since 1970.
type publicKey struct {
	Value             string
	ValidityStartTime json.Number
	ValidityEndTime   json.Number
	Fingerprint       string
}

func (s *Server) publicKeys(w http.ResponseWriter, r *http.Request, c call, empty bool) {
	var ask struct {
		StartTime, EndTime *float64
		NextToken          string
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		fail(w, c, apiError{status: 400, code: "SerializationException", message: err.Error()})
		return
	}
	from, to := moment(ask.StartTime), moment(ask.EndTime)
	if from.After(to) {
		fail(w, c, apiError{status: 400, code: "InvalidTimeRangeException", message: "The start time is after the end time."})
		return
	}
	set, err := s.World.PublicKeys(r.Context(), c.region, from, to)
	if err != nil {
		fail(w, c, apiError{status: 500, code: "InternalFailure", message: err.Error()})
		return
	}
	keys := set.Keys
	if empty {
		keys = nil
	}
	first := 0
	if ask.NextToken != "" {
		if first, err = strconv.Atoi(strings.TrimPrefix(ask.NextToken, "after-")); err != nil || first < 0 || first > len(keys) {
			fail(w, c, apiError{status: 400, code: "InvalidTokenException", message: "The token is invalid."})
			return
		}
	}
	last, answer := len(keys), map[string]any{}
	if s.KeyPage > 0 && first+s.KeyPage < last {
		last = first + s.KeyPage
		answer["NextToken"] = fmt.Sprintf("after-%d", last)
	}
	list := []publicKey{}
	for _, k := range keys[first:last] {
		list = append(list, publicKey{
			Value: base64.StdEncoding.EncodeToString(k.DER), Fingerprint: k.Fingerprint,
			ValidityStartTime: seconds(k.From), ValidityEndTime: seconds(k.To),
		})
	}
	answer["PublicKeyList"] = list
	writeJSON(w, http.StatusOK, answer)
}

func moment(unix *float64) time.Time {
	if unix == nil {
		return time.Now()
	}
	whole, part := math.Modf(*unix)
	return time.Unix(int64(whole), int64(part*1e9)).UTC()
}

// seconds writes a time as AWS JSON does: 1.7E9 and 1700000000.0 are both seen.
func seconds(t time.Time) json.Number {
	return json.Number(strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 1, 64))
}

func (s *Server) describeTrails(w http.ResponseWriter, r *http.Request, c call, empty bool) {
	var ask struct {
		TrailNameList []string `json:"trailNameList"`
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		fail(w, c, apiError{status: 400, code: "SerializationException", message: err.Error()})
		return
	}
	list := []Trail{}
	for _, t := range s.Trails {
		asked := len(ask.TrailNameList) == 0 || slices.Contains(ask.TrailNameList, t.Name) || slices.Contains(ask.TrailNameList, t.TrailARN)
		if asked && !empty {
			list = append(list, t)
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"trailList": list})
}

func (s *Server) describeOrganization(w http.ResponseWriter, c call) {
	if s.Organization == "" {
		fail(w, c, apiError{status: 400, code: "AWSOrganizationsNotInUseException", message: "Your account is not a member of an organization."})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"Organization": map[string]string{
		"Id": s.Organization, "FeatureSet": "ALL", "MasterAccountId": s.Account,
		"Arn": "arn:aws:organizations::" + s.Account + ":organization/" + s.Organization,
	}})
}

func (s *Server) callerIdentity(w http.ResponseWriter) {
	writeXML(w, http.StatusOK, []byte(xml.Header+`<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>`+
		`<Arn>arn:aws:iam::`+s.Account+`:user/test</Arn><UserId>AIDATEST</UserId><Account>`+s.Account+`</Account>`+
		`</GetCallerIdentityResult><ResponseMetadata><RequestId>`+requestID+`</RequestId></ResponseMetadata></GetCallerIdentityResponse>`))
}
