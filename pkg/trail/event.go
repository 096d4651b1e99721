package trail

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"
)

// Event is one record of a log file (AWS CloudTrail User Guide, "CloudTrail
// record contents"). It is the record's own bytes: its methods find and decode
// a member when they are asked, by its exact name. A member that is absent,
// null, or of another type or form than documented, reads as zero, and Raw has
// its bytes. So no event is lost for one odd member.
//
// CloudTrail writes flags as true or as "true", depending on the member and its
// age. All methods read both alike, and numbers as 3 or "3".
type Event struct {
	record  []byte
	members members
}

// usualMembers is room for the members of most events.
const usualMembers = 24

// ParseEvent finds the members of a record, which must be a JSON object;
// errors wrap ErrRecords. The event keeps record, which must not change while
// the event or bytes from it are in use; strings from it are copies.
func ParseEvent(record []byte) (Event, error) {
	if n := objectEnd(record); (n == 0 || n != len(record)) && !json.Valid(record) {
		return Event{}, fmt.Errorf("record: %w: %w", syntaxError(record), ErrRecords)
	}
	e := Event{record: record}
	object := blank(record)
	if object[0] != '{' {
		return Event{}, fmt.Errorf("record: no object: %w", ErrRecords)
	}
	e.members = membersOf(object, usualMembers)
	return e, nil
}

// Record returns the bytes that were parsed.
func (e Event) Record() []byte { return e.record }

// Raw returns the bytes of a top-level member, documented or not, and nil
// where there is none. Of a name that is there twice it is the last.
func (e Event) Raw(name string) json.RawMessage { return e.members.get(name) }

// Version is eventVersion, such as 1.11.
func (e Event) Version() string { return e.members.text("eventVersion") }

// ID is eventID, or eventId as aggregated events write it. The same event can be
// in several files.
func (e Event) ID() string { return e.members.text("eventID", "eventId") }

// Time is eventTime, when the request was completed. Of an aggregated event it
// is the start of timeWindow.
func (e Event) Time() time.Time {
	return instant(cmp.Or(e.members.text("eventTime"), e.members.object("timeWindow").text("windowStart")))
}

// Source is eventSource, such as cloudtrail.amazonaws.com.
func (e Event) Source() string { return e.members.text("eventSource") }

// Name is eventName, such as StopLogging.
func (e Event) Name() string { return e.members.text("eventName") }

// Type is eventType, such as AwsApiCall or AwsConsoleSignIn.
func (e Event) Type() string { return e.members.text("eventType") }

// Category is eventCategory: Management, Data, Insight, NetworkActivity or
// Aggregated.
func (e Event) Category() string { return e.members.text("eventCategory") }

// Region is awsRegion.
func (e Event) Region() string { return e.members.text("awsRegion") }

// SourceIPAddress is an address or the name of an AWS service.
func (e Event) SourceIPAddress() string { return e.members.text("sourceIPAddress") }

// UserAgent is userAgent, cut by CloudTrail at 1 KB.
func (e Event) UserAgent() string { return e.members.text("userAgent") }

// ErrorCode is set when the call failed.
func (e Event) ErrorCode() string { return e.members.text("errorCode") }

// ErrorMessage says why the call failed.
func (e Event) ErrorMessage() string { return e.members.text("errorMessage") }

// RequestID is the called service's.
func (e Event) RequestID() string { return e.members.text("requestID") }

// APIVersion is the called service's.
func (e Event) APIVersion() string { return e.members.text("apiVersion") }

// RecipientAccountID is the account that received the event, which need not be
// the caller's: recipientAccountId, or accountId as aggregated events write it.
func (e Event) RecipientAccountID() string {
	return e.members.text("recipientAccountId", "accountId")
}

// SharedEventID is the same in the events that several accounts get of one
// action.
func (e Event) SharedEventID() string { return e.members.text("sharedEventID") }

// VPCEndpointID is vpcEndpointId.
func (e Event) VPCEndpointID() string { return e.members.text("vpcEndpointId") }

// VPCEndpointAccountID is the account that owns the endpoint.
func (e Event) VPCEndpointAccountID() string { return e.members.text("vpcEndpointAccountId") }

