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
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/trailseal/trailseal/pkg/trail"
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
	switch {
	case errors.As(err, &none):
		return &apiError{ErrCredentials.Error() + ": " + short(innermost(none.err)), []error{ErrCredentials}}
	case errors.As(err, &region):
		return &apiError{ErrRegion.Error(), []error{ErrRegion}}
	case errors.As(err, &api):
		return service(api, statusOf(err))
	}
	text := short(innermost(err))
	switch status := statusOf(err); {
	case throttling("", status):
		return &apiError{statusText(status), []error{trail.ErrThrottled}}
	case status >= 300:
		return &apiError{statusText(status), nil} // whatever answered, it was not the service
	}
	return &apiError{text: text}
}

// service classifies an answer. The SDK makes up a code from the status where
// the body has none, so a bare 404, which any proxy can say, arrives as
// NotFound and not as one of the codes that mean absence.
func service(e smithy.APIError, status int) *apiError {
	code, message := e.ErrorCode(), e.ErrorMessage()
	out := &apiError{text: short(code + ": " + message)}
	if code == strings.ReplaceAll(message, " ", "") && status > 0 {
		out.text = statusText(status)
	}
	switch {
	case slices.Contains(absent, code) && status == http.StatusNotFound:
		out.is = []error{fs.ErrNotExist}
	case code == "InvalidObjectState":
		out.is = []error{trail.ErrArchived}
	case aboutKMS(code, message):
		out.is = []error{trail.ErrKMSDenied}
	case throttling(code, status):
		out.is = []error{trail.ErrThrottled}
	case slices.Contains(badCredentials, code):
		out.is = []error{ErrCredentials, fs.ErrPermission}
	case status == http.StatusForbidden || strings.HasPrefix(code, "AccessDenied"):
		out.is = []error{fs.ErrPermission}
	}
	return out
}

var absent = []string{"NoSuchKey", "NoSuchBucket"}

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
	return fmt.Sprintf("HTTP %d %s without an error code", status, http.StatusText(status))
}

// innermost returns the text of the transport's own error where there is one,
// without the SDK's layers around it.
func innermost(err error) string {
	var op *smithy.OperationError
	var u *url.Error
	switch {
	case errors.As(err, &u):
		return u.Err.Error()
	case errors.As(err, &op):
		return op.Err.Error()
	}
	return err.Error()
}

func short(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "..."
	}
	return s
}
