package awsapi_test

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
)

// roles answers AssumeRole before a fake AWS, and keeps who asked for what.
type roles struct {
	http.Handler
	denied bool

	mu    sync.Mutex
	asked []string // role and external id
	keys  map[string]int
}

func (r *roles) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	_, key, _ := strings.Cut(req.Header.Get("Authorization"), "Credential=")
	key, _, _ = strings.Cut(key, "/")
	r.mu.Lock()
	r.keys[key]++
	r.mu.Unlock()
	if req.Method != http.MethodPost || req.Header.Get("X-Amz-Target") != "" || req.URL.Path != "/" {
		r.Handler.ServeHTTP(w, req)
		return
	}
	role := req.FormValue("RoleArn")
	r.mu.Lock()
	r.asked = append(r.asked, role+" "+req.FormValue("ExternalId"))
	n := len(r.asked)
	r.mu.Unlock()
	w.Header().Set("Content-Type", "text/xml")
	if r.denied {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, xml.Header+`<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not authorized to perform: sts:AssumeRole</Message></Error></ErrorResponse>`)
		return
	}
	fmt.Fprintf(w, xml.Header+`<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>`+
		`<AccessKeyId>ASIAROLE%d</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>%s</Expiration>`+
		`</Credentials></AssumeRoleResult></AssumeRoleResponse>`, n, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

func assuming(t *testing.T, role awsapi.Role, denied bool) (*roles, *awsapi.Queue) {
	t.Helper()
	fake := serve(t, testtrail.New())
	r := &roles{Handler: fake, denied: denied, keys: map[string]int{}}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	t.Setenv("AWS_ENDPOINT_URL", server.URL)
	queueURL := fake.Queue("trail").URL()
	q, err := load(t, func(o *awsapi.Options) { o.Role = role }).Queue(queueURL)
	if err != nil {
		t.Fatal(err)
	}
	return r, q
}

const roleARN = "arn:aws:iam::" + testaws.Account + ":role/reader"

func TestRole(t *testing.T) {
	for name, row := range map[string]struct {
		role  awsapi.Role
		asked string
		key   string
	}{
		"none":             {awsapi.Role{}, "[]", "AKIATESTTESTTESTTEST"},
		"role":             {awsapi.Role{ARN: roleARN}, "[" + roleARN + " ]", "ASIAROLE1"},
		"with external id": {awsapi.Role{ARN: roleARN, ExternalID: "x-1"}, "[" + roleARN + " x-1]", "ASIAROLE1"},
	} {
		t.Run(name, func(t *testing.T) {
			r, q := assuming(t, row.role, false)
			for range 3 {
				if _, err := q.Attributes(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if asked := fmt.Sprint(r.asked); asked != row.asked || r.keys[row.key] != 3 {
				t.Errorf("asked %s, requests by key %v", asked, r.keys)
			}
		})
	}
}

func TestRoleRefused(t *testing.T) {
	_, q := assuming(t, awsapi.Role{ARN: roleARN}, true)
	_, err := q.Attributes(t.Context())
	expect(t, err, "sts:AssumeRole", awsapi.ErrCredentials)
}
