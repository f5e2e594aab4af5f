module vsockets.dev/compat/vsock

go 1.26.0

require (
	golang.org/x/net v0.62.0
	vsockets.dev v0.0.0
)

require (
	go.uber.org/goleak v1.3.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace vsockets.dev => ../..
