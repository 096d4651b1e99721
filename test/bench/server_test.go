package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/trailseal/trailseal/internal/testaws"
)

// status is what a server tells: first when it is ready, then when asked.
type status struct {
	Env      []string // of its clients
	Queue    string   // its URL
	Waiting  int      // messages in the queue, in flight or not
	Requests map[string]int
}

// serve is the server's process: it reads a site, answers with a status, and
// with another one for each line; it ends when its input does.
func serve(in io.Reader, out io.Writer) error {
	var s site
	dec, enc := json.NewDecoder(in), json.NewEncoder(out)
	if err := dec.Decode(&s); err != nil {
		return err
	}
	w, described, digests := s.world()
	srv, err := testaws.Start(w)
	if err != nil {
		return err
	}
	srv.Latency, srv.Trails = s.Latency, []testaws.Trail{described}
	q := srv.Queue(queueName)
	if s.Queue {
		for _, d := range digests {
			q.Send(fmt.Sprintf(`{"Records":[{"eventVersion":"2.1","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":%q},"object":{"key":%q}}}]}`, bucket, d.key))
		}
	}
	var asked struct{}
	for err == nil {
		visible, inFlight, delayed := q.Counts()
		if err = enc.Encode(status{Env: srv.Env(), Queue: q.URL(), Waiting: visible + inFlight + delayed, Requests: srv.Requests()}); err == nil {
			err = dec.Decode(&asked)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, srv.Close())
}

// server is a server's process as its parent sees it.
type server struct {
	env   []string // of its clients
	queue string

	tb  testing.TB
	in  io.WriteCloser
	out *json.Decoder
}

// start starts a server for the site.
func (s site) start(tb testing.TB) *server {
	tb.Helper()
	cmd := again("server")
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	srv := &server{tb: tb, in: in, out: json.NewDecoder(out)}
	tb.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			tb.Error("server: ", err)
		}
	})
	ready := srv.ask(s)
	srv.queue = ready.Queue
	srv.env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + tb.TempDir()}, ready.Env...)
	return srv
}

// status asks the server.
func (srv *server) status() status {
	srv.tb.Helper()
	return srv.ask(struct{}{})
}

func (srv *server) ask(what any) (got status) {
	srv.tb.Helper()
	if err := json.NewEncoder(srv.in).Encode(what); err != nil {
		srv.tb.Fatal("server: ", err)
	}
	if err := srv.out.Decode(&got); err != nil {
		srv.tb.Fatal("server: ", err)
	}
	return got
}

// again is a command that runs this test binary in a role.
func again(as string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), role+"="+as)
	cmd.Stderr = os.Stderr
	return cmd
}
