package prove

import (
	"encoding/json"
	"strings"

	"github.com/trailseal/trailseal/pkg/trail"
)

// SwitchesOff returns the name of the trail whose logging or validation an
// event ended. The call names a trail by name or by ARN.
func SwitchesOff(e trail.Event) (name string, ok bool) {
	if e.Source() != "cloudtrail.amazonaws.com" || e.ErrorCode() != "" {
		return "", false
	}
	var request struct {
		Name       string `json:"name"`
		Validation *bool  `json:"enableLogFileValidation"`
	}
	if json.Unmarshal(e.RequestParameters(), &request) != nil || request.Name == "" {
		return "", false
	}
	switch e.Name() {
	case "StopLogging", "DeleteTrail":
	case "UpdateTrail":
		if request.Validation == nil || *request.Validation {
			return "", false
		}
	default:
		return "", false
	}
	return request.Name[strings.LastIndexByte(request.Name, '/')+1:], true
}
