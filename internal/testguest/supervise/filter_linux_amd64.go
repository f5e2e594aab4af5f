package supervise

import "golang.org/x/sys/unix"

// Offsets in struct seccomp_data, linux/seccomp.h.
const (
	offNr   = 0
	offArch = 4
	offArg0 = 16
)

// x32Bit marks the system call numbers of the x32 ABI, which would get past a
// comparison with SYS_SOCKET.
const x32Bit = 0x40000000

// noVsockFilter is the seccomp program that makes socket(AF_VSOCK) fail with
// EAFNOSUPPORT. System calls of the machine's other ABIs fail with ENOSYS:
// neither Go nor UML nor QEMU makes any.
func noVsockFilter() []unix.SockFilter {
	ld := func(off uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: off}
	}
	jump := func(op uint16, k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, K: k, Jt: yes, Jf: no}
	}
	ret := func(k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k}
	}
	const (
		otherABI = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
		noVsock  = unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)
	)
	return []unix.SockFilter{
		0: ld(offArch),
		1: jump(unix.BPF_JEQ, unix.AUDIT_ARCH_X86_64, 0, 6),
		2: ld(offNr),
		3: jump(unix.BPF_JGE, x32Bit, 4, 0),
		4: jump(unix.BPF_JEQ, unix.SYS_SOCKET, 0, 4),
		5: ld(offArg0),
		6: jump(unix.BPF_JEQ, unix.AF_VSOCK, 0, 2),
		7: ret(noVsock),
		8: ret(otherABI),
		9: ret(unix.SECCOMP_RET_ALLOW),
	}
}
