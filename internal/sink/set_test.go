package sink_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/sink/sinktest"
)

// atOnce is a policy without pauses or an end.
func atOnce(string, int, error) (time.Duration, bool) { return 0, false }

// everySecond is a policy without an end.
func everySecond(string, int, error) (time.Duration, bool) { return time.Second, false }

func newSet(t *testing.T, retry sink.Retry, members ...sink.Member) *sink.Set {
	t.Helper()
	s, err := sink.NewSet(sink.Options{Retry: retry}, members...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Each Memory, and a set of them, is a sink, whichever member fails.
func TestIsASink(t *testing.T) {
	for name, buffers := range map[string]bool{"buffers": true, "writes through": false} {
		t.Run(name, func(t *testing.T) {
			sinktest.Run(t, func(*testing.T) sinktest.Downstream {
				return (&sinktest.Memory{Buffers: buffers}).Downstream()
			}, sinktest.Options{})
		})
	}
	for name, faulty := range map[string]int{"set of one": 0, "the first fails": 0, "the last fails": 2} {
		for which := range 3 {
			t.Run(name, func(t *testing.T) {
				sinktest.Run(t, func(t *testing.T) sinktest.Downstream {
					all := []*sinktest.Memory{{}, {Buffers: true}, {Buffers: true}}
					members := []sink.Member{{Name: "a", Sink: all[0]}, {Name: "b", Sink: all[1]}, {Name: "c", Sink: all[2]}}
					if name == "set of one" {
						all[0], members = all[which], members[which:which+1]
					}
					d := all[faulty].Downstream()
					d.Sink = newSet(t, retryOpen, members...)
					d.Lines = all[which].Lines
					return d
				}, sinktest.Options{})
			})
		}
	}
}

// retryOpen gives up what is closed.
func retryOpen(_ string, _ int, err error) (time.Duration, bool) {
	return 0, errors.Is(err, sink.ErrClosed)
}

// A member that has a batch does not get it again because another refuses it.
func TestRefusalRepeatsNothing(t *testing.T) {
	for name, buffers := range map[string]bool{"Emit": false, "Flush": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				refuses, well := &sinktest.Memory{Buffers: buffers}, &sinktest.Memory{Buffers: buffers}
				refuses.Fail(5)
				var asked []string
				s := newSet(t, func(member string, try int, err error) (time.Duration, bool) {
					if !errors.Is(err, sinktest.ErrDown) || try != len(asked)+1 {
						t.Errorf("try %d: %v", try, err)
					}
					asked = append(asked, member)
					return time.Duration(try) * time.Second, false
				}, sink.Member{Name: "refuses", Sink: refuses}, sink.Member{Name: "well", Sink: well})
				began := time.Now()
				if err := errors.Join(s.Emit(t.Context(), sinktest.Batch(1, 3)), s.Flush(t.Context())); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took != 15*time.Second || strings.Join(asked, "") != strings.Repeat("refuses", 5) {
					t.Errorf("took %v, asked for %q", took, asked)
				}
				if well.Batches() != 1 || len(well.Lines()) != 3 || refuses.Batches() != 1 || len(refuses.Lines()) != 3 {
					t.Errorf("%d and %d batches", well.Batches(), refuses.Batches())
				}
			})
		})
	}
}

