//go:build !linux

package compare

func kernelAndCPU() (kernel, cpu string) { return "", "" }

type busy struct{}

func startBusy() busy { return busy{} }

// others is not known here.
func (busy) others() float64 { return -1 }
