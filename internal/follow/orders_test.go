package follow_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// logKey returns the name of a log file that is delivered in the chain's n-th hour.
func logKey(n int) trail.LogKey {
	return trail.LogKey{
		Place: name.Place, Stamp: hour(n).Truncate(time.Hour), Day: hour(n).Truncate(24 * time.Hour),
		Unique: "0123456789abcdef",
	}
}

// listing returns the n-th digest with a log file of its hour below a prefix.
func listing(n int, prefix string) *digest.Digest {
	d, k := file(key(n)), logKey(n)
	k.Prefix = prefix
	d.Logs = []digest.Log{{Bucket: bucket, Object: k.String()}}
	return d
}

// giveUp returns the head with orders to skip objects.
func giveUp(t *testing.T, h follow.Head, keys ...string) follow.Head {
	t.Helper()
	for _, k := range keys {
		var err error
		if h, err = h.GiveUp(follow.SkipOrder{Key: k, By: "alice@desk", Reason: "lost", At: hour(9)}); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// The head keeps an order until the chain has passed the object, over a restart as well.
func TestSkipOrders(t *testing.T) {
	d4, d9, b4, l4 := key(4).String(), key(9).String(), backfill(4).String(), logKey(4).String()
	moved := logKey(4)
	moved.Prefix = "former"
	other := "AWSLogs/111122223333/CloudTrail-Insight/x.json.gz"
	all := []string{d4, d9, b4, l4, other}
	for _, tt := range []struct {
		name string
		then func(follow.Head) follow.Head
		left []string
	}{
		{"nothing is done", func(h follow.Head) follow.Head { return h }, all},
		{
			"its digest is skipped", func(h follow.Head) follow.Head { return h.Skip(key(4), link(4)) },
			[]string{d9, b4, l4, other},
		},
		{
			"its digest is bad", func(h follow.Head) follow.Head { return h.Quarantine(key(4)) },
			[]string{d9, b4, l4, other},
		},
		{
			"a digest after it is done", func(h follow.Head) follow.Head { return pass(h, key(5)) },
			[]string{d9, b4, l4, other},
		},
		{
			"its backfill digest is done", func(h follow.Head) follow.Head { return pass(h, backfill(4)) },
			[]string{d4, d9, l4, other},
		},
		{
			"its backfill digest is skipped", func(h follow.Head) follow.Head { return h.Skip(backfill(4), link(4)) },
			[]string{d4, d9, l4, other},
		},
		{"the digest that lists it is done", func(h follow.Head) follow.Head {
			return h.Pass(key(4), listing(4, ""), "")
		}, []string{d9, b4, other}},
		{"the digest that lists it below a prefix is done", func(h follow.Head) follow.Head {
			return h.Pass(key(4), listing(4, "former"), "")
		}, []string{d9, b4, other}},
		{
			"days after its folder's day are done", func(h follow.Head) follow.Head { return pass(h, key(100)) },
			[]string{b4, other},
		},
		{
			"a backfill digest of days after is done",
			func(h follow.Head) follow.Head { return pass(h, backfill(100)) }, all,
		},
		{"the chain is reset", func(h follow.Head) follow.Head { return h.Reset(hour(1)) }, all},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var left []string
			for _, s := range tt.then(giveUp(t, headAt(3), all...)).Skips {
				left = append(left, s.Key)
			}
			if !slices.Equal(left, tt.left) {
				t.Errorf("got %q, want %q", left, tt.left)
			}
		})
	}
	h := giveUp(t, headAt(3), all...)
	for _, tt := range []struct {
		name string
		got  *follow.SkipOrder
		want bool
	}{
		{"digest", h.Skipped(key(4)), true},
		{"another digest", h.Skipped(key(5)), false},
		{"digest without orders", headAt(3).Skipped(key(4)), false},
		{"log file", h.SkippedLog(listing(4, "").Logs[0]), true},
		{"log file below a prefix", h.SkippedLog(listing(4, "former").Logs[0]), true},
		{"another log file", h.SkippedLog(listing(5, "").Logs[0]), false},
		{"other names without AWSLogs", giveUp(t, headAt(3), "a").SkippedLog(digest.Log{Object: "b"}), false},
		{"log file without orders", headAt(3).SkippedLog(listing(4, "").Logs[0]), false},
	} {
		if (tt.got != nil) != tt.want {
			t.Errorf("%s: got %v", tt.name, tt.got)
		}
	}
}

