package chain_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// one is a Fetcher of one file.
type one chain.Found

func (f one) ReadDigest(context.Context, chain.Ref) []chain.Found {
	return []chain.Found{chain.Found(f)}
}

func (one) HashDigest(context.Context, trail.Object) (digest.Sum, error) {
	return digest.Sum{}, finding.ErrTooLarge
}

// see walks from one digest of a copy without metadata and returns its step.
func see(w *testtrail.World, r *chain.Repeats, ref chain.Ref, body []byte) (step chain.Step) {
	f := one{At: ref.Object(), File: fileOf(body, nil)}
	f.At.Bucket, ref.Bucket = "", ""
	for s := range chain.Walk(context.Background(), f, chain.Saved(w.KeySet(day, day.AddDate(0, 2, 0))), ref, chain.Options{Repeats: r, Until: ref.End}) {
		step = s
	}
	return step
}

// plant returns the body of a digest under a name that repeats a signature for the
// digest named.
func plant(like *testtrail.Issued, under trail.DigestKey, named, signature string) []byte {
	d := like.Doc
	d.Object, d.PrevObject, d.PrevSignature = under.String(), &named, &signature
	d.End, d.Start = under.End.Format("2006-01-02T15:04:05Z"), under.End.Add(-time.Hour).Format("2006-01-02T15:04:05Z")
	b, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return b
}

// put reads a planted digest under a name. It repeats a signature for the digest named.
type put func(under trail.DigestKey, named, signature string)

type planter func(put put, genuine, target *testtrail.Issued)

// between plants digests that name predecessors in the hour after the target.
func between(n int) planter {
	return func(put put, genuine, target *testtrail.Issued) {
		for i := range n {
			k := parseKey(target.Key)
			k.End = k.End.Add(time.Duration(1+i%3000) * time.Second)
			k.Organization = fmt.Sprintf("o-%010d", i)
			put(parseKey(genuine.Key), k.String(), "ff")
		}
	}
}

// passed plants digests that name predecessors newer than the genuine digest.
func passed(n int) planter {
	return func(put put, genuine, _ *testtrail.Issued) {
		for i := range n {
			k := parseKey(genuine.Key)
			k.End = k.End.Add(time.Duration(1+i) * time.Second)
			later := k
			later.End = k.End.Add(time.Hour)
			put(later, k.String(), "ff")
		}
	}
}

// In each row the newest digest of a copy cannot be verified, but repeats the
// signature of the digest before it.
func TestRepeats(t *testing.T) {
	valid := outcome{Status: chain.Valid, Trusted: true, Key: true}
	unsigned := outcome{Status: chain.Unverified, Reason: finding.NoSignature}
	lost := unsigned
	lost.Contradicted = true
	for _, row := range []struct {
		name  string
		plant planter // before the genuine digest is read
		late  planter // after that
		want  outcome
		by    int // planted digests that are named as repeaters
	}{
		{"control", nil, nil, valid, 0},
		{"another target", func(put put, genuine, _ *testtrail.Issued) {
			put(parseKey(genuine.Key), genuine.Key, "ff")
		}, nil, valid, 0},
		{"fifteen other signatures at the genuine end", func(put put, genuine, target *testtrail.Issued) {
			for i := range 15 {
				k := parseKey(genuine.Key)
				k.Prefix = fmt.Sprint("planted", i)
				put(k, target.Key, "ff")
			}
		}, nil, valid, 0},
		{"sixteen other signatures at the genuine end", func(put put, genuine, target *testtrail.Issued) {
			for i := range 16 {
				k := parseKey(genuine.Key)
				k.Prefix = fmt.Sprint("planted", i)
				put(k, target.Key, "ff")
			}
		}, nil, lost, 16},
		{"a thousand other signatures at other ends", func(put put, genuine, target *testtrail.Issued) {
			for i := range 1000 {
				k := parseKey(genuine.Key)
				k.End = k.End.Add(time.Duration(1+i) * time.Second)
				put(k, target.Key, "ff")
			}
		}, nil, valid, 0},
		{"ten thousand older names", func(put put, genuine, target *testtrail.Issued) {
			for i := range 10000 {
				k := parseKey(target.Key)
				k.End = k.End.Add(-time.Duration(i+1) * time.Minute)
				put(parseKey(genuine.Key), k.String(), "ff")
			}
		}, nil, valid, 0},
		{"five thousand names between", nil, between(5000), unsigned, 0},
		{"five thousand names that the walk has passed", passed(5000), nil, valid, 0},
		{"these, and two thousand names between", passed(5000), between(2000), valid, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, c := newChain(testtrail.Options{}, 3)
			genuine, target, r := c.Issued[3], c.Issued[2], chain.NewRepeats()
			put := func(under trail.DigestKey, named, signature string) {
				see(w, r, chain.Ref{DigestKey: under}, plant(genuine, under, named, signature))
			}
			if row.plant != nil {
				row.plant(put, genuine, target)
			}
			see(w, r, refOf(genuine), genuine.Body)
			if row.late != nil {
				row.late(put, genuine, target)
			}
			s := see(w, r, refOf(target), target.Body)
			if got := outcomeOf(s.Verdict); got != row.want || len(s.Repeaters) != row.by {
				t.Errorf("want %+v\n got %+v by %d", row.want, got, len(s.Repeaters))
			}
		})
	}
}

