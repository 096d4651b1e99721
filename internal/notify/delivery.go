package notify

import (
	"time"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Delivery is what one message announces.
type Delivery struct {
	Created []trail.Object
	Removed []Removal // hints to look at objects, never findings by themselves
	Sent    time.Time // when the message was sent, the same each time it comes; zero when unknown

	// Done ends the delivery. The receiver calls it exactly once, from any
	// goroutine. It never blocks. Further calls do nothing.
	//
	// nil deletes the message. An error makes the message come back: at once if
	// the error wraps context.Canceled, else after a while that grows each time.
	Done func(error)
}

// Removal is the deletion of an object that a message announces.
//
// The object may still be there: a message can be forged, late or about one
// version among several.
type Removal struct {
	Object    trail.Object
	VersionID string // of the version deleted or of the delete marker made; empty without versions
	Cause     Cause
}

// OneVersion reports whether S3 deleted a single version for good and may have
// others of the same object.
//
// The message does not say whether the version was the current one, a noncurrent
// one or a delete marker. If the object can still be read, it was not current.
func (r Removal) OneVersion() bool { return r.VersionID != "" && !r.Cause.Marker() }

// Cause says what removed an object, and how.
type Cause string

// The causes. Lifecycle rules delete for good what has expired in a bucket
// without versions, and noncurrent versions. They hide a current version behind
// a delete marker.
const (
	Deleted       Cause = "deleted"                         // a request deleted it for good
	Marked        Cause = "delete marker created"           // a request hid it, its versions stay
	Expired       Cause = "expired"                         // a lifecycle rule deleted it for good
	ExpiredMarked Cause = "expired (delete marker created)" // a lifecycle rule hid it, its versions stay
)

// Lifecycle reports whether a lifecycle rule of the bucket removed the object.
func (c Cause) Lifecycle() bool { return c == Expired || c == ExpiredMarked }

// Marker reports whether a delete marker hides the object and its versions stay.
func (c Cause) Marker() bool { return c == Marked || c == ExpiredMarked }

func causeOf(lifecycle, marker bool) Cause {
	switch {
	case lifecycle && marker:
		return ExpiredMarked
	case lifecycle:
		return Expired
	case marker:
		return Marked
	}
	return Deleted
}
