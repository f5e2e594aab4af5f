package bulk

import "golang.org/x/sys/cpu"

// wholeLines says that REP MOVSB is made for more than a few bytes ("enhanced"): in Intel's
// processors since 2012, and in AMD's since 2020.
var wholeLines = cpu.X86.HasERMS

// copyLines copies n bytes forward, 16 at least. It may fault, as any access to shared memory.
//
// It refuses, and has done nothing, where dst lies 1 to 63 bytes further into its page than src
// does. AMD's processors take such a distance for an overlap: Zen 5 is no faster than the builtin
// then, and Zen 3, as others have measured, twenty times as slow. Intel asks for a dst that is a
// multiple of 16, or is a quarter slower, so copyLines begins with the bytes up to one.
//
//go:noescape
func copyLines(dst, src *byte, n uintptr) (ok bool)
