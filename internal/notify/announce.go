package notify

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/trailseal/trailseal/pkg/trail"
)

// maxKey is S3's limit.
const maxKey = 1024

// announcement is a message that is being read.
type announcement struct {
	Message
	seen map[seen]bool
}

type seen struct {
	bucket, key string
	created     bool
}

// place is the bucket and the object of an S3 event or an EventBridge event.
type place struct {
	Bucket struct {
		Name string `json:"name"`
	} `json:"bucket"`
	Object struct {
		Key  string         `json:"key"`
		Size jsontext.Value `json:"size"` // absent of removals
	} `json:"object"`
}

type record struct {
	EventVersion string         `json:"eventVersion"`
	EventName    string         `json:"eventName"`
	S3           jsontext.Value `json:"s3"`
}

// records reads S3's own events. Their keys are form-urlencoded.
func (a *announcement) records(list jsontext.Value) error {
	var records []record
	if err := unmarshal(list, &records); err != nil {
		return err
	}
	if len(records) == 0 {
		return unknown("no records")
	}
	for _, r := range records {
		if !strings.HasPrefix(r.EventVersion, "2.") {
			return unknown("eventVersion %.40q", r.EventVersion)
		}
		kind, _, _ := strings.Cut(strings.TrimPrefix(r.EventName, "s3:"), ":")
		switch kind {
		case "":
			return unknown("a record without eventName")
		case "ObjectCreated", "ObjectRemoved", "LifecycleExpiration":
		default:
			a.Ignored++
			continue
		}
		var at place
		if err := unmarshal(r.S3, &at); err != nil {
			return err
		}
		key, err := url.QueryUnescape(at.Object.Key)
		if err != nil {
			return unknown("key %.100q", at.Object.Key)
		}
		if err := a.announce(at.object(key), kind == "ObjectCreated"); err != nil {
			return err
		}
	}
	return nil
}

// eventBridge reads an event of the default bus. Its key is verbatim.
func (a *announcement) eventBridge(in body) error {
	var source, kind string
	if err := unmarshal(in.Source, &source); err != nil {
		return err
	}
	if err := unmarshal(in.DetailType, &kind); err != nil {
		return err
	}
	switch {
	case source != "aws.s3" || !strings.HasPrefix(kind, "Object "):
		return unknown("%.40q from %.40q", kind, source)
	case kind != "Object Created" && kind != "Object Deleted":
		a.Ignored++ // a restore, tags, a storage class, ...
		return nil
	}
	var at place
	if err := unmarshal(in.Detail, &at); err != nil {
		return err
	}
	return a.announce(at.object(at.Object.Key), kind == "Object Created")
}

// cloudTrail reads CloudTrail's own notification. Its keys are verbatim.
func (a *announcement) cloudTrail(in body) error {
	var bucket string
	var keys []string
	if err := unmarshal(in.S3Bucket, &bucket); err != nil {
		return err
	}
	if err := unmarshal(in.S3ObjectKey, &keys); err != nil {
		return err
	}
	if len(keys) == 0 {
		return unknown("no keys")
	}
	for _, key := range keys {
		if err := a.announce(trail.Object{Bucket: bucket, Key: key}, true); err != nil {
			return err
		}
	}
	return nil
}

func (p place) object(key string) trail.Object {
	return trail.Object{Bucket: p.Bucket.Name, Key: key, Size: size(p.Object.Size)}
}

// size returns 0, unknown, for what is no number of bytes: nothing rests on it.
func size(v jsontext.Value) int64 {
	var n int64
	if unmarshal(v, &n) != nil || n < 0 {
		return 0
	}
	return n
}

func (a *announcement) announce(o trail.Object, created bool) error {
	switch {
	case o.Bucket == "" || o.Key == "":
		return unknown("an object without bucket or key")
	case len(o.Key) > maxKey || !utf8.ValidString(o.Key):
		return unknown("key %.100q", o.Key)
	}
	key := seen{o.Bucket, o.Key, created}
	switch {
	case a.seen[key]:
	case created:
		a.Created = append(a.Created, o)
	default:
		a.Removed = append(a.Removed, o)
	}
	a.seen[key] = true
	return nil
}
