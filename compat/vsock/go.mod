module vsockets.dev/compat/vsock

go 1.26.0

require (
	golang.org/x/net v0.62.0
	vsockets.dev v0.0.0
)

require (
	github.com/mdlayher/socket v0.8.0 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace vsockets.dev => ../..
