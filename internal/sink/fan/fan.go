// Package fan emits each batch to several sinks at once. A batch is
// acknowledged when every required one has it; an optional one is offered each
// batch once and may miss some. It neither repeats nor keeps anything.
package fan

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Sink is what all sinks have in common.
type Sink interface {
	Emit(ctx context.Context, b trail.Batch) error
	Close() error
}

// Member is one of the sinks.
type Member struct {
	Name     string // for errors
	Sink     Sink
	Optional bool
}

// failed names the member that an error is of, if it is one.
func (m Member) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sink %s: %w", m.Name, err)
}

// DefaultPatience is that of a Fan where none is set.
const DefaultPatience = time.Second

// Fan is a sink of sinks. It is safe for concurrent use, as they are.
type Fan struct {
	members []Member
	// Patience is how long a batch that all required members have waits for
	// the optional ones.
	Patience time.Duration
	// Missed, if set, is told of batches that an optional member does not have.
	Missed func(name string, b trail.Batch, err error)
}

// New returns a sink that emits to all members. One at least is required.
func New(members ...Member) (*Fan, error) {
	for _, m := range members {
		if !m.Optional {
			return &Fan{members: members, Patience: DefaultPatience}, nil
		}
	}
	return nil, errors.New("no sink is required: nothing would say that events arrived")
}

// errOver ends members whose batch is settled without them.
var errOver = errors.New("the batch is settled")

// Emit emits b to all members at once and returns when none of them uses it
// any more: nil once all required ones have it, else what each of those that
// failed says. The first to fail ends the others, since the batch comes again:
// one that tries for as long as it may would hide the failure.
func (f *Fan) Emit(ctx context.Context, b trail.Batch) error {
	if len(f.members) == 1 { // needs no goroutine to run beside others
		return f.members[0].failed(f.members[0].Sink.Emit(ctx, b))
	}
	optional, endOptional := context.WithCancelCause(ctx)
	defer endOptional(nil)
	var extras errgroup.Group
	for _, m := range f.members {
		if m.Optional {
			extras.Go(func() error {
				if err := m.Sink.Emit(optional, b); err != nil && f.Missed != nil {
					f.Missed(m.Name, b, err)
				}
				return nil
			})
		}
	}
	err := f.required(ctx, b)
	patience := f.Patience
	if err != nil {
		patience = 0
	}
	timer := time.AfterFunc(patience, func() { endOptional(errOver) })
	defer timer.Stop()
	_ = extras.Wait() // they return none
	return err
}

// required emits to the required members.
func (f *Fan) required(ctx context.Context, b trail.Batch) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	errs := make([]error, len(f.members))
	var all errgroup.Group
	for i, m := range f.members {
		if m.Optional {
			continue
		}
		all.Go(func() error {
			err := m.Sink.Emit(ctx, b)
			if err == nil {
				return nil
			}
			// Who was ended by another's failure has nothing to say.
			if !errors.Is(err, context.Canceled) || !errors.Is(context.Cause(ctx), errOver) {
				errs[i] = m.failed(err)
			}
			end(errOver)
			return nil
		})
	}
	_ = all.Wait() // they return none
	return errors.Join(errs...)
}

// Close closes all members and joins what they say.
func (f *Fan) Close() error {
	errs := make([]error, len(f.members))
	for i, m := range f.members {
		errs[i] = m.failed(m.Sink.Close())
	}
	return errors.Join(errs...)
}
