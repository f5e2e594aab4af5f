package bulk

import "golang.org/x/sys/cpu"

// wholeLines says that REP MOVSB is fast ("enhanced"): in Intel's processors since 2012, and
// in AMD's since 2020.
var wholeLines = cpu.X86.HasERMS

// copyLines copies n bytes forward. It may fault, as any access to shared memory.
//
//go:noescape
func copyLines(dst, src *byte, n uintptr)
