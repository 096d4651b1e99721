package ingest

import (
	"fmt"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// A second SIGTERM ends the program at once, whatever it still waits for: here
// for whoever reads a profile.
func TestSecondTerm(t *testing.T) {
	for _, signals := range []int{1, 2} {
		t.Run(fmt.Sprint(signals), func(t *testing.T) {
			s := newSite(t, 2, 2)
			w := newWorker(t, s.World, s.folder(t))
			address := freeAddress(t)
			cmd, output := w.command(t, "--listen="+address, "--pprof", "--drain", "3s")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			began(t, w, 0)
			go func() {
				if r, err := http.Get("http://" + address + "/debug/pprof/profile?seconds=30"); err == nil {
					r.Body.Close()
				}
			}()
			time.Sleep(300 * time.Millisecond)
			start := time.Now()
			for range signals {
				if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				time.Sleep(300 * time.Millisecond)
			}
			_ = cmd.Wait()
			took := time.Since(start)
			t.Logf("%d: %s, %s", signals, cmd.ProcessState, took)
			if most := map[int]time.Duration{1: 6 * time.Second, 2: 2 * time.Second}[signals]; took > most {
				t.Errorf("took %s, more than %s\n%s", took, most, output)
			}
		})
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
