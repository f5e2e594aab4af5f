package main

import (
	"io"
	"log/slog"
	"net"

	"vsockets.dev/internal/patient"
)

// patientListener has a command that serves go on where descriptors are short for a while.
func patientListener(l net.Listener, stderr io.Writer) net.Listener {
	return patient.New(l, slog.New(logHandler(stderr, "text", slog.LevelInfo)))
}
