// Command verify-folder proves the log files in a copy of a trail's bucket. It exits with 0 where all are proven, with
// 1 where something is wrong, else with 3. It does not look for planted log files, and an end of a chain is no finding.
//
//	go run ./examples/verify-folder FOLDER KEYS.json
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: verify-folder FOLDER KEYS.json")
		os.Exit(2)
	}
	os.Exit(run(os.Args[1], os.Args[2], os.Stdout))
}

func run(dir, keyFile string, w io.Writer) int {
	f, names, err := open(dir)
	list, keyErr := os.ReadFile(keyFile)
	keys, badKeys := digest.ParseKeySet(list)
	r := report{w: w}
	if err := errors.Join(err, keyErr, badKeys); err != nil {
		r.doubt(dir, err)
		return r.verdict()
	}
	walked, repeats, proven := map[chain.Ref]bool{}, map[trail.Chain]*chain.Repeats{}, map[trail.Chain]bool{}
	for _, name := range names { // newest first; a name alone proves nothing, a walk goes by signed names
		c := name.Identity()
		if repeats[c] == nil {
			repeats[c] = chain.NewRepeats()
		}
		if walked[name] {
			continue
		}
		for s, err := range chain.Walk(context.Background(), f, chain.Saved(keys), name, chain.Options{Now: time.Now(), Repeats: repeats[c]}) {
			if err != nil || walked[s.Ref] {
				break
			}
			walked[s.Ref] = true
			r.step(s, s.Named == nil && s.Verdict.Trusted && proven[c])
			proven[c] = proven[c] || s.Verdict.Trusted
			if s.Verdict.Trusted && s.Digest != nil {
				f.checkLogs(&r, s.Digest)
			}
		}
	}
	return r.verdict()
}