// A signature that an altered digest repeats in vain is told with the digests that
// repeat it. One repeated for another chain or by an older digest does not count.
func TestRepeaters(t *testing.T) {
	w, c := newChain(testtrail.Options{}, 3)
	target := c.Issued[2]
	bad := append([]byte(nil), target.Body...)
	bad = append(bad, '\n')
	r := chain.NewRepeats()
	see(w, r, refOf(c.Issued[3]), c.Issued[3].Body)
	s := see(w, r, refOf(target), bad)
	if !s.Verdict.Contradicted || len(s.Repeaters) != 1 || s.Repeaters[0].DigestKey != parseKey(c.Issued[3].Key) {
		t.Errorf("%+v", s.Repeaters)
	}
	// A digest that a signed hash proves is not in question.
	o := chain.Options{Repeats: r, Successor: &chain.Successor{Previous: digest.Previous{Hash: parse(bad).Sum}}}
	found := []chain.Found{{At: trail.Object{Key: target.Key}, File: fileOf(bad, nil)}}
	s = chain.JudgeFiles(t.Context(), chain.Saved(w.KeySet(day, day)), refOf(target), found, o)
	if !s.Verdict.Trusted || !s.Verdict.Contradicted || len(s.Repeaters) != 0 {
		t.Errorf("%s by %+v", line(s), s.Repeaters)
	}
	for name, under := range map[string]func(*trail.DigestKey){
		"another chain": func(k *trail.DigestKey) { k.Trail = "other" },
		"older":         func(k *trail.DigestKey) { k.End = target.End.Add(-time.Hour) },
		"of the same end": func(k *trail.DigestKey) {
			k.End = target.End
		},
	} {
		r := chain.NewRepeats()
		k := parseKey(c.Issued[3].Key)
		under(&k)
		see(w, r, chain.Ref{DigestKey: k}, plant(c.Issued[3], k, target.Key, target.Signature))
		if s := see(w, r, refOf(target), target.Body); s.Verdict.Status != chain.Unverified || s.Verdict.Contradicted {
			t.Errorf("%s: %s", name, line(s))
		}
	}
	// A copy has no prefix, but the digests in it name their predecessors with one.
	prefixed, p := newChain(testtrail.Options{Prefix: "prefix"}, 3)
	r, k := chain.NewRepeats(), parseKey(trail.Tail(p.Issued[2].Key))
	see(prefixed, r, refOf(p.Issued[3]), p.Issued[3].Body)
	if s := see(prefixed, r, chain.Ref{DigestKey: k}, p.Issued[2].Body); s.Verdict.Status != chain.Valid {
		t.Errorf("with a prefix: %s", line(s))
	}
	if s := see(w, nil, refOf(target), target.Body); s.Verdict.Status != chain.Unverified {
		t.Errorf("without Repeats: %s", line(s))
	}
}
