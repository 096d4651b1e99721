package follow_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/pkg/trail"
)

// pass returns the head after a digest, with its own signature.
func pass(h follow.Head, k trail.DigestKey) follow.Head { return h.Pass(k, file(k), "cafe") }

func TestHead(t *testing.T) {
	with := func(h follow.Head, change func(*follow.Head)) follow.Head { change(&h); return h }
	bad := func(ns ...int) func(*follow.Head) {
		return func(h *follow.Head) {
			for _, n := range ns {
				h.Bad = append(h.Bad, key(n).String())
			}
		}
	}
	gone := link(4)
	gone.Sum, gone.Signature = "", ""
	skipped := gone
	skipped.Skipped = true
	empty := follow.Head{Version: follow.HeadVersion}
	for _, tt := range []struct {
		name string
		got  follow.Head
		want follow.Head
	}{
		{"begins at the beginning", follow.Begin(time.Time{}), empty},
		{"begins at a time", follow.Begin(hour(3)), with(empty, func(h *follow.Head) { h.Cursor = hour(3).Add(-1) })},
		{
			"begins at a time elsewhere", follow.Begin(hour(3).In(time.FixedZone("", 3600))),
			with(empty, func(h *follow.Head) { h.Cursor = hour(3).Add(-1) }),
		},
		{"of an older version", pass(follow.Head{}, key(3)), headAt(3)},

		{"pass the first", pass(follow.Begin(hour(3)), key(3)), headAt(3)},
		{"pass the next", pass(headAt(3), key(4)), headAt(4)},
		{"pass one that is done", pass(headAt(3), key(2)), headAt(3)},
		{"pass after a hole", pass(headAt(3), key(9)), headAt(9)},
		{
			"pass without a signature", headAt(3).Pass(key(4), file(key(4)), ""),
			with(headAt(4), func(h *follow.Head) { h.Link.Signature = "" }),
		},
		{
			"pass forgets that it was late and ended",
			pass(with(headAt(3), func(h *follow.Head) { h.LateTold, h.Ended = true, true }), key(4)), headAt(4),
		},
		{"pass forgets the bad before it", pass(with(headAt(3), bad(4, 5, 6)), key(5)), with(headAt(5), bad(6))},
		{
			"pass forgets what is not a name",
			pass(with(headAt(3), func(h *follow.Head) { h.Bad = []string{"?"} }), key(4)), headAt(4),
		},
		{
			"pass keeps the witness until it is passed",
			pass(with(headAt(3), func(h *follow.Head) { h.Witness = link(4) }), key(4)),
			with(headAt(4), func(h *follow.Head) { h.Witness = link(4) }),
		},
		{"pass the witness", pass(with(headAt(4), func(h *follow.Head) { h.Witness = link(4) }), key(5)), headAt(5)},

		{
			"pass a backfill", pass(headAt(3), backfill(2)),
			with(headAt(3), func(h *follow.Head) { h.Backfills = []time.Time{hour(2)} }),
		},
		{
			"pass a backfill that is older", pass(pass(headAt(3), backfill(2)), backfill(1)),
			with(headAt(3), func(h *follow.Head) { h.Backfills = []time.Time{hour(2), hour(1)} }),
		},
		{
			"pass a backfill much later", pass(pass(headAt(3), backfill(2)), backfill(2+900*24)),
			with(headAt(3), func(h *follow.Head) { h.Backfills = []time.Time{hour(2), hour(2 + 900*24)} }),
		},

		{"quarantine", headAt(3).Quarantine(key(5)), with(headAt(3), bad(5))},
		{"quarantine twice", headAt(3).Quarantine(key(5)).Quarantine(key(5)), with(headAt(3), bad(5))},
		{
			"quarantine a backfill", empty.Quarantine(backfill(5)),
			with(empty, func(h *follow.Head) { h.Bad = []string{backfill(5).String()} }),
		},
		{"restore", with(headAt(3), bad(4, 5, 6)).Restore(key(5)), with(headAt(3), bad(4, 6))},
		{"restore one that is not bad", with(headAt(3), bad(4)).Restore(key(5)), with(headAt(3), bad(4))},

		{"skip", headAt(3).Skip(key(4), gone), with(headAt(4), func(h *follow.Head) { h.Link = skipped })},
		{
			"skip a bad one", with(headAt(3), bad(4, 5)).Skip(key(4), gone),
			with(with(headAt(4), bad(5)), func(h *follow.Head) { h.Link = skipped }),
		},
		{"skip one that is done", headAt(5).Skip(key(4), gone), headAt(5)},
		{"pass after a skip", pass(headAt(3).Skip(key(4), gone), key(5)), headAt(5)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if d := differ(tt.got, tt.want); d != "" {
				t.Error(d)
			}
			b, err := json.Marshal(tt.got)
			if err != nil {
				t.Fatal(err)
			}
			again, err := follow.ParseHead(b)
			if d := differ(again, tt.want); d != "" || err != nil {
				t.Errorf("from %s: %v%s", b, err, d)
			}
		})
	}
}

// Methods return copies: what they were called on does not change.
func TestHeadIsAValue(t *testing.T) {
	h := headAt(3).Quarantine(key(5)).Quarantine(key(6)).Quarantine(key(7))
	h = giveUp(t, pass(pass(h, backfill(1)), backfill(2)), key(5).String(), key(8).String(), key(9).String())
	before, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []func() follow.Head{
		func() follow.Head { return pass(h, key(5)) },
		func() follow.Head { return pass(h, backfill(9000)) },
		func() follow.Head { return h.Quarantine(key(8)) },
		func() follow.Head { return h.Restore(key(5)) },
		func() follow.Head { return h.Skip(key(6), link(6)) },
		func() follow.Head { return h.Skip(backfill(6), link(6)) },
		func() follow.Head { return h.Reset(hour(2)) },
		func() follow.Head { return h.End("why") },
		func() follow.Head { return giveUp(t, h, "another") },
	} {
		changed := change()
		if after, _ := json.Marshal(h); string(after) != string(before) || differ(changed, h) == "" {
			t.Errorf("before %s\nafter  %s\nresult %+v", before, after, changed)
		}
	}
}

