package report_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/pkg/finding"
)

// naive is the rule in its own words: sort, keep the first of each class and
// folder, then the first of all. It returns the number of dropped entries by
// folder, too.
func naive[T any](all []T, l report.Limits, compare func(a, b T) int, name func(T) string, subject func(T) finding.Subject) ([]T, map[string]int) {
	all = slices.Clone(all)
	slices.SortFunc(all, compare)
	taken, dropped, kept := map[string]int{}, map[string]int{}, []T{}
	for _, x := range all {
		s := subject(x)
		where := name(x) + " " + s.Account + " " + s.Region
		if s.Key != "" {
			where = name(x) + " s3://" + s.Bucket + "/" + s.Key[:strings.LastIndex(s.Key, "/")+1]
		}
		if taken[where]++; taken[where] > l.PerFolder || len(kept) == l.Total {
			dropped[where]++
			continue
		}
		kept = append(kept, x)
	}
	return kept, dropped
}

func randomSubject(rng *rand.Rand) finding.Subject {
	s := finding.Subject{
		Account: fmt.Sprint(rng.IntN(3)), Region: fmt.Sprint(rng.IntN(2)), Bucket: fmt.Sprint("b", rng.IntN(2)),
		Time: at(rng.IntN(4), 0),
	}
	if rng.IntN(4) > 0 {
		s.Key = strings.Repeat("f/", rng.IntN(4)) + fmt.Sprint(rng.IntN(9))
	}
	return s
}

func TestCollectorIsTheNaiveRule(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		l := report.Limits{PerFolder: 1 + rng.IntN(6), Total: 1 + rng.IntN(40)}
		c := report.NewCollector(l)
		var (
			findings   []finding.Finding
			unverified []finding.Unverified
			notes      []finding.Note
		)
		for range rng.IntN(300) {
			f := finding.Finding{Class: finding.Classes()[rng.IntN(3)], Subject: randomSubject(rng), Detail: fmt.Sprint(rng.IntN(3))}
			u := finding.Unverified{Reason: finding.Reasons()[rng.IntN(3)], Subject: randomSubject(rng), Objects: rng.IntN(3)}
			n := finding.Note{Kind: fmt.Sprint("kind", rng.IntN(2)), Subject: randomSubject(rng)}
			findings, unverified, notes = append(findings, f), append(unverified, u), append(notes, n)
		}
		for i := range findings {
			c.Add(findings[i])
			c.AddUnverified(unverified[i])
			c.AddNote(notes[i])
			if rng.IntN(50) == 0 {
				c.Fill(&report.Report{}) // filling in between changes nothing
			}
		}
		var got, want report.Report
		c.Fill(&got)
		dropped := [3]map[string]int{}
		want.Findings, dropped[0] = naive(findings, l, finding.Compare,
			func(f finding.Finding) string { return string(f.Class) }, func(f finding.Finding) finding.Subject { return f.Subject })
		want.Unverified, dropped[1] = naive(unverified, l, finding.CompareUnverified,
			func(u finding.Unverified) string { return string(u.Reason) }, func(u finding.Unverified) finding.Subject { return u.Subject })
		want.Notes, dropped[2] = naive(notes, l, finding.CompareNotes,
			func(n finding.Note) string { return n.Kind }, func(n finding.Note) finding.Subject { return n.Subject })
		lists := func(r report.Report) [3]any {
			return [3]any{r.Findings, r.Unverified, append([]finding.Note{}, r.Notes...)}
		}
		if d := diff(lists(want), lists(got)); d != "" {
			t.Fatalf("seed %d, %+v: %s", seed, l, d)
		}
		omitted := [3]map[string]int{{}, {}, {}}
		for _, o := range got.Omitted {
			where := o.Account + " " + o.Region
			if o.Folder != "" {
				where = o.Folder
			}
			switch {
			case o.Class != "":
				omitted[0][string(o.Class)+" "+where] += o.Count
			case o.Reason != "":
				omitted[1][string(o.Reason)+" "+where] += o.Count
			default:
				omitted[2][o.Kind+" "+where] += o.Count
			}
		}
		if d := diff(dropped, omitted); d != "" {
			t.Fatalf("seed %d: omitted: %s", seed, d)
		}
		objects, folders := 0, 0
		for _, u := range unverified {
			objects += u.Count()
			if u.IsFolder() {
				folders++
			}
		}
		n := got.Counts
		if n.Findings != len(findings) || n.Unverified != len(unverified) || n.UnverifiedObjects != objects || n.UnverifiedFolders != folders {
			t.Fatalf("seed %d: %d of each, %d objects, %d folders: %+v", seed, len(findings), objects, folders, n)
		}
	}
}