// ReadOnly reports whether readOnly is true. Raw tells whether an event has it:
// old ones do not.
func (e Event) ReadOnly() bool { return e.members.truth("readOnly") }

// ManagementEvent reports whether managementEvent is true.
func (e Event) ManagementEvent() bool { return e.members.truth("managementEvent") }

// SessionCredentialFromConsole reports whether a console session was used.
func (e Event) SessionCredentialFromConsole() bool {
	return e.members.truth("sessionCredentialFromConsole")
}

// RequestParameters is the call's own structure, cut by CloudTrail at 100 KB.
func (e Event) RequestParameters() json.RawMessage { return e.Raw("requestParameters") }

// ResponseElements is the answer to a call that changes something.
func (e Event) ResponseElements() json.RawMessage { return e.Raw("responseElements") }

// AdditionalEventData is what is part of neither request nor answer.
func (e Event) AdditionalEventData() json.RawMessage { return e.Raw("additionalEventData") }

// ServiceEventDetails says what a service event is about.
func (e Event) ServiceEventDetails() json.RawMessage { return e.Raw("serviceEventDetails") }

// EdgeDeviceDetails tells about the device that a request was for.
func (e Event) EdgeDeviceDetails() json.RawMessage { return e.Raw("edgeDeviceDetails") }

// Actor names who acted: the first of userIdentity's arn, principalId,
// onBehalfOf.userId (of IAM Identity Center), userName, invokedBy, accountId
// and type that is not empty.
func (e Event) Actor() string {
	m := e.members.object("userIdentity")
	return cmp.Or(
		m.text("arn", "principalId"), m.object("onBehalfOf").text("userId"),
		m.text("userName", "invokedBy", "accountId", "type"),
	)
}

// Resource is an entry of resources.
type Resource struct {
	ARN, ARNPrefix, AccountID, Type string
}

// Resources are those that the call touched. An entry of another type than
// documented is a zero Resource.
func (e Event) Resources() (list []Resource) {
	for _, raw := range listOf(e.Raw("resources")) {
		m := membersOf(raw, 4)
		list = append(
			list,
			Resource{
				ARN:       m.text("ARN"),
				ARNPrefix: m.text("ARNPrefix"),
				AccountID: m.text("accountId"),
				Type:      m.text("type"),
			},
		)
	}
	return list
}

// TLSDetails is tlsDetails.
type TLSDetails struct {
	Version                  string // tlsVersion, such as TLSv1.3
	CipherSuite              string
	ClientProvidedHostHeader string
}

// TLSDetails tells about the connection of the call.
func (e Event) TLSDetails() TLSDetails {
	m := e.members.object("tlsDetails")
	return TLSDetails{m.text("tlsVersion"), m.text("cipherSuite"), m.text("clientProvidedHostHeader")}
}

// Addendum is addendum.
type Addendum struct {
	Reason            string // such as DELIVERY_DELAY or UPDATED_DATA
	UpdatedFields     string
	OriginalRequestID string
	OriginalEventID   string
}

// Addendum says why an event came late or again.
func (e Event) Addendum() Addendum {
	m := e.members.object("addendum")
	return Addendum{m.text("reason"), m.text("updatedFields"), m.text("originalRequestID"), m.text("originalEventID")}
}

// InsightDetails is insightDetails (AWS CloudTrail User Guide, "CloudTrail
// record contents for Insights events").
type InsightDetails struct {
	State       string // Start or End
	EventSource string
	EventName   string
	ErrorCode   string
	Type        string // insightType, such as ApiCallRateInsight

	// Of insightContext's statistics: calls or errors a minute, usual and
	// during the insight, and minutes.
	Baseline, Insight                 float64
	BaselineDuration, InsightDuration float64

	Attributions json.RawMessage // of insightContext
}

// InsightDetails says what was unusual.
func (e Event) InsightDetails() InsightDetails {
	m := e.members.object("insightDetails")
	context := m.object("insightContext")
	statistics := context.object("statistics")
	return InsightDetails{
		State: m.text("state"), EventSource: m.text("eventSource"), EventName: m.text("eventName"),
		ErrorCode: m.text("errorCode"), Type: m.text("insightType"),
		Baseline: statistics.object("baseline").
			number("average"),
		BaselineDuration: statistics.number("baselineDuration"),
		Insight: statistics.object("insight").
			number("average"),
		InsightDuration: statistics.number("insightDuration"),
		Attributions:    context.get("attributions"),
	}
}

