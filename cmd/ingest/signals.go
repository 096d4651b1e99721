package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// listenForSignals returns the signals that the program acts on, until stop is called. SIGHUP
// does not end the program from then on.
func listenForSignals() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 2)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

// endsOpening ends the program at SIGTERM or SIGINT while it opens what it needs: nothing was
// begun. SIGHUP, which must not end it, has no effect yet. The function that it returns is
// called when all is open.
func endsOpening(signals <-chan os.Signal, once bool) (opened func()) {
	isOpen, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-isOpen:
				return
			case s := <-signals:
				switch {
				case s == syscall.SIGHUP:
				case once:
					os.Exit(exitIncomplete)
				default:
					os.Exit(exitOK)
				}
			}
		}
	}()
	return func() { close(isOpen); <-done }
}

// onSignals acts on signals until stop is called. At SIGTERM or SIGINT the intake ends: the
// digests in work may take as long as drain, and then the context that it returns ends. A
// second signal ends the program at once, as does the first one after stop. At SIGHUP
// files are opened anew.
func onSignals(
	ctx context.Context, signals <-chan os.Signal, drain time.Duration,
	endIntake func(), reopen func() error, log *slog.Logger,
) (work context.Context, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		var over <-chan time.Time // when work must end
		for ending := 0; ; {
			select {
			case <-done:
				return
			case <-over:
				log.Warn("work in flight did not end in time: the next run repeats it", "drain", drain)
				cancel()
				over = time.After(cancelTime)
				if ending++; ending > 2 {
					os.Exit(exitIncomplete)
				}
			case s := <-signals:
				switch {
				case s == syscall.SIGHUP:
					if err := reopen(); err != nil {
						log.Error("files could not be opened anew", "error", err)
					}
					continue
				case ending > 0:
					os.Exit(exitIncomplete)
				}
				ending = 1
				log.Info("ending", "signal", s.String())
				endIntake()
				over = time.After(drain)
			}
		}
	}()
	return ctx, func() { signal.Reset(os.Interrupt, syscall.SIGTERM); close(done); cancel() }
}

// cancelTime is how long cancelled work may take to return.
const cancelTime = 5 * time.Second