// A call ends early only if its context ends or a member gives up. Then all
// members have ended.
func TestEndsEarly(t *testing.T) {
	giveUp := func(_ string, try int, _ error) (time.Duration, bool) { return time.Second, try == 3 }
	for _, tt := range []struct {
		name  string
		retry sink.Retry
		limit time.Duration // of the context
		want  error
		took  time.Duration
	}{
		{"the context ends", everySecond, 90 * time.Second, context.DeadlineExceeded, 90 * time.Second},
		{"a member gives up", giveUp, time.Hour, sinktest.ErrDown, 2 * time.Second},
	} {
		for call, buffers := range map[string]bool{"Emit": false, "Flush": true} {
			for alone, others := range map[string][]sink.Member{"alone": nil, "beside others": {{Name: "hangs"}, {Name: "well"}}} {
				t.Run(tt.name+", "+call+", "+alone, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						down := &sinktest.Memory{Buffers: buffers}
						members := []sink.Member{{Name: "down", Sink: down}}
						hangs := &sinktest.Memory{Buffers: buffers}
						for _, m := range others {
							m.Sink = &sinktest.Memory{Buffers: buffers}
							if m.Name == "hangs" {
								m.Sink = hangs
							}
							members = append(members, m)
						}
						defer hangs.Stall()()
						down.Fail(1000)
						s := newSet(t, tt.retry, members...)
						ctx, cancel := context.WithTimeout(t.Context(), tt.limit)
						defer cancel()
						began := time.Now()
						err := s.Emit(ctx, sinktest.Batch(1, 3))
						if buffers && err == nil {
							err = s.Flush(ctx)
						}
						if !errors.Is(err, tt.want) || !strings.HasPrefix(err.Error(), "sink ") || time.Since(began) != tt.took {
							t.Errorf("%v after %v", err, time.Since(began))
						}
						for _, m := range s.Members() {
							if !m.Oldest.IsZero() || (m.Err != nil) != (m.Name == "down") {
								t.Errorf("%s has a call in work, or not its error: %+v", m.Name, m)
							}
						}
					})
				})
			}
		}
	}
}

// An error of the member's own that ends with the context is told with it.
func TestLastErrorIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := &sinktest.Memory{}
		down.Fail(1000)
		s := newSet(t, everySecond, sink.Member{Name: "s3", Sink: down})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := s.Emit(ctx, sinktest.Batch(1, 1))
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, sinktest.ErrDown) {
			t.Errorf("error %v", err)
		}
	})
}

// The status of a member says what it has, what it refuses and for how long.
func TestMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		at := func(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }
		a, b := &sinktest.Memory{Buffers: true}, &sinktest.Memory{}
		s := newSet(t, everySecond, sink.Member{Name: "a", Sink: a}, sink.Member{Name: "b", Sink: b})
		expect := func(when string, want ...sink.MemberStatus) {
			t.Helper()
			for i, got := range s.Members() {
				if got != want[i] {
					t.Errorf("%s: %+v\nwant %+v", when, got, want[i])
				}
			}
			if wrong := want[0].Err != nil || want[1].Err != nil; (s.Err() != nil) != wrong {
				t.Errorf("%s: error %v", when, s.Err())
			}
		}
		emit := func(n int) { _ = s.Emit(t.Context(), sinktest.Batch(n, 10)) }
		expect("at first", sink.MemberStatus{Name: "a"}, sink.MemberStatus{Name: "b"})
		emit(1)
		expect("after Emit", sink.MemberStatus{Name: "a", Taken: 10}, sink.MemberStatus{Name: "b", Taken: 10})
		b.Fail(4)
		go emit(2)
		synctest.Wait()
		time.Sleep(3500 * time.Millisecond)
		expect("while b fails", sink.MemberStatus{Name: "a", Taken: 20},
			sink.MemberStatus{Name: "b", Taken: 10, Err: sinktest.ErrDown, Since: began, Oldest: began, Failures: 4, Retries: 4})
		emit(3) // goes well meanwhile
		expect("another batch goes well", sink.MemberStatus{Name: "a", Taken: 30},
			sink.MemberStatus{Name: "b", Taken: 20, Err: sinktest.ErrDown, Since: began, Oldest: began, Failures: 4, Retries: 4})
		time.Sleep(time.Second)
		expect("b is well again", sink.MemberStatus{Name: "a", Taken: 30}, sink.MemberStatus{Name: "b", Taken: 30, Failures: 4, Retries: 4})

		resume := a.Stall()
		time.Sleep(500 * time.Millisecond) // five seconds after the beginning
		go func() { _ = s.Flush(t.Context()) }()
		synctest.Wait()
		emit(4) // after the Flush began
		time.Sleep(time.Second)
		expect("while a flushes", sink.MemberStatus{Name: "a", Taken: 40, Oldest: at(5)},
			sink.MemberStatus{Name: "b", Taken: 40, Flushed: 30, Failures: 4, Retries: 4})
		resume()
		synctest.Wait()
		expect("after Flush", sink.MemberStatus{Name: "a", Taken: 40, Flushed: 30}, sink.MemberStatus{Name: "b", Taken: 40, Flushed: 30, Failures: 4, Retries: 4})
		a.Fail(1)
		if err := s.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		expect("after a Flush that failed once", sink.MemberStatus{Name: "a", Taken: 40, Flushed: 40, Failures: 1, Retries: 1},
			sink.MemberStatus{Name: "b", Taken: 40, Flushed: 40, Failures: 4, Retries: 4})
	})
}

