module vsockets.dev/adapters/vsockttrpc

go 1.26.0

require (
	github.com/containerd/ttrpc v1.2.10
	google.golang.org/protobuf v1.36.11
	vsockets.dev v0.0.0
)

require (
	github.com/containerd/log v0.1.0 // indirect
	github.com/sirupsen/logrus v1.9.4 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260226221140-a57be14db171 // indirect
	google.golang.org/grpc v1.81.1 // indirect
)

replace vsockets.dev => ../..
