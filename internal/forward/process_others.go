//go:build !unix

package forward

import "os/exec"

func ownGroup(*exec.Cmd) {}

// killGroup kills the command alone: there are no groups of processes.
func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }
