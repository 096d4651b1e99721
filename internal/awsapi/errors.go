package awsapi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/trailseal/trailseal/pkg/finding"
)

// What a person has to set right before anything can be read.
var (
	ErrCredentials = errors.New("no valid AWS credentials")
	ErrRegion      = errors.New("no AWS region")
	ErrProfile     = errors.New("no such AWS profile")
)

// maxText bounds what an answer can put into our error texts.
const maxText = 400

// apiError is an error in our own terms. Its text is the service's code and
// message; is holds what callers act on.
type apiError struct {
	text string
	is   []error
}

func (e *apiError) Error() string   { return e.text }
func (e *apiError) Unwrap() []error { return e.is }

// translate turns an error of the SDK into one of ours: "op: cause", wrapping
// what Objects promises. The end of ctx is reported as itself and nothing else
// ever looks like it: a dial that timed out would.
func translate(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", op, ctx.Err())
	}
	return fmt.Errorf("%s: %w", op, explain(err))
}

func explain(err error) *apiError {
	var none *noCredentials
	var region *aws.MissingRegionError
	var api smithy.APIError
	var odd oddAnswer
	switch {
	case errors.As(err, &none):
		return &apiError{ErrCredentials.Error() + ": " + short(whyNone(none.err)), []error{ErrCredentials}}
	case errors.As(err, &region):
		return &apiError{ErrRegion.Error(), []error{ErrRegion}}
	case errors.As(err, &odd):
		return &apiError{text: odd.Error()}
	case errors.As(err, &api):
		return service(api, operationOf(err), statusOf(err))
	}
	switch status := statusOf(err); {
	case throttling("", status):
		return &apiError{statusText(status), []error{finding.ErrThrottled}}
	case status >= 300:
		return &apiError{text: statusText(status)} // whatever answered, it was not the service
	}
	return &apiError{text: short(innermost(err))}
}

// service classifies an answer. The SDK makes up a code from the status where
// the body has none, so a bare 404, which any proxy can say, arrives as
// NotFound and not as one of the codes that mean absence.
func service(e smithy.APIError, op operation, status int) *apiError {
	code, message := e.ErrorCode(), e.ErrorMessage()
	out := &apiError{text: short(code + ": " + message)}
	if message == http.StatusText(status) && code == strings.ReplaceAll(message, " ", "") || code == "UnknownError" && message == code {
		out.text = statusText(status)
	}
	if out.is = absent(code, op, status); out.is != nil {
		return out
	}
	switch {
	case code == "InvalidObjectState":
		out.is = []error{finding.ErrArchived}
	case aboutKMS(code, message):
		out.is = []error{finding.ErrKMSDenied}
	case throttling(code, status), slices.Contains(tooManyInFlight, code):
		out.is = []error{finding.ErrThrottled}
	case slices.Contains(badCredentials, code):
		out.is = []error{ErrCredentials, fs.ErrPermission}
	case status == http.StatusForbidden || strings.HasPrefix(code, "AccessDenied"):
		out.is = []error{fs.ErrPermission}
	}
	return out
}

// absent returns what callers act on where an answer says that something is not
// there. A code means absence only in an answer to an operation that can find it
// out: S3 never says NoSuchKey to a listing.
//
// NoSuchAccessPoint does not mean absence. The access point was one way to the
// objects, and their bucket may be there.
func absent(code string, op operation, status int) []error {
	switch {
	case op.service == s3.ServiceID && code == "NoSuchBucket" && status == http.StatusNotFound:
		return []error{fs.ErrNotExist, finding.ErrNoBucket}
	case op == operation{s3.ServiceID, "GetObject"} && code == "NoSuchKey" && status == http.StatusNotFound:
		return []error{fs.ErrNotExist}
	case op.service == sqs.ServiceID && slices.Contains(noQueue, code):
		return []error{fs.ErrNotExist}
	}
	return nil
}

// operation is what was asked for, as the SDK names it.
type operation struct{ service, name string }

func operationOf(err error) operation {
	var e *smithy.OperationError
	if errors.As(err, &e) {
		return operation{e.Service(), e.Operation()}
	}
	return operation{}
}

// Codes of SQS: its own, and those of the old query protocol that it still
// sends along.
var (
	noQueue         = []string{"QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"}
	tooManyInFlight = []string{"OverLimit", "AWS.SimpleQueueService.OverLimit"}
)

// badCredentials are the codes by which services refuse the caller, whatever
// was asked for.
var badCredentials = []string{
	"ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "InvalidAccessKeyId", "InvalidClientTokenId",
	"InvalidSecurity", "InvalidSignatureException", "InvalidToken", "MissingAuthenticationToken",
	"MissingAuthenticationTokenException", "RequestTimeTooSkewed", "SignatureDoesNotMatch", "TokenRefreshRequired",
	"UnrecognizedClientException",
}

// aboutKMS reports whether the key service refused: S3 passes its codes on
// with a KMS. prefix, or says AccessDenied and names the action or the
// ciphertext. The name of a bucket or a role cannot hold a colon.
func aboutKMS(code, message string) bool {
	return strings.HasPrefix(code, "KMS.") || strings.HasPrefix(code, "AccessDenied") &&
		(strings.Contains(message, "kms:Decrypt") || strings.Contains(message, "ciphertext"))
}

func throttling(code string, status int) bool {
	_, known := retry.DefaultThrottleErrorCodes[code]
	return known || status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests
}

func configError(err error) error {
	const op = "load AWS configuration"
	var profile config.SharedConfigProfileNotExistError
	if errors.As(err, &profile) {
		return fmt.Errorf("%s: %w: %s", op, ErrProfile, profile.Profile)
	}
	return fmt.Errorf("%s: %s", op, short(err.Error()))
}

// statusOf returns the HTTP status of the answer, 0 where there was none.
func statusOf(err error) int {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) && r.Response != nil {
		return r.HTTPStatusCode()
	}
	return 0
}

func statusText(status int) string {
	return statusLine(status) + " without an error code"
}

// innermost returns the text of the transport's own error, without the SDK's
// layers around it.
func innermost(err error) string {
	for {
		var u *url.Error
		if errors.As(err, &u) {
			return u.Err.Error() // says what was dialled
		}
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// whyNone returns why there are no credentials: what the service said that
// should have given them, or what the SDK says, without how it asked.
func whyNone(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode() + ": " + api.ErrorMessage()
	}
	s, _, _ := strings.Cut(err.Error(), ", operation error")
	return strings.TrimPrefix(s, "failed to refresh cached credentials, ")
}

func short(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "..."
	}
	return s
}
