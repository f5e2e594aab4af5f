// Package bench measures stream connections: how much they carry, how soon an
// answer is there, how many can be made, and what that costs. It needs a
// [Server] at one end and a [Client] at the other, and nothing of the connections
// but that bytes arrive in order.
//
// # Protocol, version 1
//
// The client opens a connection for each task, and sends a request of 64 bytes:
//
//	0   "vsb1"
//	4   op, u8
//	5   zero, 3 bytes
//	8   block, u32: bytes in a block, 1 to MaxBlock
//	12  zero, 4 bytes
//	16  time, u64: nanoseconds, at most MaxTime
//	24  zero to the end
//
// All numbers are little-endian. What follows depends on op:
//
//	1 receive  the client sends blocks for the time, the server answers a report
//	2 send     the server sends blocks for the time, and then a report
//	3 echo     the server returns each block as it comes, and then sends a report
//	4 answer   the server sends a report and closes; block is 1 and time 0
//
// The first byte of a block is 1 in the last one and 0 in all before it, so that
// no end of a direction is needed, which not every path carries. At least one
// block is sent. A report has 64 bytes too:
//
//	0   "vsb1"
//	4   zero, 4 bytes
//	8   bytes of blocks that the server has received or sent, u64
//	16  the server's process, u64: a random number of its own
//	24  CPU time that process has used so far, u64: nanoseconds
//	32  zero to the end
//
// A peer that breaks these rules, or takes longer than its time and [Grace], is
// cut off.
package bench
