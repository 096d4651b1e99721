// Package findings reports each finding once, remembers when findings of a class were
// last reported, and says when a run must halt.
package findings

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/pkg/finding"
)

// Sink takes findings. They are durable when Find returns nil. It is safe for
// concurrent use.
type Sink interface {
	Find(ctx context.Context, f finding.Finding) error
}

// ErrHalt says that a finding was reported and that the run must halt.
var ErrHalt = errors.New("halted at a finding")

// Reporter reports findings. It is safe for concurrent use.
type Reporter struct {
	sink    Sink
	store   state.Store
	halt    bool
	now     func() time.Time
	metrics *metrics
	// stateFailed is called where dates could not be stored.
	stateFailed func(context.Context, error)

	mu       sync.Mutex // guards what follows
	inflight map[id]*report
	reported [2]map[id]bool // the newer and the older half of what is remembered
	count    int
	err      error // of the last report, nil after a success

	datesMu sync.Mutex              // guards what follows; nothing waits while it is locked
	dates   map[finding.Class]int64 // Unix seconds, as they are stored
	due     map[finding.Class]int64 // dates that are to be stored
	storing bool                    // a caller of date stores them
	version state.Version           // of the stored dates
}

// id is the hash of what makes a finding the same as another.
type id [16]byte

// report is a finding on its way to the sink. done is closed when err is known.
type report struct {
	done chan struct{}
	err  error
}

// maxReported is how many findings are remembered as reported: twice this, less the
// part that is being forgotten. A finding that is found again after that is reported
// again.
const maxReported = 50_000

const (
	datesName = "findings" // in the store
	// datesApart is how old a date may be, in seconds: many findings at once cost one
	// write.
	datesApart = 60
)

// Options say how findings are reported.
type Options struct {
	Sink    Sink
	Store   state.Store // keeps the dates
	Halt    bool        // the first finding halts the run
	Now     func() time.Time
	Metrics prometheus.Registerer
	// StateFailed is called where dates could not be stored, unless it is nil.
	StateFailed func(context.Context, error)
}

// New returns a reporter, with the dates that the store has. It registers its metrics.
func New(ctx context.Context, o Options) (*Reporter, error) {
	r := &Reporter{
		sink: o.Sink, store: o.Store, halt: o.Halt, now: o.Now, metrics: newMetrics(o.Metrics),
		inflight: map[id]*report{}, reported: [2]map[id]bool{{}, {}}, dates: map[finding.Class]int64{}, due: map[finding.Class]int64{},
		stateFailed: o.StateFailed,
	}
	if r.stateFailed == nil {
		r.stateFailed = func(context.Context, error) {}
	}
	if err := r.loadDates(ctx); err != nil { // not shared yet
		return nil, err
	}
	for class, at := range r.dates {
		r.metrics.last.WithLabelValues(string(class)).Set(float64(at))
	}
	return r, nil
}

// Report reports a finding and returns nil once it is durable. A finding that was
// reported before is not reported again. Callers that report the same finding at the
// same time all wait for it. In a run that halts, the error is ErrHalt once a finding is
// durable.
func (r *Reporter) Report(ctx context.Context, f finding.Finding) error {
	err := r.report(ctx, f)
	if err == nil && r.halt {
		return ErrHalt
	}
	return err
}

// Note reports a finding that says what the operator ordered. It does not halt the run.
// Else it is as Report.
func (r *Reporter) Note(ctx context.Context, f finding.Finding) error { return r.report(ctx, f) }

func (r *Reporter) report(ctx context.Context, f finding.Finding) error {
	key := idOf(f)
	for {
		own, other := r.begin(key)
		if own != nil {
			r.send(ctx, f, key, own)
			return own.err
		}
		if other == nil {
			return nil // reported before
		}
		select {
		case <-other.done:
			if !isEnded(other.err) {
				return other.err
			}
			// The other caller's context ended, and this one's did not.
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func isEnded(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// begin returns own where the caller must send the finding, other where another caller
// does, and neither where it was reported before.
func (r *Reporter) begin(key id) (own, other *report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reported[0][key] || r.reported[1][key] {
		return nil, nil
	}
	if other := r.inflight[key]; other != nil {
		return nil, other
	}
	own = &report{done: make(chan struct{})}
	r.inflight[key] = own
	return own, nil
}

// send gives a finding to the sink and sets the error of its report.
func (r *Reporter) send(ctx context.Context, f finding.Finding, key id, own *report) {
	err := r.sink.Find(ctx, f)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	} else if err != nil {
		// Not wrapped: the absence of a file of findings does not speak about evidence.
		err = fmt.Errorf("report finding: %v", err)
		r.metrics.retries.Inc()
	}
	own.err = err
	r.end(key, own, f.Class)
	if err == nil {
		r.date(ctx, f.Class)
	}
}

func (r *Reporter) end(key id, own *report, class finding.Class) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer close(own.done)
	delete(r.inflight, key)
	if !isEnded(own.err) {
		r.err = own.err
	}
	if own.err != nil {
		return
	}
	if len(r.reported[0]) >= maxReported {
		r.reported[1], r.reported[0] = r.reported[0], map[id]bool{}
	}
	r.reported[0][key] = true
	r.count++
	r.metrics.findings.WithLabelValues(string(class)).Inc()
	r.metrics.last.WithLabelValues(string(class)).Set(float64(r.now().Unix()))
}

func idOf(f finding.Finding) id {
	// Quoted, since a key can hold anything: two findings must not have one id.
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q %q %d %q",
		f.Class, f.Account, f.Region, f.Trail, f.Bucket, f.Key, f.Time.UnixNano(), f.Detail))
	return id(sum[:16])
}

