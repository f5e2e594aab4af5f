#include "textflag.h"

// func copyLines(dst, src *byte, n uintptr)
TEXT ·copyLines(SB), NOSPLIT|NOFRAME, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	REP; MOVSB
	RET
