package notify

import (
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Limits of S3, in bytes.
const (
	maxKey       = 1024
	maxVersionID = 1024
)

// place is the bucket and the object of an S3 event or an EventBridge event.
// Removals have neither size nor eTag.
type place struct {
	Bucket struct {
		Name string `json:"name"`
	} `json:"bucket"`
	Object struct {
		Key       string         `json:"key"`
		Size      jsontext.Value `json:"size"`
		VersionID jsontext.Value `json:"versionId"`  // of S3 events
		VersionEB jsontext.Value `json:"version-id"` // of EventBridge events
	} `json:"object"`

	// Of EventBridge's "Object Deleted" events alone: see eventBridge.
	Reason       jsontext.Value `json:"reason"`
	DeletionType jsontext.Value `json:"deletion-type"`
}

type record struct {
	EventVersion string         `json:"eventVersion"`
	EventName    string         `json:"eventName"`
	S3           jsontext.Value `json:"s3"`
}

// records reads S3's own events. Their keys are form-urlencoded.
func (b *builder) records(list jsontext.Value) error {
	var records []record
	if err := unmarshal(list, &records); err != nil {
		return err
	}
	if len(records) == 0 {
		return unknown("no records")
	}
	for _, r := range records {
		if err := b.record(r); err != nil {
			return err
		}
	}
	return nil
}

// record reads one event. S3 names four removals (S3 user guide, "Supported
// event types for SQS, SNS, and Lambda"):
//
//	ObjectRemoved:Delete                     an object, or the version versionId, is deleted for good
//	ObjectRemoved:DeleteMarkerCreated        a delete marker with the id versionId was made
//	LifecycleExpiration:Delete               the same by a lifecycle rule: without versions, or a noncurrent version
//	LifecycleExpiration:DeleteMarkerCreated  the same by a lifecycle rule: the current version
//
// An unknown second half of such a name counts as a deletion for good.
func (b *builder) record(r record) error {
	if !strings.HasPrefix(r.EventVersion, "2.") {
		return unknown("eventVersion %.40q", r.EventVersion)
	}
	kind, how, _ := strings.Cut(strings.TrimPrefix(r.EventName, "s3:"), ":")
	switch kind {
	case "":
		return unknown("a record without eventName")
	case "ObjectCreated", "ObjectRemoved", "LifecycleExpiration":
	default:
		b.message.Ignored++
		return nil
	}
	var at place
	if err := unmarshal(r.S3, &at); err != nil {
		return err
	}
	key, err := url.QueryUnescape(at.Object.Key)
	if err != nil {
		return unknown("key %.100q", at.Object.Key)
	}
	if kind == "ObjectCreated" {
		return b.create(at.object(key))
	}
	version, err := text(at.Object.VersionID)
	if err != nil {
		return err
	}
	cause := causeOf(kind == "LifecycleExpiration", how == "DeleteMarkerCreated")
	return b.remove(Removal{Object: at.object(key), VersionID: version, Cause: cause})
}

// eventBridge reads an event of the default bus. Its key is verbatim.
//
// The detail of an "Object Deleted" event has two more members (S3 user guide,
// "EventBridge event message structure"): reason is "DeleteObject" or "Lifecycle
// Expiration", deletion-type is "Permanently Deleted" or "Delete Marker
// Created". Other values, and none, count as a request that deletes for good: a
// caller looks at that more closely than at the others.
func (b *builder) eventBridge(in body) error {
	source, err := text(in.Source)
	if err != nil {
		return err
	}
	kind, err := text(in.DetailType)
	if err != nil {
		return err
	}
	switch {
	case source != "aws.s3" || !strings.HasPrefix(kind, "Object "):
		return unknown("%.40q from %.40q", kind, source)
	case kind != "Object Created" && kind != "Object Deleted":
		b.message.Ignored++ // a restore, tags, a storage class
		return nil
	}
	var at place
	if err := unmarshal(in.Detail, &at); err != nil {
		return err
	}
	if kind == "Object Created" {
		return b.create(at.object(at.Object.Key))
	}
	return b.deleted(at)
}

// deleted reads the detail of an "Object Deleted" event.
func (b *builder) deleted(at place) error {
	version, errVersion := text(at.Object.VersionEB)
	reason, errReason := text(at.Reason)
	kind, errKind := text(at.DeletionType)
	if err := errors.Join(errVersion, errReason, errKind); err != nil {
		return err
	}
	cause := causeOf(reason == "Lifecycle Expiration", kind == "Delete Marker Created")
	return b.remove(Removal{Object: at.object(at.Object.Key), VersionID: version, Cause: cause})
}

func (p place) object(key string) trail.Object {
	return trail.Object{Bucket: p.Bucket.Name, Key: key, Size: size(p.Object.Size)}
}

// size returns 0, unknown, for anything but a number of bytes: the size is only
// a hint.
func size(v jsontext.Value) int64 {
	var n int64
	if unmarshal(v, &n) != nil || n < 0 {
		return 0
	}
	return n
}

// checkObject returns an error that wraps ErrUnknown for names that S3 cannot
// have.
func checkObject(o trail.Object) error {
	switch {
	case o.Bucket == "" || o.Key == "":
		return unknown("an object without bucket or key")
	case len(o.Key) > maxKey || !utf8.ValidString(o.Key):
		return unknown("key %.100q", o.Key)
	}
	return nil
}
