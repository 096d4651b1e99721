package testtrail

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Doc is a digest file's JSON, in the order in which CloudTrail writes it.
type Doc struct {
	Account       string   `json:"awsAccountId"`
	Start         string   `json:"digestStartTime"`
	End           string   `json:"digestEndTime"`
	Bucket        string   `json:"digestS3Bucket"`
	Object        string   `json:"digestS3Object"`
	Fingerprint   string   `json:"digestPublicKeyFingerprint"`
	Algorithm     string   `json:"digestSignatureAlgorithm"`
	Newest        *string  `json:"newestEventTime"`
	Oldest        *string  `json:"oldestEventTime"`
	PrevBucket    *string  `json:"previousDigestS3Bucket"`
	PrevObject    *string  `json:"previousDigestS3Object"`
	PrevHash      *string  `json:"previousDigestHashValue"`
	PrevAlgorithm *string  `json:"previousDigestHashAlgorithm"`
	PrevSignature *string  `json:"previousDigestSignature"`
	Logs          []DocLog `json:"logFiles"`
}

// DocLog is an entry of logFiles.
type DocLog struct {
	Bucket    string  `json:"s3Bucket"`
	Object    string  `json:"s3Object"`
	Hash      string  `json:"hashValue"`
	Algorithm string  `json:"hashAlgorithm"`
	Newest    *string `json:"newestEventTime"`
	Oldest    *string `json:"oldestEventTime"`
}

// Bytes returns the digest as CloudTrail writes it: compact, slashes escaped.
func (d Doc) Bytes() []byte {
	if d.Logs == nil {
		d.Logs = []DocLog{}
	}
	b, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return []byte(strings.ReplaceAll(string(b), "/", `\/`))
}

// Chain is one digest chain under construction.
type Chain struct {
	Issued     []*Issued      // in the order of delivery
	Undigested []trail.Object // log files of a random world that no digest lists: validation was off

	trail   *Trail
	account string
	region  string
	suffix  bool // a backfill chain
	at      time.Time
	prev    *Issued // nil: the next digest is a starting one
	pending []DocLog
}

// Issued is a digest as it was delivered.
type Issued struct {
	Bucket    string
	Key       string
	Doc       Doc
	Body      []byte // inflated
	Signature string
	Logs      []trail.Object
	End       time.Time
	Meta      map[string]string
}

// Chain starts the trail's chain for an account and region: a starting digest
// at the trail's offset into the hour of at.
func (t *Trail) Chain(account, region string, at time.Time) *Chain {
	c := &Chain{trail: t, account: account, region: region, at: at.Truncate(time.Hour).Add(t.Offset)}
	t.chains = append(t.chains, c)
	c.Restart(c.at)
	return c
}

// Backfill makes a backfill chain beside c; its digests are made by Hour and
// cover the time from at on.
func (c *Chain) Backfill(at time.Time) *Chain {
	return &Chain{trail: c.trail, account: c.account, region: c.region, suffix: true, at: at.Truncate(time.Hour).Add(c.trail.Offset)}
}

// Place returns where the chain's files lie now.
func (c *Chain) Place() trail.Place {
	return trail.Place{Prefix: c.trail.Prefix, Organization: c.trail.Organization, Account: c.account, Region: c.region}
}

// Name returns the chain's name.
func (c *Chain) Name() trail.Chain {
	return trail.Chain{Place: c.Place(), Trail: c.trail.Name, HomeRegion: c.trail.HomeRegion, Backfill: c.suffix}
}

// Now returns the end of the newest digest.
func (c *Chain) Now() time.Time { return c.at }

// Restart delivers a starting digest that ends at at, as when logging or
// validation is switched on.
func (c *Chain) Restart(at time.Time) *Issued {
	c.prev, c.at = nil, at
	return c.issue(at.Add(-time.Hour), at, nil)
}

// Hour delivers log files and, at the hour's end, the digest that lists them.
// Without bodies it is an hour without events.
func (c *Chain) Hour(bodies ...[]byte) *Issued {
	start := c.at
	c.at = start.Add(time.Hour)
	logs, objects := c.pending, []trail.Object(nil)
	c.pending = nil
	for i, b := range bodies {
		// Delivered within the hour, at least five minutes from its ends.
		slot := start.Add(5*time.Minute + time.Duration(i)*50*time.Minute/time.Duration(len(bodies)))
		o, entry := c.Deliver(slot, b)
		logs, objects = append(logs, entry), append(objects, o)
	}
	d := c.issue(start, c.at, logs)
	d.Logs = objects
	return d
}

// Hours delivers n hours with two small log files each.
func (c *Chain) Hours(n int) {
	for range n {
		c.Hour(c.trail.world.Log(3), c.trail.world.Log(2))
	}
}

// Deliver puts a log file into the bucket and returns the entry that a digest
// would list it with. Its name has the next full five minutes.
func (c *Chain) Deliver(at time.Time, body []byte) (trail.Object, DocLog) {
	stamp := slotOf(at)
	return c.deliver(at, stamp, stamp, body)
}

// slotOf returns the stamp in the name of a log file that is delivered at a time.
func slotOf(at time.Time) time.Time { return at.Add(5*time.Minute - 1).Truncate(5 * time.Minute) }

