package follow_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/pkg/trail"
)

var errWhy = errors.New("the chain waits")

// ends returns the hours of digests.
func ends(all []follow.Known) (hours []int) {
	for _, k := range all {
		hours = append(hours, int(k.End.Sub(hour(0))/time.Hour))
	}
	return hours
}

// add adds digests of the given hours.
func add(f *follow.Frontier, h follow.Head, from follow.Origin, hours ...int) {
	for _, n := range hours {
		f.Add(h, known(n), from, nil)
	}
}

// The best origin counts, whatever the order in which a digest becomes known, and so
// does the bucket that a trusted digest names.
func TestAddFromEachOrigin(t *testing.T) {
	one := func(bucket, signature string) follow.Known {
		k := known(5)
		k.Bucket, k.Signature = bucket, signature
		return k
	}
	type naming struct {
		known follow.Known
		from  follow.Origin
	}
	listed := naming{one("listed", ""), follow.Listed}
	named := naming{one("named", ""), follow.Named}
	signed := naming{one("signed", "cafe"), follow.Named}
	announced := naming{one("announced", ""), follow.Announced}
	for _, tt := range []struct {
		name    string
		namings []naming // in any order
		origin  follow.Origin
		want    follow.Known
	}{
		{"listed", []naming{listed}, follow.Listed, one("listed", "")},
		{"named", []naming{named}, follow.Named, one("named", "")},
		{"signed", []naming{signed}, follow.Named, one("signed", "cafe")},
		{"announced", []naming{announced}, follow.Announced, one("announced", "")},
		{"listed twice", []naming{listed, listed}, follow.Listed, one("listed", "")},
		{"listed and named", []naming{listed, named}, follow.Listed, one("listed", "")},
		{"listed and signed", []naming{listed, signed}, follow.Listed, one("signed", "cafe")},
		{"listed and announced", []naming{listed, announced}, follow.Listed, one("listed", "")},
		{"named and announced", []naming{named, announced}, follow.Named, one("named", "")},
		{"signed and announced", []naming{signed, announced}, follow.Named, one("signed", "cafe")},
		{"all", []naming{listed, signed, announced}, follow.Listed, one("signed", "cafe")},
	} {
		for order := range permutations(len(tt.namings)) {
			var f follow.Frontier
			for _, i := range order {
				f.Add(follow.Head{}, tt.namings[i].known, tt.namings[i].from, nil)
			}
			origin, isKnown := f.Origin(key(5))
			if got := f.Oldest(follow.Head{}, 9); len(got) != 1 || got[0] != tt.want || origin != tt.origin ||
				!isKnown ||
				f.Len() != 1 {
				t.Errorf("%s, order %v: %+v, origin %d", tt.name, order, got, origin)
			}
		}
	}
}

// permutations yields the orders of n things.
func permutations(n int) func(func([]int) bool) {
	return func(yield func([]int) bool) {
		var choose func(taken []int) bool
		choose = func(taken []int) bool {
			if len(taken) == n {
				return yield(taken)
			}
			for i := range n {
				if !slices.Contains(taken, i) && !choose(append(slices.Clone(taken), i)) {
					return false
				}
			}
			return true
		}
		choose(nil)
	}
}

// Digests that end together are told apart by each part of their names.
func TestNamesOfOneHour(t *testing.T) {
	changes := []func(*trail.DigestKey){
		func(*trail.DigestKey) {},
		func(k *trail.DigestKey) { k.Prefix = "a" },
		func(k *trail.DigestKey) { k.Organization = "o-0123456789" },
		func(k *trail.DigestKey) { k.Account = "999988887777" },
		func(k *trail.DigestKey) { k.Region = "eu-west-1" },
		func(k *trail.DigestKey) { k.Trail = "other" },
		func(k *trail.DigestKey) { k.HomeRegion = "eu-west-1" },
		func(k *trail.DigestKey) { k.Backfill = true },
	}
	for _, seed := range []uint64{1, 2, 3} {
		var f follow.Frontier
		for _, i := range rand.New(rand.NewPCG(seed, 0)).Perm(2 * len(changes)) {
			k := key(5)
			changes[i%len(changes)](&k)
			f.Add(follow.Head{}, follow.Known{Ref: ref(k)}, follow.Listed, nil)
		}
		if f.Len() != len(changes) {
			t.Errorf("%d of %d names", f.Len(), len(changes))
		}
		for i, change := range changes {
			k := key(5)
			change(&k)
			if f.Done(k, nil); f.Len() != len(changes)-1-i {
				t.Errorf("name %d was not there", i)
			}
		}
	}
}

