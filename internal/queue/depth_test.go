package queue_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/trailseal/trailseal/internal/queue"
)

// The metric shows the last answer, and nothing after an answer that failed.
func TestDepth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := []error{nil, errors.New("access denied"), nil}
		asked := 0
		q, m, r := start(&fake{}, func(o *queue.Options) {
			o.Depth = func(ctx context.Context) (queue.Depth, error) {
				if asked == len(answers) {
					<-ctx.Done()
					return queue.Depth{}, ctx.Err()
				}
				asked++
				return queue.Depth{Visible: 40 + asked, InFlight: 2, Delayed: 1}, answers[asked-1]
			}
		})
		shows := func(want string) {
			t.Helper()
			synctest.Wait()
			if want != "" {
				want = "# HELP queue_messages Approximate number of messages in the queues: visible, " +
					"in_flight (received by some worker), delayed.\n# TYPE queue_messages gauge\n" + want
			}
			if err := testutil.GatherAndCompare(r, strings.NewReader(want), "queue_messages"); err != nil {
				t.Error(err)
			}
		}
		shows("") // before the first Next
		ended := make(chan error)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			_, err := q.Next(ctx)
			ended <- err
		}()
		const rest = "queue_messages{state=\"delayed\"} 1\nqueue_messages{state=\"in_flight\"} 2\n"
		shows(rest + "queue_messages{state=\"visible\"} 41\n")
		time.Sleep(31 * time.Second)
		shows("")
		time.Sleep(30 * time.Second)
		shows(rest + "queue_messages{state=\"visible\"} 43\n")
		time.Sleep(60 * time.Second) // two requests without an answer
		shows("")
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) && err != io.EOF {
			t.Error(err)
		}
		closed(t, q, m)
		if problems, err := testutil.GatherAndLint(r); err != nil || len(problems) > 0 {
			t.Errorf("%v, %v", problems, err)
		}
	})
}
