package awsapi

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithymw "github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// The codes of OnRequest that are no HTTP status. What an answer says of
// itself names no code: whoever answers could make up one for each request.
const (
	codeThrottled   = "throttled"   // whatever the status
	codeCredentials = "credentials" // there are none, or the service does not take them
	codeDenied      = "denied"      // whatever the status: some services say so with a 400
	codeCanceled    = "canceled"
	codeNone        = "none" // no answer came, or not one of S3's own
)

// observe returns the SDK option by which each attempt is told of: one request
// that went better the third time is three.
func observe(tell func(service, operation, code string)) func(*smithymw.Stack) error {
	m := smithymw.FinalizeMiddlewareFunc("trailseal:observe", func(ctx context.Context, in smithymw.FinalizeInput, next smithymw.FinalizeHandler) (smithymw.FinalizeOutput, smithymw.Metadata, error) {
		out, meta, err := next.HandleFinalize(ctx, in)
		service, operation := middleware.GetServiceID(ctx), middleware.GetOperationName(ctx)
		tell(cmp.Or(service, "other"), cmp.Or(operation, "other"), attemptCode(ctx, meta, err))
		return out, meta, err
	})
	return func(stack *smithymw.Stack) error {
		const retries = "Retry" // the SDK's; what comes after it runs for each attempt
		if _, ok := stack.Finalize.Get(retries); !ok {
			return stack.Finalize.Add(m, smithymw.After)
		}
		return stack.Finalize.Insert(m, retries, smithymw.After)
	}
}

func attemptCode(ctx context.Context, meta smithymw.Metadata, err error) string {
	var api smithy.APIError
	var none *noCredentials
	status := statusOf(err)
	if r, ok := middleware.GetRawResponse(meta).(*smithyhttp.Response); ok && status == 0 && r != nil {
		status = r.StatusCode
	}
	if errors.As(err, &api) {
		if _, known := retry.DefaultThrottleErrorCodes[api.ErrorCode()]; known {
			return codeThrottled
		}
		if slices.Contains(badCredentials, api.ErrorCode()) {
			return codeCredentials
		}
		if strings.HasPrefix(api.ErrorCode(), "AccessDenied") {
			return codeDenied
		}
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return codeCanceled
	case errors.As(err, &none):
		return codeCredentials
	case status >= 100 && status < 600 && (err == nil || status >= 300):
		return strconv.Itoa(status)
	}
	return codeNone // or one that broke off while it was decoded
}
