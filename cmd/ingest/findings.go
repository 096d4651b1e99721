package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/trailseal/trailseal/internal/finding"
	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// findingLines writes findings as lines of JSON into a sink, and into the log
// unless they are beside it anyway.
type findingLines struct {
	sink ingest.Sink
	log  *slog.Logger
}

// Find implements ingest.FindingSink.
func (l findingLines) Find(ctx context.Context, f finding.Finding) error {
	l.log.Warn("finding", "class", f.Class, "account", f.Account, "region", f.Region, "trail", f.Trail, "key", f.Key, "detail", f.Detail)
	b, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("finding: %w", err)
	}
	sum := sha256.Sum256(b)
	return l.sink.Emit(ctx, trail.Batch{
		Log: trail.Object{Bucket: f.Bucket, Key: f.Key}, Lines: [][]byte{b}, IDs: []string{hex.EncodeToString(sum[:16])},
	})
}

// parseSince reads a moment, or a span before now.
func parseSince(s string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if d, err := time.ParseDuration(days + "h"); err == nil {
			return now.Add(-24 * d).UTC(), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d).UTC(), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("since %q: not RFC 3339, a date, or a span such as 24h or 30d", s)
}
