// Package conformance is the tests that hold the kernels of real guests against the suite of
// vsock/vsocktest, by way of a switch. Where no guest has to boot, package vswitch holds its
// stacks against the suite itself.
package conformance
