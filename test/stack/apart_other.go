//go:build !linux

package main

import "os/exec"

// apart does nothing here: a terminal's Ctrl-C ends the programs by itself.
func apart(*exec.Cmd) {}
