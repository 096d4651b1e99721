// Package testtrail is a CloudTrail that runs in memory: it delivers log files
// and signed digests for any number of trails, accounts and regions into
// buckets that can then be tampered with. Its keys are test keys that are part
// of the source. Tests and the sample generator use it; no program links it.
package testtrail

import (
	"context"
	"crypto/md5"
	"crypto/rsa"
	"crypto/x509"
	"embed"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

//go:embed keys/*.pem
var keyFiles embed.FS

const (
	keyCount    = 8
	keyPeriod   = 30 * 24 * time.Hour // a region signs with another key after this
	keyOverlap  = 24 * time.Hour      // validity reaches this far over both ends
	digestDelay = 27 * time.Minute    // from a digest's end to its delivery
)

// World is one AWS: its buckets, its keys and the trails that write to them.
// It is a chain.KeySource. Building it is for one goroutine; reading it for
// many.
type World struct {
	*Store

	// KeysErr makes PublicKeys fail; NoKeys makes its lists empty.
	KeysErr error
	NoKeys  bool
	// EditKeys changes what PublicKeys returns, as a forged answer would be.
	EditKeys func([]digest.Key) []digest.Key

	mu      sync.Mutex
	keys    []*rsa.PrivateKey
	regions []string // in order of first use; the index chooses the keys
	serial  int      // of log files and events, so that every run makes the same bytes
}

// New returns a world without buckets.
func New() *World {
	return &World{Store: NewStore(), keys: loadKeys()}
}

var loadKeys = sync.OnceValue(func() (keys []*rsa.PrivateKey) {
	for i := range keyCount {
		keys = append(keys, loadKey(fmt.Sprintf("keys/test%d.pem", i)))
	}
	return keys
})

func loadKey(name string) *rsa.PrivateKey {
	b, err := keyFiles.ReadFile(name)
	if err != nil {
		panic(err)
	}
	block, _ := pem.Decode(b)
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		panic(err)
	}
	return key
}

// Options describe a trail. Empty fields get defaults.
type Options struct {
	Bucket       string // trail-bucket
	Prefix       string
	Organization string
	Name         string        // main
	HomeRegion   string        // us-east-1
	Offset       time.Duration // into the hour at which digests end; 8m11s
}

// Trail writes chains into a bucket. Its fields may be changed between hours:
// a bucket move is a new Bucket.
type Trail struct {
	Options
	world  *World
	chains []*Chain
}

// Trail adds a trail to the world.
func (w *World) Trail(o Options) *Trail {
	def := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	def(&o.Bucket, "trail-bucket")
	def(&o.Name, "main")
	def(&o.HomeRegion, "us-east-1")
	if o.Offset == 0 {
		o.Offset = 8*time.Minute + 11*time.Second
	}
	w.AddBucket(o.Bucket)
	return &Trail{Options: o, world: w}
}

// ARN returns the trail's ARN for an owner account.
func (t *Trail) ARN(owner string) trail.ARN {
	return trail.ARN{Partition: "aws", Region: t.HomeRegion, Account: owner, Name: t.Name}
}

// PublicKeys implements chain.KeySource: every key of the region that is valid
// at some time of the range.
func (w *World) PublicKeys(_ context.Context, region string, from, to time.Time) (digest.KeySet, error) {
	if w.KeysErr != nil {
		return digest.KeySet{}, w.KeysErr
	}
	set := digest.KeySet{Complete: []digest.Extent{{Region: region, From: from, To: to}}}
	if w.NoKeys {
		return set, nil
	}
	for p := period(from) - 2; p <= period(to)+2; p++ {
		k := w.key(region, p)
		if !k.From.After(to) && !k.To.Before(from) {
			set.Keys = append(set.Keys, k)
		}
	}
	if w.EditKeys != nil {
		set.Keys = w.EditKeys(set.Keys)
	}
	return set, nil
}

func period(t time.Time) int64 { return t.Unix() / int64(keyPeriod/time.Second) }

func (w *World) signer(region string, p int64) *rsa.PrivateKey {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(w.regions, region)
	if i < 0 {
		i = len(w.regions)
		w.regions = append(w.regions, region)
	}
	return w.keys[(2*i+int(p&1))%keyCount]
}

// key returns the public key with which the region signs in a period.
func (w *World) key(region string, p int64) digest.Key {
	der := x509.MarshalPKCS1PublicKey(&w.signer(region, p).PublicKey)
	sum := md5.Sum(der)
	start := time.Unix(p*int64(keyPeriod/time.Second), 0).UTC()
	return digest.Key{
		Region: region, Fingerprint: hex.EncodeToString(sum[:]), DER: der,
		From: start.Add(-keyOverlap), To: start.Add(keyPeriod + keyOverlap),
	}
}

// KeySet returns the keys of the regions used so far that cover a range.
func (w *World) KeySet(from, to time.Time) digest.KeySet {
	var all digest.KeySet
	for _, r := range slices.Clone(w.regions) {
		s, _ := w.PublicKeys(context.Background(), r, from, to)
		all = all.Merge(s)
	}
	return all
}

func (w *World) next() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serial++
	return w.serial
}
