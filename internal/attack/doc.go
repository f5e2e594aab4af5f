// Package attack is the tests of a guest that breaks every rule on purpose, against a
// switch that serves honest contexts at the same time.
//
// The switch runs in a process of its own, with two honest contexts that transfer data
// all the time and hold each byte against the one that was sent. The attacker is the
// test: a vhost-user front-end and a virtio-vsock driver that do what no other would.
// Where there are processors for it, the attacker has one and the switch has the others,
// as a guest's processor is its own: so what honest contexts lose is what the switch does
// for the attacker, and not the time that the attacker takes itself.
//
// For each attack the tests state what must hold: the switch lives; honest contexts get
// every byte, and at least half as many of them in a second as just before; the
// process's own memory stays below [MemoryBound]; a counter of the attacker's context
// tells of the rule; and nothing of the attacker is left when it has gone. (A million
// half-open requests, for which an attacker needs some patience here, are a test of package
// vswitch.)
package attack

// MemoryBound is the most memory of its own that a switch's process may have under an
// attack, in bytes: not that which guests share with it. What an attacker can have it keep is
// what it sends to guests that do not take it (vswitch.DefaultBuffered, 64 MiB), and
// the receive buffers of its connections to programs that do not read
// (vswitch.DefaultConnections, 1024, of 64 KiB, 64 MiB). Go's collector lets garbage come
// to as much again.
const MemoryBound = 256<<20 + idleMemory

// idleMemory is what the process has before, and the honest contexts take.
const idleMemory = 64 << 20
