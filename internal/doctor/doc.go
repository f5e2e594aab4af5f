// Package doctor finds out what stands between a machine and a working vsock.
//
// [Look] gathers facts from files alone: nothing is sent, bound or connected. What
// files cannot tell, [Probe] finds out by binding sockets, which sends nothing
// either. [Diagnose] says what the facts mean, and what to do.
//
// Sources: vsock(7); Linux net/vmw_vsock/af_vsock.c for what the local CID means;
// virtio 1.3 section 5 for the device's number.
package doctor
