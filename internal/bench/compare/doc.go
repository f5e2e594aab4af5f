// Package compare measures ways between two programs side by side: Unix sockets
// and TCP, and those of this project. Rounds are interleaved, so that what else
// happens on the machine meets all of them alike, and a figure is a ratio within
// one run.
//
// Each way has two ends in two processes, where it can: the server's end is in
// this process, which also embeds the switch, and the client's in a child, which
// is this program again. The client connects and its clock counts. "Up" is from
// the client to the server: from the attached process to the host.
package compare
