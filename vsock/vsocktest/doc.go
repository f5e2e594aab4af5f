// Package vsocktest tests stacks of vSockets, and programs that use them.
//
// [TestStack] is the conformance suite: it holds any two ends that reach each
// other against what [vsock.Socket] and the vSockets guide say, call by call. What
// a stack does otherwise, because it is made so, is listed in its [Traits]; the
// suite then checks that it does just that.
//
// [NewPair] gives two contexts within the program, for tests of a program's own:
// without a virtual machine, kernel module or root.
package vsocktest
