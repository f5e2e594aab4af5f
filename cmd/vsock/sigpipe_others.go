//go:build !unix

package main

// keepSIGPIPE does nothing where there is no such signal.
func keepSIGPIPE() (stop func()) { return func() {} }