func TestSkipOrdersAreBounded(t *testing.T) {
	h := headAt(3)
	for n := range 100 {
		h = giveUp(t, h, fmt.Sprint(n))
	}
	if _, err := h.GiveUp(follow.SkipOrder{Key: "one more"}); !errors.Is(err, follow.ErrSkips) {
		t.Errorf("error %v", err)
	}
}

func TestReset(t *testing.T) {
	with := func(h follow.Head, change func(*follow.Head)) follow.Head { change(&h); return h }
	since := func(n int, w follow.Link) follow.Head {
		return with(follow.Begin(hour(n)), func(h *follow.Head) { h.Witness = w })
	}
	gone := skipped(5, noFingerprint)
	ended := func(h *follow.Head) { h.Ended = true } // since another chain continues it
	last := link(5)
	last.Continued = true
	for _, tt := range []struct {
		name string
		got  follow.Head
		want follow.Head
	}{
		{"back", headAt(5).Reset(hour(2)), since(2, link(5))},
		{"on", headAt(5).Reset(hour(9)), since(9, link(5))},
		{"after another chain continued it", with(headAt(5), ended).Reset(hour(2)), since(2, last)},
		{"after the operator ended it", headAt(5).End("why").Reset(hour(2)), since(2, link(5))},
		{"before anything was done", follow.Begin(hour(1)).Reset(hour(3)), since(3, follow.Link{})},
		{"again", headAt(5).Reset(hour(2)).Reset(hour(3)), since(3, link(5))},
		{"again, before the witness", pass(headAt(5).Reset(hour(2)), key(2)).Reset(hour(1)), since(1, link(5))},
		{"again, after the witness", pass(headAt(5).Reset(hour(2)), key(6)).Reset(hour(1)), since(1, link(6))},
		{
			"after a skipped one without a hash",
			with(headAt(4).Skip(key(5), gone), func(h *follow.Head) { h.Witness = link(4) }).Reset(hour(2)),
			since(2, link(4)),
		},
		{
			"forgets what was told and what is bad",
			with(headAt(5).Quarantine(key(6)), func(h *follow.Head) {
				h.LateTold, h.Ended, h.EndedWhy = true, true, "why"
			}).Reset(hour(2)),
			since(2, link(5)),
		},
		{
			"keeps the backfills before it", pass(pass(headAt(5), backfill(1)), backfill(3)).Reset(hour(2)),
			with(since(2, link(5)), func(h *follow.Head) { h.Backfills = []time.Time{hour(1)} }),
		},
		{
			"and passed again", pass(headAt(5).Reset(hour(2)), key(2)),
			with(headAt(2), func(h *follow.Head) { h.Witness = link(5) }),
		},
		{
			"after another chain continued it, and passed up to there", pass(with(headAt(5), ended).Reset(hour(2)), key(5)),
			with(headAt(5), func(h *follow.Head) { h.Witness, h.Ended = last, true }),
		},
		{"end", headAt(5).End("why"), with(headAt(5), func(h *follow.Head) { h.Ended, h.EndedWhy = true, "why" })},
		{"end, and a new digest", pass(headAt(5).End("why"), key(6)), headAt(6)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if d := differ(tt.got, tt.want); d != "" {
				t.Error(d)
			}
		})
	}
}

// A chain that was reset is late by the time from which it is followed. One of which no
// digest was ever trusted is not late.
func TestUntil(t *testing.T) {
	for _, tt := range []struct {
		name string
		h    follow.Head
		want time.Time
	}{
		{"begun", follow.Begin(hour(3)), time.Time{}},
		{"done", headAt(3), hour(3)},
		{"reset", headAt(3).Reset(hour(5)), hour(5).Add(-1)},
		{"reset before anything was done", follow.Begin(hour(3)).Reset(hour(5)), time.Time{}},
		{"reset and done", pass(headAt(3).Reset(hour(5)), key(5)), hour(5)},
	} {
		if got := tt.h.Until(); !got.Equal(tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}
