// Package mdlayher has tests of what github.com/mdlayher/vsock does, to be run in a
// guest: once with that module itself, which shows that they are right about it, and
// once with compat/vsock in its place.
package mdlayher
