package sink

import (
	"log/slog"
	"time"
)

// health is what the failures of a member come to, and what the log knows of
// them. The member's mutex guards it.
type health struct {
	name string
	log  *slog.Logger

	left      error     // of the last call that ended with one; nil after a success
	leftSince time.Time // when the first attempt of that call began that failed
	down      time.Time // when the first failed attempt since the last success began
	dead      error     // why all calls end at once

	told    time.Time // when the log was told of a failure last
	untold  int       // failures since then
	ill     time.Time // when the first failure began that the log knows of; zero: it was told of a recovery
	illness int       // failures since then
}

// tellEvery is how often the log is told of failures that go on.
const tellEvery = time.Minute

// fail notes a failed attempt that began at a time, or one that hangs. The log is told
// at most once a minute, so that a sink that fails now and then does not fill it.
func (h *health) fail(now, began time.Time, err error) {
	h.untold++
	h.illness++
	if !h.told.IsZero() && now.Sub(h.told) < tellEvery {
		return
	}
	if h.ill.IsZero() {
		h.ill = began
	}
	h.log.Warn("sink fails", "sink", h.name, "failures", h.untold, "since", h.ill.UTC(), "error", err)
	h.told, h.untold = now, 0
}

// recover notes that no attempt fails or hangs any more.
func (h *health) recover(now time.Time) {
	if !h.ill.IsZero() {
		h.log.Info("sink recovered", "sink", h.name, "failures", h.illness, "after", now.Sub(h.ill).Round(time.Millisecond))
		h.ill = time.Time{}
	}
	h.illness = 0
}
