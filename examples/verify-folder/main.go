// Command verify-folder proves the digests and log files in a copy of a trail's bucket: verify-folder FOLDER KEYS.json
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

func main() { os.Exit(run(os.Args[1], os.Args[2], os.Stdout)) }

// run returns 0 where every file is proven, 1 where something is wrong, else 3. It does not look for planted log files.
func run(dir, keyFile string, w io.Writer) (exit int) {
	say := func(code int, name string, why any) {
		fmt.Fprintf(w, "%s: %v\n", name, why)
		exit = map[bool]int{true: 1, false: code}[exit == 1]
	}
	list, err := os.ReadFile(keyFile)
	keys, badKeys := digest.ParseKeySet(list)
	if err := errors.Join(err, badKeys); err != nil {
		say(3, keyFile, err)
	}
	f, walked, options := folder{os.DirFS(dir)}, map[chain.Ref]bool{}, chain.Options{Repeats: chain.NewRepeats()}
	for _, name := range f.names() { // newest first: a name proves nothing, it is only where a walk can begin
		for s, err := range chain.Walk(context.Background(), f, chain.Saved(keys), name, options) {
			if err != nil || walked[s.Ref] {
				break
			}
			walked[s.Ref] = true
			if v := s.Verdict; v.Status == chain.Invalid {
				say(1, s.At.Key, string(v.Class)+": "+v.Detail)
			} else if v.Err != nil {
				say(3, s.At.Key, v.Err)
			}
			for _, l := range s.Logs() {
				body, err := f.read(trail.Tail(l.Object))
				if err == nil {
					err = l.Check(sha256.Sum256(body))
				}
				if code := exitOf(err); code != 0 {
					say(code, l.Object, err)
				}
			}
		}
	}
	if len(walked) == 0 {
		say(3, dir, "no digest found")
	}
	fmt.Fprintln(w, map[int]string{0: "proven", 1: "findings", 3: "not everything could be checked"}[exit])
	return exit
}
