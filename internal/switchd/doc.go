// Package switchd is the switch as a service: what `vsock switch` runs.
//
// A [Config] comes from flags, from a TOML file, or from both. [Start] makes a
// [Daemon] of it, Daemon.Reload applies only what has changed, and a control socket
// shows and changes it while it runs; [Client] is the other end of that. [Service]
// adds what a process has: signals, and systemd's readiness and sockets.
package switchd
