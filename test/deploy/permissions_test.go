package deploy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// The actions of AWS that each program needs. Everything else here is held to
// these lists: the code, the README, the templates and the modules.
var (
	verifierActions = []string{
		"cloudtrail:DescribeTrails", "cloudtrail:ListPublicKeys", "kms:Decrypt", "organizations:DescribeOrganization",
		"s3:GetObject", "s3:ListBucket",
	}
	ingestActions = []string{
		"cloudtrail:ListPublicKeys", "kms:Decrypt", "kms:GenerateDataKey", "s3:GetObject", "s3:ListBucket", "s3:PutObject",
		"sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sts:AssumeRole",
	}
)

// permitted are the actions that each operation of the SDK needs where objects
// are encrypted with a key of one's own.
var permitted = map[string][]string{
	"HeadBucket":                   {"s3:ListBucket"},
	"ListObjectsV2":                {"s3:ListBucket"},
	"GetObject":                    {"s3:GetObject", "kms:Decrypt"},
	"PutObject":                    {"s3:PutObject", "kms:GenerateDataKey"},
	"ReceiveMessage":               {"sqs:ReceiveMessage", "kms:Decrypt"},
	"DeleteMessageBatch":           {"sqs:DeleteMessage"},
	"ChangeMessageVisibilityBatch": {"sqs:ChangeMessageVisibility"},
	"GetQueueAttributes":           {"sqs:GetQueueAttributes"},
	"ListPublicKeys":               {"cloudtrail:ListPublicKeys"},
	"DescribeTrails":               {"cloudtrail:DescribeTrails"},
	"DescribeOrganization":         {"organizations:DescribeOrganization"},
	"AssumeRole":                   {"sts:AssumeRole"},
}

var action = regexp.MustCompile(`\b(?:s3|sqs|sns|kms|sts|cloudtrail|organizations|events):[A-Z][A-Za-z]+\b`)

func sorted(list []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(list)))
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if got, want := sorted(got), sorted(want); !slices.Equal(got, want) {
		t.Errorf("%s:\ngot  %v\nwant %v", what, got, want)
	}
}

// The code calls what the lists allow and nothing else.
func TestCodeNeedsTheseActions(t *testing.T) {
	operations := map[string]bool{}
	for _, client := range []reflect.Type{
		reflect.TypeFor[*s3.Client](), reflect.TypeFor[*sqs.Client](), reflect.TypeFor[*cloudtrail.Client](),
		reflect.TypeFor[*organizations.Client](), reflect.TypeFor[*sts.Client](),
	} {
		for i := range client.NumMethod() {
			operations[client.Method(i).Name] = client.Method(i).Type.NumIn() == 4 // itself, context, input, options
		}
	}
	var got []string
	calls := 0
	names, err := filepath.Glob(root + "/internal/awsapi/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			operation := s.Sel.Name
			switch {
			case operation == "NewAssumeRoleProvider":
				operation = "AssumeRole"
			case strings.HasPrefix(operation, "New") && (strings.HasSuffix(operation, "Paginator") || strings.HasSuffix(operation, "Waiter")):
				t.Errorf("%s: what %s calls is not known to this test", name, operation)
				return true
			case !operations[operation]:
				return true
			}
			calls++
			if permitted[operation] == nil {
				t.Errorf("%s calls %s: say in permitted what that needs, and let the policies follow", name, operation)
			}
			got = append(got, permitted[operation]...)
			return true
		})
	}
	if calls < len(permitted) {
		t.Errorf("%d calls found, fewer than operations known", calls)
	}
	same(t, "internal/awsapi", got, slices.Concat(verifierActions, ingestActions))
}

// ingest check names each action that it tries. A role it tries by using it.
func TestCheckTriesTheseActions(t *testing.T) {
	text := string(read(t, "cmd/ingest/check.go")) + string(read(t, "internal/preflight/preflight.go"))
	same(t, "ingest check", append(action.FindAllString(text, -1), "sts:AssumeRole"), ingestActions)
}

func TestReadmeListsTheseActions(t *testing.T) {
	text := string(read(t, "README.md"))
	verifier := between(t, text, "\n### Permissions\n", "\n## ")
	same(t, "README, verifier", action.FindAllString(verifier, -1), verifierActions)
	ingest := between(t, text, "\n## ingest\n", "\n## ")
	same(t, "README, ingest", action.FindAllString(ingest, -1), ingestActions)
}

func between(t *testing.T, text, from, to string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, from)
	part, _, ends := strings.Cut(rest, to)
	if !ok || !ends {
		t.Fatalf("no %q, or nothing after it", from)
	}
	return part
}

func TestTemplatesAllowTheseActions(t *testing.T) {
	access := load(t, "access.yaml", allOfAccess)
	worker := load(t, "worker.yaml", allOfWorker)
	verifier := statements(t, access.properties("VerifierPolicy")["PolicyDocument"])
	same(t, "verifier", allowed(verifier), verifierActions)
	read := statements(t, access.properties("IngestPolicy")["PolicyDocument"])
	sink := statements(t, at(t, worker.properties("TaskRole"), "Policies", 0, "PolicyDocument"))
	same(t, "ingest", append(allowed(read), allowed(sink)...), ingestActions)
}

func allowed(statements map[string]statement) (all []string) {
	for _, s := range statements {
		all = append(all, s.Actions...)
	}
	return all
}

// What is allowed on everything is only what knows no resources.
func TestTemplatesNameResources(t *testing.T) {
	access := load(t, "access.yaml", allOfAccess)
	everything := []string{"cloudtrail:DescribeTrails", "cloudtrail:ListPublicKeys", "organizations:DescribeOrganization"}
	for _, policy := range []string{"VerifierPolicy", "IngestPolicy"} {
		for sid, s := range statements(t, access.properties(policy)["PolicyDocument"]) {
			for _, r := range s.Resources {
				if r == "*" && !slices.ContainsFunc(s.Actions, func(a string) bool { return slices.Contains(everything, a) }) || strings.Contains(strings.Join(s.Actions, " "), "*") {
					t.Errorf("%s, %s: %v on %v", policy, sid, s.Actions, s.Resources)
				}
			}
		}
	}
}

// Without keys, queue and reader, nothing of them is allowed.
func TestOptionalPermissions(t *testing.T) {
	access := load(t, "access.yaml", map[string]string{"TrailBucket": "b"})
	same(t, "ingest", allowed(statements(t, access.properties("IngestPolicy")["PolicyDocument"])), []string{"s3:ListBucket", "s3:GetObject", "cloudtrail:ListPublicKeys"})
	if access.properties("ReaderRole") != nil {
		t.Error("a reader role without a reader")
	}
	worker := load(t, "worker.yaml", map[string]string{"SinkBucket": "s", "IngestPolicyArn": "p"})
	same(t, "sink", allowed(statements(t, at(t, worker.properties("TaskRole"), "Policies", 0, "PolicyDocument"))), []string{"s3:PutObject"})
}
