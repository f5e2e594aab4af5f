#include "textflag.h"

// func copyLines(dst, src *byte, n uintptr) (ok bool)
TEXT ·copyLines(SB), NOSPLIT|NOFRAME, $0-25
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX

	// How much further into a page: 1 to 63 is refused.
	MOVQ DI, AX
	SUBQ SI, AX
	ANDQ $4095, AX
	DECQ AX
	CMPQ AX, $63
	JCS  refuse

	TESTQ $15, DI
	JEQ   aligned

	// 16 bytes, and those again that lie behind the next multiple of 16.
	MOVOU (SI), X0
	MOVOU X0, (DI)
	MOVQ  DI, AX
	NEGQ  AX
	ANDQ  $15, AX
	ADDQ  AX, DI
	ADDQ  AX, SI
	SUBQ  AX, CX

aligned:
	REP; MOVSB
	MOVB $1, ok+24(FP)
	RET

refuse:
	MOVB $0, ok+24(FP)
	RET
