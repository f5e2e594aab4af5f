// Package qemu is the tests of a switch with guests of QEMU, alone and together with those of
// User Mode Linux.
package qemu
