// Package capture is the format of captured packets: pcapng files that Wireshark and
// tcpdump read, the filters that choose packets, and the lines that show them.
//
// A packet is in the format of Linux's vsockmon device, <linux/vsockmon.h>, which is
// link type 271, LINKTYPE_VSOCK. Source for pcapng: IETF draft-ietf-opsawg-pcapng.
package capture
