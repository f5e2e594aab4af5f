package switchd

import (
	"cmp"
	"net"
	"path/filepath"

	"vsockets.dev/vswitch"
)

// GuestSpec is what a guest is while the switch runs, and in the control API.
type GuestSpec struct {
	CID    uint32         `json:"cid"`
	Socket string         `json:"socket"`
	Hybrid string         `json:"hybrid,omitempty"`
	Groups []string       `json:"groups,omitempty"`
	Limits vswitch.Limits `json:"limits,omitzero"`
}

func (g Guest) spec() GuestSpec {
	return GuestSpec{g.CID, clean(g.Socket), clean(g.Hybrid), g.Groups, g.SwitchLimits()}
}

func (a Attach) spec() vswitch.AttachConfig {
	return vswitch.AttachConfig{
		Socket:  clean(a.Socket),
		First:   cmp.Or(a.CIDs.First, vswitch.DefaultAttachFirst),
		Last:    cmp.Or(a.CIDs.Last, vswitch.DefaultAttachLast),
		Users:   a.Users,
		PerUser: int(a.PerUser),
		Groups:  a.Groups,
		Limits:  a.SwitchLimits(),
	}
}

// clean makes equal paths equal text.
func clean(path string) string {
	if path == "" {
		return ""
	}
	return filepath.Clean(path)
}

// config is what the switch is told of it.
func (g GuestSpec) config(l *net.UnixListener) vswitch.GuestConfig {
	return vswitch.GuestConfig{CID: g.CID, Socket: g.Socket, Listener: l, Hybrid: g.Hybrid, Groups: g.Groups, Limits: g.Limits}
}