// Events that the caller counts otherwise than the members do show as unaccounted, for
// each member.
func TestUnaccounted(t *testing.T) {
	emit := func(events ...int) func(*testing.T, *sink.Set) {
		return func(t *testing.T, s *sink.Set) {
			for i, n := range events {
				if err := s.Emit(t.Context(), sinktest.Batch(i, n)); err != nil {
					t.Error(err)
				}
			}
		}
	}
	flushed := func(t *testing.T, s *sink.Set) {
		emit(10)(t, s)
		if err := s.Flush(t.Context()); err != nil {
			t.Error(err)
		}
	}
	refused := func(t *testing.T, s *sink.Set) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if s.Emit(ctx, sinktest.Batch(1, 10)) == nil {
			t.Error("no error")
		}
	}
	inWork := func(t *testing.T, s *sink.Set) {
		go func() { _ = s.Emit(t.Context(), sinktest.Batch(1, 10)) }()
		synctest.Wait()
	}
	for _, tt := range []struct {
		name   string
		do     func(*testing.T, *sink.Set)
		counts sink.Counts
		want   int64
	}{
		{"control", emit(10, 5), sink.Counts{Offered: 15, Accepted: 15}, 0},
		{"nothing", emit(), sink.Counts{}, 0},
		{"one is lost", emit(9), sink.Counts{Offered: 10, Accepted: 10}, 2},
		{"one is doubled", emit(10, 1), sink.Counts{Offered: 10, Accepted: 10}, 2},
		{"one is invented", emit(11), sink.Counts{Offered: 10, Accepted: 10}, 2},
		{"refused", refused, sink.Counts{Offered: 10, Refused: 10}, 0},
		{"refused, and one is lost", func(t *testing.T, s *sink.Set) { refused(t, s); emit(9)(t, s) }, sink.Counts{Offered: 20, Refused: 10, Accepted: 10}, 2},
		{"in work", inWork, sink.Counts{Offered: 10}, 0},
		{"in work, and not offered", inWork, sink.Counts{}, 0}, // until it ends
		{"flushed", flushed, sink.Counts{Offered: 10, Accepted: 10, Committed: 10}, 0},
		{"not flushed", emit(10), sink.Counts{Offered: 10, Accepted: 10, Committed: 1}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := &sinktest.Memory{}, &sinktest.Memory{Buffers: true}
				s := newSet(t, atOnce, sink.Member{Name: "a", Sink: a}, sink.Member{Name: "b", Sink: b})
				if strings.HasPrefix(tt.name, "in work") {
					s = newSet(t, atOnce, sink.Member{Name: "a", Sink: a})
					defer a.Stall()()
				}
				tt.do(t, s)
				if got := s.Unaccounted(func() sink.Counts { return tt.counts }); got != tt.want {
					t.Errorf("%d, want %d: %+v", got, tt.want, s.Members())
				}
			})
		})
	}
}

func TestSetOfNone(t *testing.T) {
	if _, err := sink.NewSet(sink.Options{Retry: atOnce}); err == nil {
		t.Error("a set without members")
	}
}

func TestClose(t *testing.T) {
	a, b := &sinktest.Memory{CloseErr: sinktest.ErrDown}, &sinktest.Memory{}
	s := newSet(t, atOnce, sink.Member{Name: "a", Sink: a}, sink.Member{Name: "b", Sink: b})
	if err := s.Close(); !errors.Is(err, sinktest.ErrDown) || err.Error() != "sink a: down" || !a.Closed() || !b.Closed() {
		t.Errorf("%v, closed %v %v", err, a.Closed(), b.Closed())
	}
}