// deliver puts a log file with a stamp into the folder of a day.
func (c *Chain) deliver(at, stamp, day time.Time, body []byte) (trail.Object, DocLog) {
	k := trail.LogKey{Place: c.Place(), Stamp: stamp, Day: day.Truncate(24 * time.Hour), Unique: unique(c.trail.world.next())}
	return c.put(at, k.String(), body)
}

// put puts a file with a name into the bucket and returns the entry that a digest
// would list it with.
func (c *Chain) put(at time.Time, key string, body []byte) (trail.Object, DocLog) {
	o := trail.Object{Bucket: c.trail.Bucket, Key: key}
	c.trail.world.Put(o.Bucket, o.Key, Stored{Body: Gzip(body), Encoding: "gzip", Modified: at})
	event := at.Add(-4 * time.Minute).Format(time.RFC3339)
	sum := sha256.Sum256(body)
	return o, DocLog{
		Bucket: o.Bucket, Object: o.Key, Hash: hex.EncodeToString(sum[:]), Algorithm: digest.HashAlgorithm,
		Newest: &event, Oldest: &event,
	}
}

// Skip lets the chain's clock run on without a digest, as when logging is off.
func (c *Chain) Skip(d time.Duration) { c.at, c.prev = c.at.Add(d), nil }

func (c *Chain) issue(start, end time.Time, logs []DocLog) *Issued {
	w := c.trail.world
	const layout = "2006-01-02T15:04:05Z"
	doc := Doc{
		Account: c.account, Start: start.UTC().Format(layout), End: end.UTC().Format(layout),
		Bucket: c.trail.Bucket, Object: c.Name().Digest(end).String(),
		Fingerprint: w.key(c.region, period(end)).Fingerprint, Algorithm: digest.SignatureAlgorithm, Logs: logs,
	}
	if len(logs) > 0 {
		doc.Newest, doc.Oldest = logs[len(logs)-1].Newest, logs[0].Oldest
	}
	d := &Issued{End: end, Doc: doc}
	d.link(c.prev)
	c.sign(d)
	c.Issued = append(c.Issued, d)
	c.prev = d
	return d
}

func (d *Issued) link(prev *Issued) {
	if prev == nil {
		return
	}
	sum := sha256.Sum256(prev.Body)
	hash, algorithm := hex.EncodeToString(sum[:]), digest.HashAlgorithm
	d.Doc.PrevBucket, d.Doc.PrevObject, d.Doc.PrevSignature = &prev.Bucket, &prev.Key, &prev.Signature
	d.Doc.PrevHash, d.Doc.PrevAlgorithm = &hash, &algorithm
}

// sign makes d's bytes and signature from its Doc and puts it into the bucket.
func (c *Chain) sign(d *Issued) {
	d.Bucket, d.Key, d.Body = d.Doc.Bucket, d.Doc.Object, d.Doc.Bytes()
	c.SignBody(d, d.Body)
}

// SignBody puts body into the bucket as the digest d, signed as CloudTrail
// would sign it, whatever it holds.
func (c *Chain) SignBody(d *Issued, body []byte) {
	previous := "null"
	if d.Doc.PrevSignature != nil {
		previous = *d.Doc.PrevSignature
	}
	d.Body = body
	text := digest.StringToSign(d.Doc.End, d.Doc.Bucket, d.Doc.Object, sha256.Sum256(body), previous)
	sum := sha256.Sum256([]byte(text))
	d.Signature = sign(c.trail.world.signer(c.region, period(d.End)), sum)
	d.Meta = map[string]string{digest.MetaSignature: d.Signature, digest.MetaSignatureAlgorithm: digest.SignatureAlgorithm}
	delivered := d.End.Add(digestDelay)
	if c.suffix {
		d.Meta[digest.MetaBackfillGenerated] = delivered.UTC().Format(time.RFC3339)
	}
	c.trail.world.Put(d.Bucket, d.Key, Stored{Body: Gzip(body), Meta: d.Meta, Encoding: "gzip", Modified: delivered})
}

// signatures has the first ones that were made, and signed counts them. Equal worlds are signed
// once, since signing takes longest. A large world must not keep all of its signatures.
var (
	signatures = new(sync.Map)
	signed     = new(atomic.Int64)
)

const maxSigned = 10_000

func sign(key *rsa.PrivateKey, sum [sha256.Size]byte) string {
	of := [2]any{key, sum}
	if s, isThere := signatures.Load(of); isThere {
		return s.(string)
	}
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	s := hex.EncodeToString(sig)
	if signed.Add(1) <= maxSigned {
		signatures.Store(of, s)
	}
	return s
}

// Reissue changes the i-th digest and signs it again, as only someone with
// CloudTrail's key could; its successors stay as they are.
func (c *Chain) Reissue(i int, change func(*Doc)) *Issued {
	d := *c.Issued[i]
	change(&d.Doc)
	c.sign(&d)
	return &d
}

// ReissueFrom changes the i-th digest and signs it and all after it again.
func (c *Chain) ReissueFrom(i int, change func(*Doc)) {
	change(&c.Issued[i].Doc)
	for j := i; j < len(c.Issued); j++ {
		if j > i && c.Issued[j].Doc.PrevObject != nil {
			c.Issued[j].link(c.Issued[j-1])
		}
		c.sign(c.Issued[j])
	}
}

func unique(n int) string {
	const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum := sha256.Sum256(fmt.Appendf(nil, "log %d", n))
	b := make([]byte, 16)
	for i := range b {
		b[i] = letters[int(sum[i])%len(letters)]
	}
	return string(b)
}