// Who waits for a digest is told once, with the error that fits.
func TestDone(t *testing.T) {
	for _, tt := range []struct {
		name string
		head follow.Head // when the digest of hour 5 is added
		from follow.Origin
		then func(*follow.Frontier)
		told bool
		want error
		left bool // the digest is still known
	}{
		{"control", headAt(4), follow.Listed, func(*follow.Frontier) {}, false, nil, true},
		{"covered before", headAt(5), follow.Announced, func(*follow.Frontier) {}, true, nil, false},
		{"bad before", headAt(4).Quarantine(key(5)), follow.Announced, func(*follow.Frontier) {}, true, nil, false},
		{"done", headAt(4), follow.Announced, func(f *follow.Frontier) { f.Done(key(5), nil) }, true, nil, false},
		{"not done", headAt(4), follow.Announced, func(f *follow.Frontier) { f.Done(key(5), errWhy) }, true, errWhy, false},
		{"another done", headAt(4), follow.Announced, func(f *follow.Frontier) { f.Done(key(6), errWhy) }, false, nil, true},
		{"covered meanwhile", headAt(4), follow.Announced, func(f *follow.Frontier) { f.Oldest(headAt(5), 1) }, true, nil, false},
		{"not covered", headAt(4), follow.Announced, func(f *follow.Frontier) { f.Oldest(headAt(4), 1) }, false, nil, true},
		{
			"covered, and not asked for", headAt(4), follow.Announced,
			func(f *follow.Frontier) { f.Oldest(headAt(5), 0) }, false, nil, true,
		},
		{"given back", headAt(4), follow.Announced, func(f *follow.Frontier) { f.GiveBack(errWhy) }, true, errWhy, false},
		{"given back, named", headAt(4), follow.Named, func(f *follow.Frontier) { f.GiveBack(errWhy) }, true, errWhy, true},
		{"given back, listed", headAt(4), follow.Listed, func(f *follow.Frontier) { f.GiveBack(errWhy) }, true, errWhy, true},
		{
			"given back twice", headAt(4), follow.Listed,
			func(f *follow.Frontier) { f.GiveBack(errWhy); f.GiveBack(nil) }, true, errWhy, true,
		},
		{
			"given back and done", headAt(4), follow.Listed,
			func(f *follow.Frontier) { f.GiveBack(errWhy); f.Done(key(5), nil) }, true, errWhy, false,
		},
		{
			"done twice", headAt(4), follow.Announced,
			func(f *follow.Frontier) { f.Done(key(5), nil); f.Done(key(5), errWhy) }, true, nil, false,
		},
		{
			"before others", headAt(4), follow.Announced,
			func(f *follow.Frontier) { add(f, headAt(4), follow.Listed, 4, 6, 7); f.Done(key(5), errWhy) }, true, errWhy, false,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var f follow.Frontier
			var told [2][]error
			for i := range told {
				f.Add(tt.head, known(5), tt.from, func(err error) { told[i] = append(told[i], err) })
			}
			tt.then(&f)
			for i, errs := range told {
				if tt.told != (len(errs) == 1) || !tt.told && len(errs) != 0 || tt.told && errs[0] != tt.want {
					t.Errorf("waiter %d: %v, want %v: %t", i, errs, tt.want, tt.told)
				}
			}
			if _, isKnown := f.Origin(key(5)); isKnown != tt.left {
				t.Errorf("known %t, want %t", isKnown, tt.left)
			}
		})
	}
}

