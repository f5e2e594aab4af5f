//go:build unix

package forward

import (
	"os/exec"
	"syscall"
)

// ownGroup makes the command's children, such as a shell's, part of a group that
// can be killed with it.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