// UserIdentity says who made the request, and with which credentials (AWS
// CloudTrail User Guide, "CloudTrail userIdentity element"). Which fields are
// set depends on Type, and in old events not even Type is.
type UserIdentity struct {
	Type             string // Root, IAMUser, AssumedRole, AWSService, IdentityCenterUser, Unknown, ...
	PrincipalID      string
	ARN              string
	AccountID        string
	AccessKeyID      string
	UserName         string
	InvokedBy        string // the AWS service that made the request
	IdentityProvider string // of SAML and web identities
	CredentialID     string // of IAM Identity Center's users
	OnBehalfOf       OnBehalfOf
	InScopeOf        InScopeOf
	SessionContext   SessionContext
}

// OnBehalfOf is the IAM Identity Center user that the caller acts for.
type OnBehalfOf struct {
	UserID, IdentityStoreARN string
}

// InScopeOf is what a service issued its credentials for.
type InScopeOf struct {
	SourceARN, SourceAccount, IssuerType, CredentialsIssuedTo string
}

// SessionContext tells about temporary credentials.
type SessionContext struct {
	Created         time.Time // attributes.creationDate
	MFA             bool      // attributes.mfaAuthenticated
	Issuer          SessionIssuer
	WebIDFederation WebIDFederation
	SourceIdentity  string
	EC2RoleDelivery string // the version of the instance metadata service: 1.0 or 2.0
	AssumedRoot     bool
}

// SessionIssuer is who the temporary credentials are of.
type SessionIssuer struct {
	Type, PrincipalID, ARN, AccountID, UserName string
}

// WebIDFederation is webIdFederationData.
type WebIDFederation struct {
	FederatedProvider string
	Attributes        map[string]string // nil where there are none
}

// UserIdentity decodes userIdentity.
func (e Event) UserIdentity() UserIdentity {
	m := e.members.object("userIdentity")
	behalf, scope := m.object("onBehalfOf"), m.object("inScopeOf")
	return UserIdentity{
		Type: m.text("type"), PrincipalID: m.text("principalId"), ARN: m.text("arn"),
		AccountID: m.text("accountId"), AccessKeyID: m.text("accessKeyId"), UserName: m.text("userName"),
		InvokedBy: m.text(
			"invokedBy",
		), IdentityProvider: m.text("identityProvider"), CredentialID: m.text("credentialId"),
		OnBehalfOf: OnBehalfOf{behalf.text("userId"), behalf.text("identityStoreArn")},
		InScopeOf: InScopeOf{
			scope.text(
				"sourceArn",
			), scope.text("sourceAccount"), scope.text("issuerType"), scope.text("credentialsIssuedTo"),
		},
		SessionContext: sessionContext(m.object("sessionContext")),
	}
}

func sessionContext(m members) SessionContext {
	attributes, issuer, web := m.object("attributes"), m.object("sessionIssuer"), m.object("webIdFederationData")
	s := SessionContext{
		Created: instant(attributes.text("creationDate")), MFA: attributes.truth("mfaAuthenticated"),
		Issuer: SessionIssuer{
			issuer.text(
				"type",
			), issuer.text("principalId"), issuer.text("arn"), issuer.text("accountId"), issuer.text("userName"),
		},
		WebIDFederation: WebIDFederation{FederatedProvider: web.text("federatedProvider")},
		SourceIdentity: m.text(
			"sourceIdentity",
		), EC2RoleDelivery: m.text("ec2RoleDelivery"), AssumedRoot: m.truth("assumedRoot"),
	}
	for _, a := range web.object("attributes") {
		if s.WebIDFederation.Attributes == nil {
			s.WebIDFederation.Attributes = map[string]string{}
		}
		s.WebIDFederation.Attributes[string(a.name)] = text(a.value)
	}
	return s
}

// instant reads a time as CloudTrail writes it, or without its punctuation as
// in the guide's own examples of creationDate.
func instant(s string) time.Time {
	for _, layout := range []string{time.RFC3339, "20060102T150405Z"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}