func TestOldest(t *testing.T) {
	for _, tt := range []struct {
		name string
		head follow.Head
		n    int
		want []int
		left int // known afterwards
	}{
		{"control", headAt(0), 9, []int{1, 2, 3, 7, 9}, 5},
		{"some", headAt(0), 3, []int{1, 2, 3}, 5},
		{"none", headAt(0), 0, nil, 5},
		{"after a head", headAt(2), 9, []int{3, 7, 9}, 3},
		{"some after a head", headAt(2), 1, []int{3}, 3},
		{"beside a bad one", headAt(1).Quarantine(key(3)), 9, []int{2, 7, 9}, 3},
		{"a bad one beyond what is asked for", headAt(1).Quarantine(key(9)), 2, []int{2, 3}, 4},
		{"all are done", headAt(9), 9, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var f follow.Frontier
			add(&f, follow.Head{}, follow.Listed, 7, 1, 9, 3, 2)
			if got := ends(f.Oldest(tt.head, tt.n)); !slices.Equal(got, tt.want) || f.Len() != tt.left {
				t.Errorf("got %v, %d left, want %v, %d", got, f.Len(), tt.want, tt.left)
			}
		})
	}
}

func TestBefore(t *testing.T) {
	for _, tt := range []struct {
		name string
		head follow.Head
		from follow.Origin
		than int
		want bool
	}{
		{"listed", headAt(0), follow.Listed, 6, true},
		{"named", headAt(0), follow.Named, 6, true},
		{"announced", headAt(0), follow.Announced, 6, false},
		{"itself", headAt(0), follow.Listed, 5, false},
		{"newer", headAt(0), follow.Listed, 4, false},
		{"covered", headAt(5), follow.Listed, 6, false},
	} {
		var f follow.Frontier
		add(&f, follow.Head{}, tt.from, 5)
		if got := f.Before(tt.head, key(tt.than)); got != tt.want {
			t.Errorf("%s: got %t, want %t", tt.name, got, tt.want)
		}
	}
	if new(follow.Frontier).Before(headAt(0), key(1)) {
		t.Error("an empty one has digests")
	}
}

