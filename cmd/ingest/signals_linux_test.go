package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// SIGHUP does not end the program, also while it starts: logrotate sends it at any time.
func TestHangupWhileStarting(t *testing.T) {
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys.json")
	if err := syscall.Mkfifo(keys, 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := exec.LookPath("ingest") // which TestMain has put there
	if err != nil {
		t.Fatal(err)
	}
	sample, err := filepath.Abs("../../test/sample")
	if err != nil {
		t.Fatal(err)
	}
	saved, err := os.ReadFile(filepath.Join(sample, "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--once", "--source", sample, "--keys", keys, "--since", "2026-03-01",
		"--state", "memory", "--sink", "file:"+filepath.Join(dir, "events.ndjson"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(keys, os.O_WRONLY, 0) // returns when the program waits for the keys
	if err == nil {
		err = cmd.Process.Signal(syscall.SIGHUP)
	}
	if err == nil {
		_, err = f.Write(saved)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitFindings { // those of the sample
		t.Errorf("%s\n%s", cmd.ProcessState, stderr.String())
	}
}
