// Package test has guests reached through the adapters: servers of HTTP, gRPC and ttrpc
// run in a Linux guest, on its kernel's sockets, and their clients on the host. And it
// holds compat/vsock against what it stands in for.
//
// It is a module of its own, for what only these tests depend on. It has nothing but
// tests.
package test
