package chain

import (
	"encoding/json"
	"strings"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Off is a call that ended a trail's logging or its validation.
type Off struct {
	// Trail is the trail that the call names: owner account, home region and
	// name. Its partition is "" where the call names the trail by its name alone.
	Trail trail.ARN
}

// SwitchOff returns which trail an event switches off, and whether the event does:
// a successful StopLogging or DeleteTrail, or an UpdateTrail that disables log file
// validation. The caller passes events of proven log files only. A call
// that names the trail by its name alone concerns the trail of the account and
// region that the event was recorded for (recipientAccountId, awsRegion).
//
// Source: AWS CloudTrail API reference, StopLogging, DeleteTrail, UpdateTrail.
func SwitchOff(e trail.Event) (Off, bool) {
	if e.Source() != "cloudtrail.amazonaws.com" || e.ErrorCode() != "" {
		return Off{}, false
	}
	var request struct {
		Name       string `json:"name"`
		Validation *bool  `json:"enableLogFileValidation"`
	}
	if json.Unmarshal(e.RequestParameters(), &request) != nil || request.Name == "" {
		return Off{}, false
	}
	switch e.Name() {
	case "StopLogging", "DeleteTrail":
	case "UpdateTrail":
		if request.Validation == nil || *request.Validation {
			return Off{}, false
		}
	default:
		return Off{}, false
	}
	if strings.HasPrefix(request.Name, "arn:") {
		arn, err := trail.ParseARN(request.Name)
		return Off{arn}, err == nil
	}
	return Off{trail.ARN{Region: e.Region(), Account: e.RecipientAccountID(), Name: request.Name}}, true
}

// Match says whether a call concerns a chain's trail. The zero Match is No.
type Match int

// The answers. Possible: name and home region match, and the owner of the
// organization's trail is not known.
const (
	No Match = iota
	Possible
	Yes
)

// Of reports whether the call switched off the trail that writes the chain. The
// owner of an account's own trail is the chain's account. The owner of an
// organization's trail is the organization's management account; "" where that is
// not known.
func (o Off) Of(c trail.Chain, management string) Match {
	if o.Trail.Name != c.Trail || o.Trail.Region != c.HomeRegion {
		return No
	}
	owner := c.Account
	if c.Organization != "" {
		owner = management
	}
	switch {
	case owner == "" || o.Trail.Account == "": // old records have no recipientAccountId
		return Possible
	case owner == o.Trail.Account:
		return Yes
	}
	return No
}
