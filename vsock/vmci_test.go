package vsock

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"math"
	"syscall"
	"testing"
	"time"

	"vsockets.dev/internal/winsock"
)

// TestVMCI holds the facts against vmci_sockets.h, and the control codes against how
// Windows makes them: device type, access, function, method (winioctl.h, CTL_CODE).
func TestVMCI(t *testing.T) {
	ctlCode := func(device, function, method, access uint32) uint32 {
		return device<<16 | access<<14 | function<<2 | method
	}
	for name, tc := range map[string]struct{ got, function uint32 }{
		"VMCI_SOCKETS_VERSION":       {vmciVersion, 0x816},
		"VMCI_SOCKETS_GET_AF_VALUE":  {vmciGetAFValue, 0x81a},
		"VMCI_SOCKETS_GET_LOCAL_CID": {vmciGetLocalCID, 0x81b},
	} {
		if want := ctlCode(0x8103, tc.function, 0, 0); tc.got != want {
			t.Errorf("%s is %#x, want %#x", name, tc.got, want)
		}
	}
	if vmciDevice != "\\\\.\\VMCI" {
		t.Error(vmciDevice)
	}
}

func TestVMCISockaddr(t *testing.T) {
	a := Addr{CID: 0x01020304, Port: 0x0a0b0c0d}
	sa := vmciSockaddr(28, a)
	if got, want := hex.EncodeToString(sa), "1c0000000d0c0b0a0403020100000000"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, err := parseVMCISockaddr(28, sa); got != a || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	for name, in := range map[string][]byte{"empty": nil, "short": sa[:11], "another family": append([]byte{2}, sa[1:]...)} {
		if got, err := parseVMCISockaddr(28, in); !errors.Is(err, syscall.EAFNOSUPPORT) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestVMCIOptions: 64 bits by the guide, on every platform, and a DWORD for the timeout.
func TestVMCIOptions(t *testing.T) {
	for o, want := range map[Option]winsock.Option{
		BufferSize:     {Name: 0, Size: 8},
		BufferMinSize:  {Name: 1, Size: 8},
		BufferMaxSize:  {Name: 2, Size: 8},
		PeerHostVMID:   {Name: 3, Size: 4},
		Trusted:        {Name: 5, Size: 4},
		ConnectTimeout: {Name: 6, Size: 4, Millis: true},
		NonblockTxRx:   {Name: 7, Size: 4},
	} {
		if got := vmciOptions[o]; got != want {
			t.Errorf("%v: %+v, want %+v", o, got, want)
		}
	}
	for _, tc := range []struct {
		o    Option
		v    uint64
		want []byte
		err  error
		back uint64
	}{
		{BufferSize, 1<<32 + 1, []byte{1, 0, 0, 0, 1, 0, 0, 0}, nil, 1<<32 + 1},
		{BufferMaxSize, math.MaxUint64, bytes.Repeat([]byte{0xff}, 8), nil, math.MaxUint64},
		{ConnectTimeout, uint64(2 * time.Second), []byte{0xd0, 7, 0, 0}, nil, uint64(2 * time.Second)},
		{ConnectTimeout, 1, []byte{1, 0, 0, 0}, nil, uint64(time.Millisecond)},
		{ConnectTimeout, 0, []byte{0, 0, 0, 0}, nil, 0},
		{ConnectTimeout, uint64(1<<32) * uint64(time.Millisecond), nil, syscall.ERANGE, 0},
		{Trusted, 1 << 32, nil, syscall.ERANGE, 0},
	} {
		got, err := encodeOption(vmciOptions[tc.o], tc.v)
		if !bytes.Equal(got, tc.want) || !errors.Is(err, tc.err) {
			t.Errorf("%v = %d: %x, %v; want %x, %v", tc.o, tc.v, got, err, tc.want, tc.err)
		} else if err == nil && decodeOption(vmciOptions[tc.o], got) != tc.back {
			t.Errorf("%v = %d reads back as %d", tc.o, tc.v, decodeOption(vmciOptions[tc.o], got))
		}
	}
}

func TestConnectTimeout(t *testing.T) {
	for v, want := range map[uint64]time.Duration{0: DefaultConnectTimeout, 1: 1, math.MaxUint64: math.MaxInt64} {
		if got := connectTimeout(v); got != want {
			t.Errorf("%d: %v, want %v", v, got, want)
		}
	}
	ctx, cancel := withConnectTimeout(t.Context(), 1)
	defer cancel()
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Error(err)
	}
}

// FuzzVMCISockaddr has the system give any address: it is one of the family, and as it was.
func FuzzVMCISockaddr(f *testing.F) {
	f.Add(uint16(28), vmciSockaddr(28, Addr{CID: 3, Port: 1024}))
	f.Add(uint16(28), vmciSockaddr(40, Addr{CID: CIDAny, Port: PortAny}))
	f.Add(uint16(28), []byte{28, 0, 0, 0})
	f.Fuzz(func(t *testing.T, family uint16, b []byte) {
		a, err := parseVMCISockaddr(family, b)
		if err != nil {
			return
		}
		if again := vmciSockaddr(family, a); !bytes.Equal(again[4:12], b[4:12]) || !bytes.Equal(again[:2], b[:2]) {
			t.Errorf("%x is %v", b, a)
		}
	})
}