func TestCovers(t *testing.T) {
	other := key(5)
	other.Trail = "other"
	begun := follow.Begin(hour(3))
	for _, tt := range []struct {
		name string
		h    follow.Head
		k    trail.DigestKey
		want bool
	}{
		{"empty", follow.Head{}, key(1), false},
		{"before the beginning", begun, key(2), true},
		{"the beginning", begun, key(3), false},
		{"a second before the beginning", begun, name.Digest(hour(3).Add(-time.Second)), true},
		{"before the head", headAt(3), key(2), true},
		{"the head", headAt(3), key(3), true},
		{"after the head", headAt(3), key(4), false},
		{"bad", headAt(3).Quarantine(key(5)), key(5), true},
		{"before one that is bad", headAt(3).Quarantine(key(5)), key(4), false},
		{"another name of the hour", headAt(3).Quarantine(key(5)), other, false},
		{"restored", headAt(3).Quarantine(key(5)).Restore(key(5)), key(5), false},
		{"backfill before the head", headAt(3), backfill(2), false},
		{"backfill that is done", pass(headAt(3), backfill(2)), backfill(2), true},
		{"another backfill", pass(headAt(3), backfill(2)), backfill(1), false},
		{"digest of a backfill's hour", pass(headAt(3), backfill(5)), key(5), false},
		{"bad backfill", headAt(3).Quarantine(backfill(2)), backfill(2), true},
		{"restored backfill", headAt(3).Quarantine(backfill(2)).Restore(backfill(2)), backfill(2), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.h.Covers(tt.k); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
}

// Names that are not proven do not make a head that is kept.
func TestIsProven(t *testing.T) {
	for _, tt := range []struct {
		name string
		h    follow.Head
		want bool
	}{
		{"empty", follow.Head{}, false},
		{"begun", follow.Begin(hour(3)), false},
		{"bad", follow.Begin(hour(3)).Quarantine(key(3)), false},
		{"bad backfill", follow.Begin(hour(3)).Quarantine(backfill(3)), false},
		{"digest", headAt(3), true},
		{"backfill", pass(follow.Begin(hour(3)), backfill(3)), true},
	} {
		if got := tt.h.IsProven(); got != tt.want {
			t.Errorf("%s: got %t, want %t", tt.name, got, tt.want)
		}
	}
}

func TestHeadIsBounded(t *testing.T) {
	h := follow.Begin(hour(0))
	for n := range 250 {
		if h.IsFull() != (n >= 100) {
			t.Fatalf("%d are quarantined: full %t", n, h.IsFull())
		}
		k := key(n)
		if n%2 == 1 {
			k = backfill(n)
		}
		if h = h.Quarantine(k); !h.IsQuarantined(k) || len(h.Bad) > 100 {
			t.Fatalf("%d of %d, the newest is there: %t", len(h.Bad), n+1, h.IsQuarantined(k))
		}
	}
	if h.IsQuarantined(backfill(149)) || !h.IsQuarantined(key(150)) {
		t.Error("the oldest is not the one that was dropped")
	}
	for n := range 2100 {
		h = pass(h, backfill(n))
	}
	if len(h.Backfills) != 2000 || !h.Backfills[0].Equal(hour(100)) {
		t.Errorf("%d backfills from %s", len(h.Backfills), h.Backfills[0])
	}
}

func TestParseHead(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     string // in the error; "" for none
	}{
		{"control", `{"version":2}`, ""},
		{"without a version", `{}`, "version 0"},
		{"of the version before", `{"version":1,"cursor":"2026-03-01T00:08:11Z"}`, "version 1"},
		{"of a coming version", `{"version":3}`, "version 3"},
		{"not JSON", `{"version":2`, "unexpected end"},
		{"nothing", ``, "unexpected end"},
		{"not a time", `{"version":2,"cursor":"yesterday"}`, "yesterday"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := follow.ParseHead([]byte(tt.in))
			switch {
			case tt.want == "" && (err != nil || h.Version != 2):
				t.Errorf("got %+v, %v", h, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || h.Version != 0):
				t.Errorf("got %+v, %v, want %s", h, err, tt.want)
			}
		})
	}
}

// What parses is written and parsed again as the same head.
func FuzzParseHead(f *testing.F) {
	f.Add([]byte(`{"version":2}`))
	for _, h := range []follow.Head{
		headAt(3), pass(headAt(3).Quarantine(key(5)), backfill(1)), headAt(3).Skip(key(4), link(4)), headAt(3).End("why"),
	} {
		h.Witness = link(9)
		b, err := json.Marshal(h)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := follow.ParseHead(b)
		if err != nil {
			return
		}
		first, err := json.Marshal(h)
		if err != nil {
			return // a year that RFC 3339 does not have
		}
		again, err := follow.ParseHead(first)
		if err != nil {
			t.Fatal(err)
		}
		if second, _ := json.Marshal(again); string(second) != string(first) {
			t.Errorf("first  %s\nsecond %s", first, second)
		}
		k := key(3)
		if h = h.Quarantine(k); !h.Covers(k) {
			t.Errorf("%s: a quarantined digest is not covered", first)
		}
		if h = h.Restore(k); h.IsQuarantined(k) {
			t.Errorf("%s: a restored digest is quarantined", first)
		}
	})
}
