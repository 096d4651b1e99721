package s3server

import (
	"os/exec"
	"syscall"
)

// endWithParent lets the kernel end the server when the test binary is killed,
// as go test does after its timeout, and no cleanup runs.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
