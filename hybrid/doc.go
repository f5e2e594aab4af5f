// Package hybrid speaks the protocol that Firecracker and Cloud Hypervisor put in
// place of vSockets on the host, where a guest's ports are reached through Unix
// sockets ("hybrid vsock"). It has both ends of it: a [Server] goes in front of a
// guest, so that clients which know the protocol reach it; a [Stack] is such a
// client, for the virtual machines of others.
//
// Of a guest with the socket PATH:
//
//   - Host to guest: the client connects to PATH and writes "CONNECT <port>\n".
//     The server connects to that port of the guest and answers "OK <port>\n",
//     with the port that the connection has on the host's side. From then on the
//     connection is a stream of bytes. Where the guest refuses, the server closes
//     the connection without an answer.
//   - Guest to host: a connection to port P of the host (CID 2) becomes one to the
//     Unix socket PATH_P. Where nobody listens there, the guest is refused.
//
// The protocol has neither seqpackets nor datagrams, does not negotiate buffers, does
// not say which port of a guest a connection came from, and carries a reset
// as an end of file.
//
// Source: Firecracker, docs/vsock.md; Cloud Hypervisor, docs/vsock.md.
package hybrid
