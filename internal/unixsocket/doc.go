// Package unixsocket makes Unix sockets that nobody but their owner can get at: in
// a folder that others cannot write, with mode 0600 from their first moment on.
package unixsocket
