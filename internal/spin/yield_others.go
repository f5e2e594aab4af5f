//go:build !linux

package spin

import "runtime"

// giveWay lets others run.
func giveWay() { runtime.Gosched() }