// A Frontier keeps the oldest names. Of names that compete for the last places it keeps
// those that end at the minute of the chain's hour, and all that someone waits for.
func TestFrontierIsBounded(t *testing.T) {
	begun, most := follow.Begin(hour(0)), follow.MaxListed
	// planted is a name that ends ten minutes after the digest of an hour.
	planted := func(n int) follow.Known {
		return follow.Known{Ref: ref(name.Digest(hour(n).Add(10 * time.Minute)))}
	}
	for _, tt := range []struct {
		name    string
		head    follow.Head
		fill    func(*follow.Frontier, follow.Head)
		len     int
		newest  time.Time
		hasMore bool
		full    bool // nothing newer can be added
	}{
		{"empty", begun, func(*follow.Frontier, follow.Head) {}, 0, time.Time{}, false, false},
		{
			"full", begun, func(f *follow.Frontier, h follow.Head) {
				for n := range most {
					add(f, h, follow.Listed, n)
				}
			}, most, hour(most - 1), false, true,
		},
		{
			"one less", begun, func(f *follow.Frontier, h follow.Head) {
				for n := range most - 1 {
					add(f, h, follow.Listed, n)
				}
			}, most - 1, hour(most - 2), false, false,
		},
		{
			"more, oldest first", begun, func(f *follow.Frontier, h follow.Head) {
				for n := range 2 * most {
					add(f, h, follow.Listed, n)
				}
			}, most, hour(most - 1), true, true,
		},
		{
			"more, newest first", begun, func(f *follow.Frontier, h follow.Head) {
				for n := range 2 * most {
					add(f, h, follow.Listed, 2*most-1-n)
				}
			}, most, hour(most - 1), true, true,
		},
		{
			"planted between, first of the chain", begun, func(f *follow.Frontier, h follow.Head) {
				for n := range most {
					f.Add(h, planted(n), follow.Listed, nil)
					add(f, h, follow.Listed, n)
				}
			}, most, planted(most/2 - 1).End, true, true,
		},
		{
			"planted between", headAt(0), func(f *follow.Frontier, h follow.Head) {
				for n := range most {
					f.Add(h, planted(n), follow.Listed, nil)
					add(f, h, follow.Listed, n+1)
				}
			}, most, hour(most), true, true,
		},
		{
			"some are waited for", begun, func(f *follow.Frontier, h follow.Head) {
				for n := range 2 * most {
					add(f, h, follow.Listed, n)
				}
				f.Add(h, known(5*most), follow.Announced, func(error) {})
				add(f, h, follow.Listed, 5*most)
			}, most, hour(5 * most), true, true,
		},
		{
			"all are waited for", begun, func(f *follow.Frontier, h follow.Head) {
				for n := range 2 * most {
					f.Add(h, known(n), follow.Listed, func(error) {})
				}
			}, 2 * most, hour(2*most - 1), false, true,
		},
		{
			"others beside", begun, func(f *follow.Frontier, h follow.Head) {
				for n := range most {
					add(f, h, follow.Listed, n)
					add(f, h, follow.Named, n+most)
					add(f, h, follow.Announced, n+2*most)
				}
			}, 3 * most, hour(3*most - 1), false, true,
		},
		{
			"named", begun, func(f *follow.Frontier, h follow.Head) {
				for n := range 2000 {
					add(f, h, follow.Named, 1999-n)
				}
			}, 1024, hour(1023), true, false,
		},
		{
			"announced", begun, func(f *follow.Frontier, h follow.Head) {
				for n := range 2000 {
					f.Add(h, known(n), follow.Announced, func(error) {})
				}
			}, 2000, hour(1999), false, false,
		},
		{
			"listed after they were announced", begun, func(f *follow.Frontier, h follow.Head) {
				for n := range 2 * most {
					add(f, h, follow.Announced, n)
				}
				for n := range 2 * most {
					add(f, h, follow.Listed, n)
				}
			}, most, hour(most - 1), true, true,
		},
		{
			"done", begun, func(f *follow.Frontier, h follow.Head) {
				for n := range 2 * most {
					add(f, h, follow.Listed, n)
				}
				f.Done(key(7), nil)
			}, most - 1, hour(most - 1), true, false,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var f follow.Frontier
			tt.fill(&f, tt.head)
			if f.HasMore() != tt.hasMore {
				t.Errorf("has more: %t", f.HasMore())
			}
			if isFull := f.Full(hour(10_000)); isFull != tt.full {
				t.Errorf("full: %t", isFull)
			}
			if f.Full(hour(0)) {
				t.Error("full for the oldest")
			}
			all := f.Oldest(tt.head, 10_000)
			if len(all) != tt.len || f.Len() != tt.len {
				t.Fatalf("%d digests, want %d", len(all), tt.len)
			}
			if tt.len > 0 && !all[len(all)-1].End.Equal(tt.newest) {
				t.Errorf("the newest ends at %s, want %s", all[len(all)-1].End, tt.newest)
			}
			f.SetMore(!tt.hasMore)
			if f.HasMore() == tt.hasMore {
				t.Error("SetMore has no effect")
			}
		})
	}
	var f follow.Frontier
	for n := range most {
		add(&f, begun, follow.Listed, n)
	}
	for n, want := range map[int]bool{most - 2: false, most - 1: false, most: true} {
		if f.Full(hour(n)) != want {
			t.Errorf("of names up to %d, full for %d: %t", most-1, n, !want)
		}
	}
}

// model is a Frontier without bounds, as simple as can be.
type model struct {
	digests map[trail.DigestKey]*modelled
	head    follow.Head
}

type modelled struct {
	known   follow.Known
	origin  follow.Origin
	waiting []int
}

func (m *model) oldest() (all []follow.Known) {
	for _, d := range m.digests {
		all = append(all, d.known)
	}
	slices.SortFunc(all, func(a, b follow.Known) int { return a.End.Compare(b.End) })
	return all
}

