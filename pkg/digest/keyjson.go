package digest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// keyList is the JSON of `aws cloudtrail list-public-keys`. Region and
// Complete are this project's additions, which AWS's tools pass over.
type keyList struct {
	PublicKeyList []keyEntry    `json:"PublicKeyList"`
	Complete      []extentEntry `json:"Complete,omitempty"`
}

type keyEntry struct {
	Value             string  `json:"Value"`
	ValidityStartTime keyTime `json:"ValidityStartTime"`
	ValidityEndTime   keyTime `json:"ValidityEndTime"`
	Fingerprint       string  `json:"Fingerprint"`
	Region            string  `json:"Region,omitempty"`
}

type extentEntry struct {
	Region    string  `json:"Region"`
	StartTime keyTime `json:"StartTime"`
	EndTime   keyTime `json:"EndTime"`
}

// keyTime reads the forms that the versions of the AWS CLI write: seconds
// since 1970 as a number or in a string, or RFC 3339.
type keyTime struct{ time.Time }

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (t *keyTime) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	tok, err := d.ReadToken()
	if err != nil {
		return err
	}
	if k := tok.Kind(); k != '"' && k != '0' {
		return fmt.Errorf("time is neither a string nor a number")
	}
	t.Time, err = parseKeyTime(tok.String())
	return err
}

// MarshalJSONTo implements json.MarshalerTo.
func (t keyTime) MarshalJSONTo(e *jsontext.Encoder) error {
	return e.WriteToken(jsontext.String(t.UTC().Format(time.RFC3339Nano)))
}

// maxSeconds is the end of the year 9999, the last that RFC 3339 can write.
const maxSeconds = 253402300799

func parseKeyTime(s string) (time.Time, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		if !(f >= 0 && f <= maxSeconds) { // NaN is neither
			return time.Time{}, fmt.Errorf("time %q is out of range", s)
		}
		return time.UnixMilli(int64(math.Round(f * 1000))).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("time %q: %w", s, err)
	}
	if t = t.UTC(); t.Year() < 0 || t.Year() > 9999 { // a zone can move it there
		return time.Time{}, fmt.Errorf("time %q is out of range", s)
	}
	return t, nil
}

// ParseKeySet reads the JSON that `aws cloudtrail list-public-keys` and
// `verifier keys` write, and checks every key's fingerprint and form. Errors
// wrap ErrKey.
func ParseKeySet(b []byte) (KeySet, error) {
	var list keyList
	if err := json.Unmarshal(b, &list); err != nil {
		return KeySet{}, fmt.Errorf("key list: %v: %w", err, ErrKey)
	}
	if list.PublicKeyList == nil {
		return KeySet{}, fmt.Errorf("key list: no PublicKeyList: %w", ErrKey)
	}
	var s KeySet
	for i, e := range list.PublicKeyList {
		k, err := NewKey(e.Region, e.Value, e.Fingerprint, e.ValidityStartTime.Time, e.ValidityEndTime.Time)
		if err == nil {
			err = k.check()
		}
		if err != nil {
			return KeySet{}, fmt.Errorf("key list: entry %d: %w", i, err)
		}
		s.Keys = append(s.Keys, k)
	}
	for _, e := range list.Complete {
		s.Complete = append(s.Complete, Extent{Region: e.Region, From: e.StartTime.Time, To: e.EndTime.Time})
	}
	return s, nil
}

// NewKey makes a Key of what ListPublicKeys answers; value is base64. It does
// not look into the key's bytes.
func NewKey(region, value, fingerprint string, from, to time.Time) (Key, error) {
	der, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
	if err != nil {
		return Key{}, fmt.Errorf("key %s: value is not base64: %w", fingerprint, ErrKey)
	}
	return Key{Region: region, Fingerprint: fingerprint, DER: der, From: from.UTC(), To: to.UTC()}, nil
}

// check demands what a key of a saved list must have. Without its validity a
// key would look expired, and good digests forged.
func (k Key) check() error {
	if k.From.IsZero() || k.To.IsZero() || k.To.Before(k.From) {
		return fmt.Errorf("key %s: validity is absent or reversed: %w", k.Fingerprint, ErrKey)
	}
	_, err := k.RSA()
	return errors.Join(k.CheckFingerprint(), err)
}

// JSON returns the set in the form that ParseKeySet reads: that of the AWS
// CLI, with each key's region and the extents for which the list is complete.
func (s KeySet) JSON() ([]byte, error) {
	list := keyList{PublicKeyList: []keyEntry{}}
	for _, k := range s.Keys {
		list.PublicKeyList = append(list.PublicKeyList, keyEntry{
			Value:             base64.StdEncoding.EncodeToString(k.DER),
			ValidityStartTime: keyTime{k.From}, ValidityEndTime: keyTime{k.To},
			Fingerprint: k.Fingerprint, Region: k.Region,
		})
	}
	for _, e := range s.Complete {
		list.Complete = append(list.Complete, extentEntry{Region: e.Region, StartTime: keyTime{e.From}, EndTime: keyTime{e.To}})
	}
	b, err := json.Marshal(list, jsontext.WithIndent("    "))
	if err != nil {
		return nil, fmt.Errorf("key list: %w", err)
	}
	return append(b, '\n'), nil
}
