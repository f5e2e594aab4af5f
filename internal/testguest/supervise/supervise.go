// Package supervise is the process between a test and the virtual machine, User
// Mode Linux or QEMU, that it started. It exists so that nothing of the guest outlives the test, however
// the test ends.
//
// UML runs each of the guest's address spaces as a host process of its own,
// stopped and started with ptrace, and it does not set PTRACE_O_EXITKILL. If
// only UML's main process is killed (by PR_SET_PDEATHSIG, say), the kernel
// detaches those processes and lets them run on: they are then ordinary host
// processes, and their system calls are the host's. So the guest must die as
// one. The supervisor starts it in a process group of its own and kills that
// group with one kill(2): it marks every member under a lock that the dying
// tracer needs before it can detach anybody.
//
// The supervisor holds one end of a socket, the lifeline, whose other end only
// the test holds. When that end is closed, by will or because the test was
// killed, the guest is killed and its files are removed. A signal to the
// supervisor's terminal or group does not reach it: it has a session of its own.
//
// What is left is the moment between a crash of UML's main process and the
// supervisor's kill. For that the supervisor and all below it are forbidden, by
// a seccomp filter, to open an AF_VSOCK socket on the host. The guest's own
// system calls never reach the host's kernel, and so not this filter either.
//
// The supervisor is not a program of its own: every program that calls
// guest.Main can take this role, so that a test needs to build only one.
package supervise

// EnvDir makes a program that calls Main the supervisor. Its value is the
// guest's folder, which the supervisor removes at the end.
const EnvDir = "VSOCKETS_SUPERVISE"

// DirPrefix is how the name of a guest's folder begins. No other folder is ever
// removed, whatever EnvDir says.
const DirPrefix = "vsockets-guest-"

// The supervisor's open files. The virtual machine gets the two of the guest's
// serial line as its own files 3 and 4.
const (
	FDLifeline = 3 // a socket; the process ID of the virtual machine is written to it, as text and a newline
	FDLineIn   = 4 // what the guest's serial line reads
	FDLineOut  = 5 // what the guest's serial line writes
)

// ExitSignal is added to the number of the signal that ended the virtual machine,
// and gives the supervisor's exit status then. Shells do the same.
const ExitSignal = 128