// Whatever happens in whatever order, below its bounds a Frontier and its model have the
// same digests, and each who waits is told once, as the model says.
func TestFrontierAgainstModel(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		var f follow.Frontier
		m := model{digests: map[trail.DigestKey]*modelled{}, head: follow.Begin(hour(0))}
		told, want := map[int][]error{}, map[int]error{}
		end := func(k trail.DigestKey, why error) {
			for _, id := range m.digests[k].waiting {
				want[id] = why
			}
			delete(m.digests, k)
		}
		for id := range 400 {
			k := known(r.IntN(60))
			switch r.IntN(10) {
			case 0:
				why := errors.Join(errWhy, fmt.Errorf("of %d", id))
				f.Done(k.DigestKey, why)
				if m.digests[k.DigestKey] != nil {
					end(k.DigestKey, why)
				}
			case 1:
				if m.head.Link.End.Before(k.End) {
					m.head = pass(m.head, k.DigestKey)
				}
				f.Oldest(m.head, 100)
				for key := range m.digests {
					if m.head.Covers(key) {
						end(key, nil)
					}
				}
			case 2:
				if r.IntN(4) > 0 {
					break
				}
				f.GiveBack(errWhy)
				for key, d := range m.digests {
					if d.origin == follow.Announced {
						end(key, errWhy)
						continue
					}
					for _, id := range d.waiting {
						want[id] = errWhy
					}
					d.waiting = nil
				}
			default:
				from := follow.Origin(r.IntN(3))
				f.Add(m.head, k, from, func(err error) { told[id] = append(told[id], err) })
				if m.head.Covers(k.DigestKey) {
					want[id] = nil
					break
				}
				d := m.digests[k.DigestKey]
				if d == nil {
					d = &modelled{known: k, origin: from}
					m.digests[k.DigestKey] = d
				}
				d.origin = min(d.origin, from)
				d.waiting = append(d.waiting, id)
			}
			if got := f.Oldest(m.head, 100); !slices.Equal(got, m.oldest()) || f.Len() != len(got) || f.HasMore() {
				t.Fatalf("seed %d, step %d: got %v, want %v", seed, id, ends(got), ends(m.oldest()))
			}
		}
		if len(told) != len(want) {
			t.Errorf("seed %d: %d were told, want %d", seed, len(told), len(want))
		}
		for id, errs := range told {
			if why, isEnded := want[id]; len(errs) != 1 || !isEnded || errs[0] != why {
				t.Errorf("seed %d: %d was told %v, want %v", seed, id, errs, why)
			}
		}
	}
}

// Pollers, queues and the chain use a Frontier at the same time. Each who waits is told
// once. The race detector watches.
func TestFrontierIsShared(t *testing.T) {
	var f follow.Frontier
	var wait sync.WaitGroup
	var mu sync.Mutex // guards told
	told := map[[2]int]int{}
	const hours = 200
	for who := range 4 {
		wait.Go(func() {
			for n := range hours {
				f.Add(headAt(0), known(n), follow.Origin(who%3), func(error) {
					mu.Lock()
					defer mu.Unlock()
					told[[2]int{who, n}]++
				})
				f.Full(hour(n))
				f.Origin(key(n))
				f.Before(headAt(0), key(n))
				f.SetMore(f.HasMore() && f.Len() > n)
			}
		})
	}
	wait.Go(func() {
		for n := range hours {
			for _, k := range f.Oldest(headAt(n), 10) {
				f.Done(k.DigestKey, errWhy)
			}
			if n%50 == 0 {
				f.GiveBack(errWhy)
			}
		}
	})
	wait.Wait()
	f.GiveBack(errWhy)
	if len(told) != 4*hours {
		t.Errorf("%d were told, want %d", len(told), 4*hours)
	}
	for who, n := range told {
		if n != 1 {
			t.Errorf("%v was told %d times", who, n)
		}
	}
}
