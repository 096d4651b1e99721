package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// tampering is what is done to a trail once it is signed.
type tampering struct {
	text string // as given
	what string
	n    int // of which log file or digest, from 1
}

// addTampering reads a -tamper flag.
func (c *config) addTampering(s string) error {
	what, rest, _ := strings.Cut(s, "=")
	switch what {
	case "stop":
		after, hours, _ := strings.Cut(rest, ",")
		var err1, err2 error
		c.stopAfter, err1 = strconv.Atoi(after)
		c.stopFor, err2 = strconv.Atoi(hours)
		if err1 != nil || err2 != nil || c.stopAfter < 1 || c.stopFor < 1 {
			return errors.New("want stop=H,N with numbers from 1")
		}
	case "edit-log", "delete-log", "delete-digest":
		n, err := strconv.Atoi(rest)
		if err != nil || n < 1 {
			return fmt.Errorf("want %s=N with a number from 1", what)
		}
		c.tamper = append(c.tamper, tampering{s, what, n})
	default:
		return errors.New("want edit-log, delete-log, delete-digest or stop")
	}
	return nil
}

func (t tampering) do(w *testtrail.World, chain *testtrail.Chain, logs []trail.Object) error {
	if t.what == "delete-digest" {
		if t.n > len(chain.Issued) {
			return fmt.Errorf("there are %d digests", len(chain.Issued))
		}
		d := chain.Issued[t.n-1]
		return remove(w, trail.Object{Bucket: d.Bucket, Key: d.Key})
	}
	if t.n > len(logs) {
		return fmt.Errorf("there are %d log files", len(logs))
	}
	o := logs[t.n-1]
	if t.what == "delete-log" {
		return remove(w, o)
	}
	if _, ok := w.Stored(o.Bucket, o.Key); !ok {
		return errors.New("deleted already")
	}
	w.EditLog(o, otherDigit)
	return nil
}

func remove(w *testtrail.World, o trail.Object) error {
	if _, ok := w.Stored(o.Bucket, o.Key); !ok {
		return errors.New("deleted already")
	}
	w.Delete(o.Bucket, o.Key)
	return nil
}

// otherDigit changes the last digit of a log file: JSON stays JSON, and every
// event has one in its time.
func otherDigit(body []byte) []byte {
	i := bytes.LastIndexAny(body, "0123456789")
	if i < 0 {
		return append(body, '\n')
	}
	if body[i] == '9' {
		body[i] = '8'
	} else {
		body[i]++
	}
	return body
}
