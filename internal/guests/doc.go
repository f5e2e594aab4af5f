// Package guests is the tests of a switch with real Linux guests, and what those have in
// common. Guests of User Mode Linux are tried here, those of QEMU and both together in
// folder qemu, and all calls of the guide in folder conformance: the folders run beside one
// another, since a guest is waited for more than it computes.
package guests
