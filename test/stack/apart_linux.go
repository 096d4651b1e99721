package main

import (
	"os/exec"
	"syscall"
)

// apart keeps a terminal's Ctrl-C from the process, which the stack ends in
// its turn, and ends it with the stack even where that is killed.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
