package vhostuser

import (
	"fmt"
	"slices"

	"vsockets.dev/internal/guestmem"
)

// What front-ends send, in their order. Addresses and descriptors are the tests' own.

func u64(v uint64) []byte            { return AppendU64(nil, v) }
func state(index, num uint32) []byte { return VringState{index, num}.Append(nil) }
func fdOf(index uint8) []byte        { return VringFD{Index: index}.Append(nil) }
func noFD(index uint8) []byte        { return VringFD{Index: index, NoFD: true}.Append(nil) }

func addr(index uint32) []byte {
	base := uint64(0x10000 * (index + 1))
	return VringAddr{Index: index, Desc: base, Avail: base + 0x4000, Used: base + 0x8000, Log: 1<<64 - 1}.Append(nil)
}

var (
	offered = u64(testFeatures | FeatureProtocolFeatures)
	protos  = u64(offeredProtocol)

	oneRegion  = []guestmem.Region{{GuestAddr: 0x10000, Size: testMemory / 2, UserAddr: 0x10000, MmapOffset: testMemory / 2}}
	twoRegions = []guestmem.Region{
		{GuestAddr: 0, Size: testMemory / 2, UserAddr: 0x7f0000000000, MmapOffset: 0},
		{GuestAddr: 1 << 32, Size: testMemory / 2, UserAddr: 0x7f1000000000, MmapOffset: testMemory / 2},
	}

	// umlTable has room for two regions and counts one.
	umlTable = append(AppendMemTable(nil, oneRegion), make([]byte, regionSize)...)

	guestCID = Config{Data: testConfig}.Append(nil)
	askCID   = Config{Data: make([]byte, len(testConfig))}.Append(nil)
)

// umlStart is what User Mode Linux 6.1 sends when its driver takes the device.
func umlStart() []msg {
	script := []msg{
		{r: SetFeatures, payload: u64(1<<32 | 1<<29 | FeatureProtocolFeatures), ack: true},
		{r: SetMemTable, payload: umlTable, fds: []kind{memory}, ack: true},
	}
	for i := range uint32(testQueues) {
		script = append(script,
			msg{r: SetVringCall, payload: fdOf(uint8(i)), fds: []kind{stream}, ack: true},
			msg{r: SetVringNum, payload: state(i, 256), ack: true},
			msg{r: SetVringBase, payload: state(i, 0), ack: true},
			msg{r: SetVringAddr, payload: addr(i), ack: true},
		)
	}
	for i := range uint32(testQueues) {
		script = append(script,
			msg{r: SetVringKick, payload: fdOf(uint8(i)), fds: []kind{blocking}, ack: true},
			msg{r: SetVringEnable, payload: state(i, 1), ack: true},
		)
	}
	return append(script, msg{r: GetConfig, payload: askCID, answer: guestCID})
}

// umlScript is a whole session of User Mode Linux 6.1, in which the driver is
// taken off the device and put on it again.
func umlScript() []msg {
	return slices.Concat(
		[]msg{
			{r: SetOwner},
			{r: GetFeatures, answer: offered},
			{r: GetProtocolFeatures, answer: protos},
			{r: SetProtocolFeatures, payload: u64(ProtocolReplyAck | ProtocolBackendReq | ProtocolConfig), ack: true},
			{r: SetBackendReqFD, fds: []kind{stream}, ack: true},
		},
		umlStart(),
		[]msg{
			{r: SetVringEnable, payload: state(2, 0), ack: true},
			{r: SetVringEnable, payload: state(1, 0), ack: true},
			{r: SetVringEnable, payload: state(0, 0), ack: true},
			{r: GetFeatures, answer: offered},
		},
		umlStart(),
	)
}

