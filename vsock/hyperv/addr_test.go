package hyperv

import (
	"encoding/hex"
	"errors"
	"syscall"
	"testing"

	"github.com/Microsoft/go-winio/pkg/guid"

	"vsockets.dev/vsock"
)

var someVM = mustParse("12345678-9abc-def0-1122-334455667788")

func table(t *testing.T) *addresses {
	t.Helper()
	a, err := newAddresses(map[uint32]guid.GUID{7: someVM})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// What the bytes are by hvsocket.h: family, reserved, and two GUIDs of which the first
// three fields are little-endian.
const (
	head      = "22000000"
	vmBytes   = "78563412bc9af0de1122334455667788"
	port1024  = "00040000cbfae611bd5864006a7986d3"
	wildcard  = "00000000000000000000000000000000"
	loopbackB = "9761e1e056dd104a91955ee7a155a838"
	parentB   = "da7c2ea43fd00c489cc2a4de20abb878"
	childrenB = "898bdb90350d794f8ce949ea0ac8b7cd"
)

func TestAddresses(t *testing.T) {
	a := table(t)
	for _, tc := range []struct {
		name       string
		encode     func(cid, port uint32) ([]byte, error)
		cid        uint32
		want       string
		err        error
		readBackAs uint32
	}{
		{"bind any", a.BindAddress, vsock.CIDAny, head + wildcard + port1024, nil, vsock.CIDAny},
		{"bind loopback", a.BindAddress, vsock.CIDLocal, head + loopbackB + port1024, nil, vsock.CIDLocal},
		{"bind parent", a.BindAddress, vsock.CIDHost, head + parentB + port1024, nil, vsock.CIDHost},
		{"bind to one guest", a.BindAddress, 7, head + vmBytes + port1024, nil, 7},
		{"bind no such guest", a.BindAddress, 8, "", syscall.EADDRNOTAVAIL, 0},
		{"connect any", a.PeerAddress, vsock.CIDAny, "", syscall.EINVAL, 0},
		{"connect loopback", a.PeerAddress, vsock.CIDLocal, head + loopbackB + port1024, nil, vsock.CIDLocal},
		{"connect host", a.PeerAddress, vsock.CIDHost, head + parentB + port1024, nil, vsock.CIDHost},
		{"connect guest", a.PeerAddress, 7, head + vmBytes + port1024, nil, 7},
		{"connect no such guest", a.PeerAddress, 8, "", syscall.ECONNRESET, 0},
		{"connect hypervisor", a.PeerAddress, vsock.CIDHypervisor, "", syscall.ECONNRESET, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sa, err := tc.encode(tc.cid, 1024)
			if got := hex.EncodeToString(sa); got != tc.want || !errors.Is(err, tc.err) {
				t.Fatalf("%s, %v; want %s, %v", got, err, tc.want, tc.err)
			}
			if err != nil {
				return
			}
			if cid, port, err := a.ParseAddress(sa); cid != tc.readBackAs || port != 1024 || err != nil {
				t.Errorf("reads back as %d:%d, %v", cid, port, err)
			}
		})
	}
}

func TestParseAddress(t *testing.T) {
	a := table(t)
	for _, tc := range []struct {
		name, in  string
		cid, port uint32
		err       error
	}{
		{"children", head + childrenB + port1024, vsock.CIDAny, 1024, nil},
		{"stranger", head + "01" + vmBytes[2:] + port1024, vsock.CIDAny, 1024, nil},
		{"no port", head + vmBytes + vmBytes, 7, vsock.PortAny, nil},
		{"longer", head + vmBytes + port1024 + "00", 7, 1024, nil},
		{"cut", head + vmBytes + port1024[2:], 0, 0, syscall.EAFNOSUPPORT},
		{"empty", "", 0, 0, syscall.EAFNOSUPPORT},
		{"another family", "02" + head[2:] + vmBytes + port1024, 0, 0, syscall.EAFNOSUPPORT},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sa, err := hex.DecodeString(tc.in)
			if err != nil {
				t.Fatal(err)
			}
			if cid, port, err := a.ParseAddress(sa); cid != tc.cid || port != tc.port || !errors.Is(err, tc.err) {
				t.Errorf("%d:%d, %v; want %d:%d, %v", cid, port, err, tc.cid, tc.port, tc.err)
			}
		})
	}
}

func FuzzParseAddress(f *testing.F) {
	a, err := newAddresses(map[uint32]guid.GUID{7: someVM})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{head + vmBytes + port1024, head + wildcard + wildcard} {
		b, _ := hex.DecodeString(s)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, sa []byte) {
		cid, port, err := a.ParseAddress(sa)
		if err != nil || port == vsock.PortAny || cid == vsock.CIDAny {
			return
		}
		if back, err := a.PeerAddress(cid, port); err != nil || string(back) != string(sa[:2])+"\x00\x00"+string(sa[4:sockaddrSize]) {
			t.Errorf("%x is %d:%d, which is %x, %v", sa, cid, port, back, err)
		}
	})
}

func TestAnyPort(t *testing.T) {
	a := table(t)
	for range 100 {
		sa, err := a.BindAddress(vsock.CIDAny, vsock.PortAny)
		if err != nil {
			t.Fatal(err)
		}
		if _, port, err := a.ParseAddress(sa); port < vsock.FirstUnprivilegedPort || port >= 1<<31 || err != nil {
			t.Fatalf("port %d, %v", port, err)
		}
	}
	if _, err := a.PeerAddress(7, vsock.PortAny); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("to any port: %v", err)
	}
}

func TestTable(t *testing.T) {
	for name, vms := range map[string]map[uint32]guid.GUID{
		"host":      {vsock.CIDHost: someVM},
		"any":       {vsock.CIDAny: someVM},
		"twice":     {7: someVM, 8: someVM},
		"loopback":  {7: Loopback},
		"no GUID":   {7: {}},
		"wild card": {7: Children},
	} {
		if _, err := New(vms); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNames(t *testing.T) {
	if got, want := ServiceID(1024).String(), "00000400-facb-11e6-bd58-64006a7986d3"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	want := `SOFTWARE\Microsoft\Windows NT\CurrentVersion\Virtualization\GuestCommunicationServices\00000400-facb-11e6-bd58-64006a7986d3`
	if got := RegistryKey(1024); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if p, ok := Port(someVM); ok {
		t.Errorf("port %d of a service that is none", p)
	}
}