// The result does not depend on the order of the calls, even where more folders
// have omitted findings than are counted by name.
func TestCollectorOrder(t *testing.T) {
	var all []finding.Finding
	for i := range 4000 {
		for j := range 3 {
			class := []finding.Class{finding.LogModified, finding.LogMissing}[i%2]
			all = append(all, finding.Finding{Class: class, Subject: finding.Subject{Bucket: "b", Key: fmt.Sprintf("%04d/%d", i, j)}})
		}
	}
	collect := func() *report.Report {
		c := report.NewCollector(report.Limits{PerFolder: 1, Total: 3000})
		for _, f := range all {
			c.Add(f)
		}
		r := &report.Report{}
		c.Fill(r)
		return r
	}
	want := collect()
	if len(want.Omitted) != 1000+2 || want.Counts.Findings != len(all) || want.Counts.FindingsListed != 3000 {
		t.Fatalf("%d omitted, %+v", len(want.Omitted), want.Counts)
	}
	for i, o := range want.Omitted[:1000] { // the classes are log-modified and log-missing
		if w := (report.Omitted{Class: finding.LogMissing, Folder: fmt.Sprintf("s3://b/%04d/", 2*i+1), Count: 2}); o != w {
			t.Fatalf("%+v, want %+v", o, w)
		}
	}
	slices.Reverse(all)
	rng := rand.New(rand.NewPCG(7, 7))
	for range 3 {
		if d := diff(want, collect()); d != "" {
			t.Fatal(d)
		}
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
}

func TestCollectorAtOnce(t *testing.T) {
	c := report.NewCollector(report.Limits{})
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			for i := range 3000 {
				c.Add(finding.Finding{Class: finding.Gap, Subject: finding.Subject{Key: fmt.Sprintf("%d/%04d", w, i)}})
			}
			c.Fill(&report.Report{})
		})
	}
	workers.Wait()
	r := &report.Report{}
	c.Fill(r)
	if len(r.Findings) != 4*1000 || len(r.Omitted) != 4 || r.Counts.Findings != 4*3000 { // the default of 1,000 a folder
		t.Errorf("%d findings, omitted %v, %+v", len(r.Findings), r.Omitted, r.Counts)
	}
}

// planted returns a finding about one of very many planted objects.
func planted(i, perFolder int) finding.Finding {
	return finding.Finding{
		Class: finding.LogUnlisted, Detail: fmt.Sprintf("no digest lists the object %d", i),
		Subject: finding.Subject{Account: "111122223333", Region: "us-east-1", Bucket: "trail-bucket", Time: time.Unix(int64(i), 0),
			Key: fmt.Sprintf("AWSLogs/111122223333/CloudTrail/us-east-1/%08d/111122223333_CloudTrail_us-east-1_%08d.json.gz", i/perFolder, i)},
		Evidence: finding.Evidence{Digest: fmt.Sprintf("s3://trail-bucket/AWSLogs/111122223333/CloudTrail-Digest/us-east-1/%08d.json.gz", i)},
	}
}

func TestCollectorMemory(t *testing.T) {
	const n, most = 200_000, 30 << 20
	for name, order := range map[string]func(i int) finding.Finding{
		"one folder":   func(i int) finding.Finding { return planted(i, n) },
		"many folders": func(i int) finding.Finding { return planted(i, 1) },
		"backwards":    func(i int) finding.Finding { return planted(n-i, 10) },
	} {
		before := heap()
		c := report.NewCollector(report.Limits{})
		for i := range n {
			f := order(i)
			c.Add(f)
			c.AddUnverified(finding.Unverified{Reason: finding.Network, Subject: f.Subject, Detail: f.Detail})
			if i%40_000 != 39_990 { // just before the Collector drops what is over its limits
				continue
			}
			if used := int64(heap()) - int64(before); used > most {
				t.Errorf("%s: %d bytes after %d findings", name, used, i+1)
			}
		}
		runtime.KeepAlive(c)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkCollector(b *testing.B) {
	for name, at := range map[string]func(i int) int{"forwards": func(i int) int { return i }, "backwards": func(i int) int { return 1<<26 - i }} {
		b.Run(name, func(b *testing.B) {
			c := report.NewCollector(report.Limits{})
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				c.Add(planted(at(i), 1))
			}
		})
	}
}