// umlCalls is what umlScript makes of a device, up to the end of the session.
func umlCalls() []string {
	var start, disable, stop, end []string
	start = append(start, fmt.Sprintf("SetFeatures %#x", uint64(1<<32|1<<29)), "SetMemory")
	for i := range testQueues {
		start = append(start, fmt.Sprintf("StartQueue %d size 256 base 0", i), fmt.Sprintf("EnableQueue %d true", i))
		disable = append([]string{fmt.Sprintf("EnableQueue %d false", i)}, disable...)
		stop = append(stop, fmt.Sprintf("StopQueue %d", i))
		end = append(end, fmt.Sprintf("StopQueue %d", i))
	}
	return slices.Concat(start, disable, stop, start, end)
}

// qemuStart is what QEMU 7.2 sends when the guest's driver is ready.
func qemuStart(base uint32) []msg {
	script := []msg{
		{r: SetFeatures, payload: u64(1<<32 | 1<<29 | 1<<28 | FeatureProtocolFeatures)},
		{r: SetMemTable, payload: AppendMemTable(nil, twoRegions), fds: []kind{memory, memory}, ack: true},
	}
	for i := range uint32(2) {
		script = append(script,
			msg{r: SetVringNum, payload: state(i, 128)},
			msg{r: SetVringBase, payload: state(i, base)},
			msg{r: SetVringAddr, payload: addr(i), ack: true},
			msg{r: SetVringKick, payload: fdOf(uint8(i)), fds: []kind{event}},
			msg{r: SetVringCall, payload: fdOf(uint8(i)), fds: []kind{event}},
		)
	}
	return append(script,
		msg{r: SetVringEnable, payload: state(0, 1)},
		msg{r: SetVringEnable, payload: state(1, 1)},
	)
}

// qemuScript is a whole session of QEMU 7.2, in which the guest masks an
// interrupt and reboots.
func qemuScript() []msg {
	return slices.Concat(
		[]msg{
			{r: GetFeatures, answer: offered},
			{r: GetProtocolFeatures, answer: protos},
			{r: SetProtocolFeatures, payload: protos},
			{r: GetQueueNum, answer: u64(testQueues)},
			{r: SetBackendReqFD, fds: []kind{stream}, ack: true},
			{r: SetOwner},
			{r: GetFeatures, answer: offered},
			{r: SetVringCall, payload: fdOf(0), fds: []kind{event}},
			{r: SetVringErr, payload: fdOf(0), fds: []kind{event}},
			{r: SetVringCall, payload: fdOf(1), fds: []kind{event}},
			{r: SetVringErr, payload: fdOf(1), fds: []kind{event}},
			{r: GetConfig, payload: askCID, answer: guestCID},
		},
		qemuStart(0),
		[]msg{
			{r: SetVringCall, payload: fdOf(0), fds: []kind{event}},
			{r: SetVringCall, payload: noFD(1)},
			{r: SetVringCall, payload: fdOf(1), fds: []kind{event}},
			{r: SetVringEnable, payload: state(0, 0)},
			{r: SetVringEnable, payload: state(1, 0)},
			{r: GetVringBase, payload: state(0, 0), answer: state(0, 5)},
			{r: GetVringBase, payload: state(1, 0), answer: state(1, 5)},
		},
		qemuStart(5),
		[]msg{
			{r: GetVringBase, payload: state(0, 0), answer: state(0, 10)},
			{r: GetVringBase, payload: state(1, 0), answer: state(1, 10)},
		},
	)
}

// qemuCalls is what qemuScript makes of a device.
func qemuCalls() []string {
	start := func(base int) []string {
		return []string{
			fmt.Sprintf("SetFeatures %#x", uint64(1<<32|1<<29|1<<28)), "SetMemory",
			fmt.Sprintf("StartQueue 0 size 128 base %d", base), "SetCall 0 true",
			fmt.Sprintf("StartQueue 1 size 128 base %d", base), "SetCall 1 true",
			"EnableQueue 0 true", "EnableQueue 1 true",
		}
	}
	return slices.Concat(
		start(0),
		[]string{
			"SetCall 0 true", "SetCall 1 false", "SetCall 1 true",
			"EnableQueue 0 false", "EnableQueue 1 false", "StopQueue 0", "StopQueue 1",
		},
		start(5),
		[]string{"StopQueue 0", "StopQueue 1"},
	)
}
