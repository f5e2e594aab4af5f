package supervise

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// TestNoVsockFilter runs the filter in an interpreter: trying it out for real
// would open an AF_VSOCK socket on the host, if it failed.
func TestNoVsockFilter(t *testing.T) {
	var raw []bpf.RawInstruction
	for _, f := range noVsockFilter() {
		raw = append(raw, bpf.RawInstruction{Op: f.Code, Jt: f.Jt, Jf: f.Jf, K: f.K})
	}
	prog, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the filter holds unknown instructions")
	}
	vm, err := bpf.NewVM(prog)
	if err != nil {
		t.Fatal(err)
	}
	const (
		allow    = unix.SECCOMP_RET_ALLOW
		refuse   = unix.SECCOMP_RET_ERRNO | int(unix.EAFNOSUPPORT)
		otherABI = unix.SECCOMP_RET_ERRNO | int(unix.ENOSYS)
	)
	tests := []struct {
		name     string
		arch, nr uint32
		arg0     uint64
		want     int
	}{
		{"socket(AF_VSOCK)", unix.AUDIT_ARCH_X86_64, unix.SYS_SOCKET, unix.AF_VSOCK, refuse},
		{"socket(AF_VSOCK), high half ignored by the kernel", unix.AUDIT_ARCH_X86_64, unix.SYS_SOCKET, 1<<32 | unix.AF_VSOCK, refuse},
		{"socket(AF_UNIX)", unix.AUDIT_ARCH_X86_64, unix.SYS_SOCKET, unix.AF_UNIX, allow},
		{"another call with the same argument", unix.AUDIT_ARCH_X86_64, unix.SYS_CLOSE, unix.AF_VSOCK, allow},
		{"x32 socket(AF_VSOCK)", unix.AUDIT_ARCH_X86_64, x32Bit | unix.SYS_SOCKET, unix.AF_VSOCK, otherABI},
		{"i386 socket(AF_VSOCK)", unix.AUDIT_ARCH_I386, 359, unix.AF_VSOCK, otherABI},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// The interpreter loads big-endian words, the kernel those of the machine.
			data := make([]byte, 64)
			binary.BigEndian.PutUint32(data[offNr:], tt.nr)
			binary.BigEndian.PutUint32(data[offArch:], tt.arch)
			binary.BigEndian.PutUint32(data[offArg0:], uint32(tt.arg0))
			binary.BigEndian.PutUint32(data[offArg0+4:], uint32(tt.arg0>>32))
			got, err := vm.Run(data)
			if err != nil || got != tt.want {
				t.Errorf("filter gives %#x, %v; want %#x", got, err, tt.want)
			}
		})
	}
}