// Count returns how many findings were reported.
func (r *Reporter) Count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// Ready returns why the last finding was not reported, nil if it was.
func (r *Reporter) Ready(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// date stores when a finding of a class was reported, so that a restart does not hide
// it from a scraper. One caller at a time stores the dates of all, so that a store that
// hangs holds up that caller alone. A failure holds back nothing: the finding itself is
// durable.
func (r *Reporter) date(ctx context.Context, class finding.Class) {
	at := r.now().Unix()
	r.datesMu.Lock()
	if at-r.dates[class] >= datesApart {
		r.due[class] = at
	}
	isOther := r.storing
	r.storing = true
	r.datesMu.Unlock()
	if isOther {
		return
	}
	for again := true; ; {
		next, version, isDue := r.nextDates()
		if !isDue {
			return
		}
		err := r.storeDates(ctx, next, version)
		if errors.Is(err, state.ErrConflict) && again { // with what another worker stored
			again, err = false, r.loadDates(ctx)
		}
		if err != nil {
			r.stateFailed(ctx, err)
			r.endDates()
			return
		}
	}
}

// nextDates returns the dates to store. Where none is due, it ends the caller's right to
// store.
func (r *Reporter) nextDates() (next map[finding.Class]int64, version state.Version, isDue bool) {
	r.datesMu.Lock()
	defer r.datesMu.Unlock()
	maps.DeleteFunc(r.due, func(class finding.Class, at int64) bool { return at-r.dates[class] < datesApart })
	if len(r.due) == 0 {
		r.storing = false
		return nil, "", false
	}
	next = maps.Clone(r.dates)
	maps.Copy(next, r.due)
	return next, r.version, true
}

// endDates ends the caller's right to store dates after a failure. The next finding of a
// class is dated anew.
func (r *Reporter) endDates() {
	r.datesMu.Lock()
	defer r.datesMu.Unlock()
	r.storing = false
	clear(r.due)
}

func (r *Reporter) storeDates(ctx context.Context, next map[finding.Class]int64, version state.Version) error {
	b, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if version, err = r.store.Put(ctx, datesName, b, version); err != nil {
		return err
	}
	r.datesMu.Lock()
	defer r.datesMu.Unlock()
	r.dates, r.version = next, version
	return nil
}

func (r *Reporter) loadDates(ctx context.Context) error {
	v, err := r.store.Get(ctx, datesName)
	if errors.Is(err, fs.ErrNotExist) {
		v, err = state.Value{Bytes: []byte("{}")}, nil
	}
	dates := map[finding.Class]int64{}
	if err == nil {
		err = json.Unmarshal(v.Bytes, &dates)
	}
	if err != nil {
		return fmt.Errorf("load dates of findings: %w", err)
	}
	r.datesMu.Lock()
	defer r.datesMu.Unlock()
	for class, at := range dates {
		r.dates[class] = max(r.dates[class], at)
	}
	r.version = v.Version
	return nil
}

type metrics struct {
	findings *prometheus.CounterVec
	last     *prometheus.GaugeVec
	retries  prometheus.Counter
}

// newMetrics registers the metrics. All series are there from the start: Prometheus
// does not see the increase of a counter that appears with its first event.
func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		findings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "findings_total", Help: "Findings reported, by class.",
		}, []string{"class"}),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "last_finding_timestamp_seconds",
			Help: "When a finding of the class was last reported, by this or an earlier run on the same state; 0 for never.",
		}, []string{"class"}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "finding_retries_total", Help: "Findings that their sink refused. Each is tried again.",
		}),
	}
	for _, class := range finding.Classes() {
		m.findings.WithLabelValues(string(class))
		m.last.WithLabelValues(string(class))
	}
	r.MustRegister(m.findings, m.last, m.retries)
	return m
}
